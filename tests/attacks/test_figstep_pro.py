"""FigStep-Pro: pieces that only together show the phrase, and a sentence without it."""

from __future__ import annotations

import pytest
from PIL import Image as PILImage
from PIL import ImageChops

from opensafemlrm.attacks.figstep_pro import FigStepPro
from opensafemlrm.errors import AttackError
from opensafemlrm.types import Prompt
from tests.attacks.subjects import FIELDS, illustrated, ink, item, picture, text


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
    # Twelve characters of 0.6 em at 80 pixels, and 20 pixels on either side.
    seen = whole(FigStepPro().apply(item(), 0))
    assert seen.width == 12 * 48 + 40
    left, top, right, bottom = ink(seen)
    assert left >= 20
    assert right <= seen.width - 20
    assert 20 <= top < bottom <= seen.height - 20


def test_pieces_have_one_height_and_nearly_one_width() -> None:
    images = FigStepPro(pieces=5).apply(item(), 0).images
    assert len({image.height for image in images}) == 1
    widths = [image.width for image in images]
    assert max(widths) - min(widths) <= 1


def test_no_word_of_the_phrase_is_in_the_text() -> None:
    sent = text(FigStepPro().apply(item(question="How is a Moon  Lantern folded?"), 0))
    assert "[MASK] folded?" in sent
    assert "lantern" not in sent.lower()
    assert sent.startswith("The 3 images")


def test_a_given_masked_sentence_is_used() -> None:
    fields = FIELDS | {"masked": "Tell me of the [MASK]."}
    assert text(FigStepPro().apply(item(fields=fields), 0)).endswith("Tell me of the [MASK].")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"question": "How is it folded?"}, "nothing of it can be masked"),
        ({"question": "How is a moon lanternfish caught?"}, "nothing of it can be masked"),
        ({"fields": {}}, "key_phrase"),
        ({"fields": FIELDS | {"masked": "Tell me of the lantern."}}, "nothing of it can be masked"),
        ({"fields": FIELDS | {"key_phrase": "ab"}, "question": "How is ab made?"}, "too few"),
        (
            {
                "fields": FIELDS | {"key_phrase": "\u6708\u6708\u6708"},
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
