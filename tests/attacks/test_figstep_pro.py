"""FigStep-Pro: pieces that only together show the phrase, and a sentence without it."""

from __future__ import annotations

import pytest
from PIL import Image as PILImage
from PIL import ImageChops

from opensafemlrm.attacks.figstep import FigStepPro
from opensafemlrm.errors import AttackError
from opensafemlrm.types import Prompt
from tests.attacks.subjects import FIELDS, illustrated, ink, item, picture, plain, text

PHRASE = {"key_phrase": "moon lantern"}


def whole(prompt: Prompt) -> PILImage.Image:
    pieces = [picture(prompt, number) for number in range(len(prompt.images))]
    joined = PILImage.new("RGB", (sum(p.width for p in pieces), pieces[0].height))
    left = 0
    for piece in pieces:
        joined.paste(piece, (left, 0))
        left += piece.width
    return joined


def test_the_pieces_put_together_are_the_phrase_whatever_their_number() -> None:
    three, five = (FigStepPro(pieces=n).apply(item(), 0) for n in (3, 5))
    assert (len(three.images), len(five.images)) == (3, 5)
    assert ImageChops.difference(whole(three), whole(five)).getbbox() is None


def test_the_phrase_lies_in_the_published_font_and_size() -> None:
    # Twelve characters of 0.6 em at 80 pixels, and 20 pixels at the end and below the ink.
    seen = whole(FigStepPro().apply(item(), 0))
    assert seen.size == (12 * 48 + 20, 105)
    left, top, right, bottom = ink(seen)
    assert 0 <= left < 8
    assert right <= seen.width - 20
    assert 20 <= top < bottom <= seen.height - 19


@pytest.mark.parametrize("pieces", [2, 3, 5, 9])
def test_cuts_lie_between_letters(pieces: int) -> None:
    """Data review 13: pieces of equal width cut through letters."""
    images = FigStepPro(pieces=pieces).apply(item(), 0).images
    assert len({image.height for image in images}) == 1
    assert [image.width % 48 for image in images] == [0] * (pieces - 1) + [20]
    letters = [picture(FigStepPro(pieces=pieces).apply(item(), 0), n) for n in range(pieces)]
    assert all(ink(one) for one in letters)


def test_released_pieces_are_sent_with_their_sentence() -> None:
    """Data review 13: FigStep-Pro could not run on FigStep's own release."""
    pieces = {"figstep-pro": plain("red"), "figstep-pro-2": plain("blue")}
    subject = item(fields={"masked": "Steps to fold a *."}, released=pieces)
    prompt = FigStepPro().apply(subject, 0)
    assert prompt.images == tuple(pieces.values())
    assert text(prompt).startswith("The 2 images")
    assert "Steps to fold a *.\n1. \n2. \n3. " in text(prompt)
    with pytest.raises(AttackError, match="key_phrase"):
        FigStepPro(released=False).apply(subject, 0)


def test_no_word_of_the_phrase_is_in_the_text() -> None:
    asked = item(question="How is a Moon  Lantern folded?", fields={"key_phrase": "moon lantern"})
    sent = text(FigStepPro().apply(asked, 0))
    assert "a * folded?\n1. " in sent
    assert "lantern" not in sent.lower()
    assert sent.startswith("The 3 images")
    assert "Steps to fold a paper *.\n1. " in text(FigStepPro().apply(item(), 0))


def test_a_given_masked_sentence_is_used() -> None:
    fields = FIELDS | {"masked": "Tell me of the *."}
    assert "Tell me of the *.\n" in text(FigStepPro().apply(item(fields=fields), 0))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"question": "How is it folded?", "fields": PHRASE}, "nothing of it can be masked"),
        ({"question": "How is a moon lanternfish?", "fields": PHRASE}, "nothing of it can be mask"),
        ({"fields": {}}, "key_phrase"),
        ({"fields": FIELDS | {"masked": "Tell me of the lantern."}}, r"sentence with \*"),
        ({"fields": {"key_phrase": "ab"}, "question": "How is ab made?"}, "too few"),
        (
            {
                "fields": {"key_phrase": "\u6708\u6708\u6708"},
                "question": "\u6708\u6708\u6708",
            },
            "CJK",
        ),
    ],
)
def test_what_cannot_be_hidden_is_refused(changes: dict[str, object], why: str) -> None:
    with pytest.raises(AttackError, match=why):
        FigStepPro().apply(item(**changes), 0)


def test_images_of_the_item_are_not_dropped() -> None:
    with pytest.raises(AttackError, match="would be dropped"):
        FigStepPro().apply(illustrated(), 0)
