"""What is known, before any request, to keep a run from what it needs: a key, an extra."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

from opensafemlrm.components import Component, Model, children
from opensafemlrm.engine.missing import missing_work
from opensafemlrm.engine.plan import Plan
from opensafemlrm.errors import SafeMLRMError


def not_ready(turns: Sequence[Plan], connection: sqlite3.Connection | None) -> list[str]:
    """Return a sentence for each thing that models need and lack, to bring a store up to date.

    Of a model that is not asked, as the store has its replies, nothing is said. ``connection`` is
    only read from; ``None`` stands for an empty store.
    """
    components = [component for plan in turns for component in plan.study.components]
    if not any(map(_faults, components)):
        return []  # as nearly always: the store need not be looked at
    faults: dict[str, None] = {}
    for plan in turns:
        for cell, work in missing_work(plan, plan.cells, connection, planned=True):
            needed: list[Component] = []
            if work.to_generate and not plan.turn:
                needed += [cell.model, cell.defense, cell.attack]
            if work.to_generate or work.to_judge:
                needed.append(plan.judge)
            faults |= dict.fromkeys(fault for component in needed for fault in _faults(component))
    return list(faults)


def _faults(component: Component) -> list[str]:
    faults = []
    for model in _models(component):
        try:
            model.check_ready()
        except SafeMLRMError as error:
            faults.append(str(error))
    return faults


def _models(component: Component) -> Iterator[Model]:
    """Yield the component and all that it is made of, those that are models."""
    if isinstance(component, Model):
        yield component
    for child in children(component):
        yield from _models(child)
