"""MML: four encodings of the same picture, and the hint that undoes them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import ImageChops, ImageOps

from opensafemlrm.attacks.mml import MML
from opensafemlrm.errors import AttackError, OptionError
from opensafemlrm.registry import ComponentKind, build
from opensafemlrm.types import Item
from tests.attacks import subjects
from tests.attacks.subjects import FIELDS, QUESTION, illustrated, ink, picture, text

BARE = {"key_phrase": "moon lantern"}
"""No instruction: the question is drawn."""


def item(**changes: Any) -> Item:
    return subjects.item(**({"fields": BARE} | changes))


WORDS = {"lantern": "teapot", "Moon": "garden"}


def words(tmp_path: Path, content: object = WORDS, name: str = "map.json") -> Path:
    path = tmp_path / name
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def hint_of(sent: str) -> list[str]:
    """The shuffled words: data review 14, the encoding 'words' came without them."""
    return sent.partition("are: ")[2].partition(". Then")[0].split(", ")


def test_the_picture_is_the_title_of_an_empty_list_and_comes_after_the_text() -> None:
    """Data review 14: a bare question was drawn, and sent before the text."""
    prompt = MML().apply(subjects.item(), 0)
    assert isinstance(prompt.turns[-1].parts[0], str)
    assert sorted(hint_of(text(prompt))) == sorted(FIELDS["instruction"].split())
    seen = ImageOps.flip(ImageOps.mirror(picture(prompt)))
    pitch = 43  # FigStep's, at 40 pixels an em
    rows = [seen.crop((0, 10 + n * pitch, 110, 10 + (n + 1) * pitch)) for n in range(6)]
    numbers = [ImageOps.invert(row.convert("L")).getbbox() for row in rows]
    assert [box is not None for box in numbers] == [True] * 5 + [False]
    # Each number is one digit and a dot: narrower than the title's lines.
    assert all(box is not None and box[2] < 75 for box in numbers[2:5])


def test_mirror_and_rotation_are_of_one_picture() -> None:
    mirrored, turned = (picture(MML(encoding=e).apply(item(), 0)) for e in ("mirror", "rotate"))
    # A picture turned by 180 degrees and mirrored is flipped top to bottom.
    assert ImageChops.difference(ImageOps.flip(turned), mirrored).getbbox() is None
    assert mirrored.size == (760, 760)
    left, top, right, _ = ink(ImageOps.mirror(mirrored))
    assert left == pytest.approx(22, abs=4)
    assert top == pytest.approx(16, abs=6)
    assert right <= 740


def test_the_hint_has_the_words_of_the_question_in_another_order() -> None:
    sent = text(MML().apply(item(), 0))
    hint = hint_of(sent)
    assert sorted(hint) == sorted(QUESTION.split())
    assert hint != QUESTION.split()
    assert QUESTION not in sent


def test_another_seed_shuffles_the_hint_anew_and_nothing_else() -> None:
    prompts = [MML().apply(item(), seed) for seed in range(4)]
    assert len({text(prompt) for prompt in prompts}) > 1
    assert len({prompt.images for prompt in prompts}) == 1


def test_base64_draws_the_code_and_not_the_question() -> None:
    code = base64.b64encode(QUESTION.encode()).decode()
    shown = MML(encoding="base64").apply(item(), 0)
    plain = MML(encoding="rotate").apply(item(question=code), 0)
    turned = ImageOps.flip(ImageOps.mirror(picture(plain)))
    assert ImageChops.difference(picture(shown), turned).getbbox() is None


def test_base64_carries_a_script_that_cannot_be_drawn() -> None:
    question = "\u6708\u706f\u600e\u4e48\u6298?"
    assert MML(encoding="base64").apply(item(question=question), 0).images
    with pytest.raises(AttackError, match="CJK"):
        MML(encoding="mirror").apply(item(question=question), 0)


def test_replaced_words_are_drawn_and_the_text_says_what_they_stand_for(tmp_path: Path) -> None:
    attack = MML(encoding="words", word_map=words(tmp_path))
    prompt = attack.apply(item(), 0)
    sent = text(prompt)
    assert "teapot stands for lantern" in sent
    assert "garden stands for moon" in sent
    assert sorted(hint_of(sent)) == sorted(QUESTION.split())
    replaced = item(question="How do I fold a garden teapot from paper?")
    turned = ImageOps.flip(ImageOps.mirror(picture(MML().apply(replaced, 0))))
    assert ImageChops.difference(picture(prompt), turned).getbbox() is None


def test_a_map_may_be_of_one_item(tmp_path: Path) -> None:
    """Data review 14: upstream replaces other words in each item."""
    attack = MML(encoding="words", word_map=words(tmp_path, {"7-3": {"lantern": "kettle"}}))
    assert "kettle stands for lantern" in text(attack.apply(item(), 0))
    with pytest.raises(AttackError, match="replaces no word"):
        attack.apply(item(id="7-4"), 0)


def test_a_map_counts_by_its_content_not_by_its_place(tmp_path: Path) -> None:
    one, same = (MML(encoding="words", word_map=words(tmp_path, name=n)) for n in ("a", "b"))
    other = MML(encoding="words", word_map=words(tmp_path, {"lantern": "kettle"}, "c"))
    assert one.identity() == same.identity() != other.identity()


@pytest.mark.parametrize(
    ("question", "why"),
    [
        ("How is it folded?", "replaces no word"),
        ("Is a lantern a teapot?", "has the word 'teapot' already"),
        (" ", "blank"),
    ],
)
def test_a_question_that_would_be_sent_bare_or_changed_is_refused(
    question: str, why: str, tmp_path: Path
) -> None:
    attack = MML(encoding="words", word_map=words(tmp_path))
    with pytest.raises(AttackError, match=why):
        attack.apply(item(question=question), 0)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ([], "is not a JSON object"),
        ({}, "is not a JSON object"),
        ({"a": 1}, "1 is not a word"),
        ({"a b": "c"}, "'a b' is not a word"),
        ({"a": "c", "b": "C"}, "stands for two words"),
    ],
)
def test_a_map_that_cannot_be_undone_is_refused_at_once(
    content: object, why: str, tmp_path: Path
) -> None:
    options = {"encoding": "words", "word_map": str(words(tmp_path, content))}
    with pytest.raises(OptionError, match=why):
        build(ComponentKind.ATTACK, "mml", options)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"encoding": "words"}, "needs the option 'word_map'"),
        ({"encoding": "words", "word_map": "no-such.json"}, "cannot be read"),
        ({"word_map": "map.json"}, "for the encoding 'words' alone"),
        ({"encoding": "rot13"}, "encoding"),
        ({"font_size": 0}, "font_size"),
    ],
)
def test_options_that_cannot_work_are_refused_at_once(options: dict[str, object], why: str) -> None:
    with pytest.raises(OptionError, match=why):
        build(ComponentKind.ATTACK, "mml", options)


def test_a_question_too_long_is_refused_and_fits_at_a_smaller_size() -> None:
    long = item(question="How do I fold a lantern? " * 30)
    with pytest.raises(AttackError, match="do not fit"):
        MML().apply(long, 0)
    assert MML(font_size=16).apply(long, 0).images


@pytest.mark.parametrize("encoding", ["mirror", "base64"])
def test_half_a_character_is_refused(encoding: str) -> None:
    with pytest.raises(AttackError, match=r"half of a character|D800"):
        build(ComponentKind.ATTACK, "mml", {"encoding": encoding}).apply(
            item(question="a \ud800 b"), 0
        )


def test_images_of_the_item_are_not_dropped() -> None:
    with pytest.raises(AttackError, match="would be dropped"):
        MML().apply(illustrated(), 0)
