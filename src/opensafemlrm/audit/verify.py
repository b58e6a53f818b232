"""Whether a store still says what an audit's record says."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from opensafemlrm.audit.policy import parse
from opensafemlrm.audit.record import build
from opensafemlrm.store.named import named_cells
from opensafemlrm.store.source import Source

_NOT_COMPARED: Final = ("made_by", "studies")
"""Which version and machine made it, and what other runs may have added to the store."""
_TOLERANCE: Final = 1e-9
"""Another processor may round a rate's last digit otherwise."""


def differences(source: Source, record: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each thing that the store, audited anew, says otherwise.

    The policy is the one in the record, the cells those that it names. Raises PolicyError and
    OptionError where it does not fit the store any more, and StoreError.
    """
    cells = {cell["cell"] for cell in record["cells"]}
    if not cells & set(named_cells(source)["cell"]):
        yield "the store has none of the record's cells"
        return
    policy = parse(record["policy"]["text"], "the record's policy")
    now = build(source, policy, cells, record.get("judge"))
    for name in dict.fromkeys([*record, *now]):
        if name not in _NOT_COMPARED:
            yield from _apart(record.get(name), now.get(name), name)
    if not set(record["studies"]) <= set(now["studies"]):
        yield "studies: the record names one that the store has no run of"


def not_covered(source: Source, record: Mapping[str, Any]) -> int:
    """Return how many cells of the store the record does not speak of. Raises StoreError."""
    covered = {cell["cell"] for cell in record["cells"]}
    return len(set(named_cells(source)["cell"]) - covered)


def _apart(then: Any, now: Any, path: str) -> Iterator[str]:
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys([*then, *now]):
            yield from _apart(then.get(key), now.get(key), f"{path}.{key}")
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for i, (one, other) in enumerate(zip(then, now, strict=True)):
            yield from _apart(one, other, f"{path}[{_name(one, i)}]")
    elif not _same(then, now):
        yield f"{path}: the record says {_short(then)}, the store {_short(now)}"


def _name(value: Any, place: int) -> str:
    """Return what a list's entry is called, where it has names."""
    if not isinstance(value, Mapping):
        return str(place)
    names = ("name", "model", "dataset", "attack", "defense", "scenario", "hazard")
    labels = [str(value[name]) for name in names if value.get(name) not in (None, "none", "all")]
    return " · ".join(labels) or str(place)


def _same(then: Any, now: Any) -> bool:
    numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in (then, now))
    return math.isclose(then, now, abs_tol=_TOLERANCE) if numbers else bool(then == now)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 70 else f"{text[:66]} …"
