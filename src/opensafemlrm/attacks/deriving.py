"""Items with what an attack needs: their own fields, or else what ``derive`` makes."""

from __future__ import annotations

import dataclasses

from opensafemlrm.attacks import typography
from opensafemlrm.derivation import Derivation, missing
from opensafemlrm.types import Item


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
        raise typography.refusal(attack, item, f"it has no {what}{why}")
    own = {name: value for name, value in item.fields.items() if name not in lacking}
    return dataclasses.replace(item, fields={**own, **{name: derived[name] for name in lacking}})
