"""Pictures that datasets ship already attacked."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from opensafemlrm.attacks import typography
from opensafemlrm.types import Image, Item


def pictures(item: Item, name: str) -> tuple[Image, ...]:
    """Return the released pictures of ``name``, in order: ``NAME``, ``NAME-2`` and so on."""
    names = [name, *(f"{name}-{number}" for number in range(2, len(item.released) + 1))]
    there = itertools.takewhile(item.released.__contains__, names)
    return tuple(map(item.released.__getitem__, there))


def picture(item: Item, names: Sequence[str], attack: str) -> Image:
    """Return the first released picture of ``item`` among ``names``.

    Raises AttackError that says what to provide.
    """
    for name in names:
        if name in item.released:
            return item.released[name]
    known = ", ".join(sorted(item.released)) or "none"
    raise typography.refusal(
        attack,
        item,
        f"it comes without the released picture {' or '.join(map(repr, names))} (it has: {known}), "
        "and this project makes none; put the pictures of the release beside its questions, or "
        "take this pair of dataset and attack out of the study (two studies can share a store)",
    )
