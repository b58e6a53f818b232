"""What an attack needs of an item, and the error where the item lacks it."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

from opensafemlrm.derivation import Derivation, missing
from opensafemlrm.errors import AttackError
from opensafemlrm.types import Image, Item


def refusal(attack: str, item: Item, reason: str) -> AttackError:
    """Build the error of an attack that cannot be applied to ``item``."""
    origin = f" ({item.origin})" if item.origin else ""
    return AttackError(
        f"the attack {attack!r} cannot be applied to item {item.id!r} of {item.dataset!r}{origin}: "
        f"{reason}"
    )


def field(item: Item, name: str, attack: str) -> str:
    """Return the text of ``item.fields[name]``. Raises AttackError if there is none."""
    value = item.fields.get(name)
    if not isinstance(value, str) or not value.strip():
        raise refusal(attack, item, f"it has no {name.replace('_', ' ')} (field {name!r})")
    return value


def refuse_own_images(item: Item, attack: str) -> None:
    """Raise AttackError if the question stands on images that the attack would drop."""
    if item.images:
        raise refusal(attack, item, "it comes with images of its own, which would be dropped")


def complete(item: Item, derive: Derivation | None, attack: str, *names: str) -> Item:
    """Return ``item`` with the fields ``names``.

    Raises AttackError where a field is neither there nor can be derived.
    """
    lacking = missing(item, names)
    if not lacking:
        return item
    derived, reason = ({}, "") if derive is None else derive.derive(item)
    left = [name for name in lacking if name not in derived]
    if left:
        what = " and ".join(f"{name.replace('_', ' ')} (field {name!r})" for name in left)
        why = f", and none was derived: {reason}" if derive else "; the option `derive` makes one"
        raise refusal(attack, item, f"it has no {what}{why}")
    own = {name: value for name, value in item.fields.items() if name not in lacking}
    return dataclasses.replace(item, fields={**own, **{name: derived[name] for name in lacking}})


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
    raise refusal(
        attack,
        item,
        f"it comes without the released picture {' or '.join(map(repr, names))} (it has: {known}), "
        "and this project makes none; put the pictures of the release beside its questions, or "
        "take this pair of dataset and attack out of the study (two studies can share a store)",
    )
