"""What ``safemlrm doctor`` asks: harmless, and of the form of what a run of the study sends."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final

from PIL import Image as PILImage

from opensafemlrm import images
from opensafemlrm.components import Attack, Dataset, Search
from opensafemlrm.errors import AttackError, SafeMLRMError
from opensafemlrm.models.hosted.probe import form_of, harmless
from opensafemlrm.models.hosted.whole_prompt import least_tokens
from opensafemlrm.study import Study
from opensafemlrm.types import Item, JudgeRequest, Part, Prompt

LONG_WORDS: Final = 8_000
"""Words of the long prompt: more than the 4,096 tokens at which some servers cut by default."""
_MAX_ROWS: Final = 50
"""Rows of a dataset that are looked at for the forms of its items."""
_WORDS: Final = "the sky is blue and the grass is green on a clear day in the month of may"
_LONG: Final = " ".join(itertools.islice(itertools.cycle(_WORDS.split()), LONG_WORDS))
MIN_TOKENS: Final = least_tokens(_LONG)

LONG: Final = JudgeRequest(Part.ANSWER, _LONG)

PLAIN: Final = harmless(Prompt.user(""))
PICTURE: Final = images.from_picture(PILImage.new("RGB", (64, 64), "blue"))


def long_prompt() -> Prompt:
    """Return a prompt that is longer than what some servers read."""
    return Prompt.user(f"{_LONG}\n\n{PLAIN.turns[-1].text}")


def prompts(study: Study) -> tuple[list[Prompt], str]:
    """Return a harmless prompt of each form that a run sends, those with most pictures first.

    Where that cannot be told, it is one with a picture; the text says why.
    """
    made: dict[object, Prompt] = {}
    doubts = []
    for dataset in study.datasets:
        try:
            for item, attack in itertools.product(_items(dataset), study.attacks):
                if (prompt := _prompt(item, attack)) is not None:
                    made.setdefault(form_of(prompt), prompt)
        except (SafeMLRMError, OSError) as error:
            doubts.append(f"whether {dataset.label} has pictures is not known: {error}")
    if not made:
        return [harmless(Prompt.user(PICTURE, ""))], "; ".join(doubts)
    ordered = sorted(made.values(), key=lambda prompt: -len(prompt.images))
    return [harmless(prompt, true_to_size=True) for prompt in ordered], "; ".join(doubts)


def _items(dataset: Dataset) -> Iterator[Item]:
    """Yield an item of each number of images, with and without a system message."""
    seen = set()
    for row in itertools.islice(dataset.rows(), _MAX_ROWS):
        if isinstance(row, Item) and (form := (len(row.images), bool(row.system))) not in seen:
            seen.add(form)
            yield row


def _prompt(item: Item, attack: Attack | Search) -> Prompt | None:
    """Return what the attack makes of an item; of a search, the question that it starts from."""
    if isinstance(attack, Search):
        return Prompt.user(*item.images, item.question, system=item.system)
    try:
        return attack.apply(item, 0)
    except AttackError:
        return None
