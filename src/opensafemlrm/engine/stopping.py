"""Ending a scenario when enough of its items were run: ``stop:`` in a study.

The items of a scenario come in a random order that the study's seed decides, a batch at a time.
After each batch the store is asked what came of it, and a rule says whether the next one is still
worth its requests. What was decided is a function of the order and of what the store holds: a run
that was interrupted, or is cut in pieces, decides the same. Benign items are run whole, and so are
models that the rule says nothing of.

Source of the rules: :mod:`opensafemlrm.engine.confidence_sequence`.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from opensafemlrm.engine.confidence_sequence import ConfidenceSequence, Decision
from opensafemlrm.errors import AttackError
from opensafemlrm.store import generation_key, known
from opensafemlrm.types import Item, ItemKind, Key

if TYPE_CHECKING:
    from opensafemlrm.engine.plan import CellPlan, Plan, Round
    from opensafemlrm.store import Store
    from opensafemlrm.study_file import StopSpec

_GROWTH: Final = 20
"""A batch is at least this part of what was drawn before."""
_LEAST_CHANCE: Final = 0.25
"""Where a whole run would decide with less than this chance, more items are not worth it."""
Bounds: TypeAlias = tuple[float, float]
"""What an item's value lies between; both are the same where it is known."""


@dataclass(eq=False)
class _Scenario:
    """A scenario of one cell, or of a reasoning model's and its base's."""

    cells: tuple[CellPlan, ...]
    """The model's cell, and the base's."""
    name: str
    order: Sequence[Key]
    """Its items, in the order in which they are drawn."""
    answer: str = ""
    """``yes`` or ``no`` (a tax), ``narrow``, ``undecided``: a whole run would hardly decide either;
    ``all``: every item was run; empty while it goes on."""
    values: list[Bounds] = field(default_factory=list)
    """Of the items that were looked at."""
    evidence: Decision | ConfidenceSequence | None = None
    """What the rule makes of them."""


class Stopping:
    """The scenarios that a rule ends, and the items of each cell that were drawn so far."""

    def __init__(self, plan: Plan, rule: StopSpec) -> None:
        self._rule, self._judge, self._cells = rule, plan.judge_key, plan.cells
        lenient = plan.judge.thresholds[0]
        self._threshold = lenient if rule.threshold is None else rule.threshold
        self._items_run: dict[int, set[Key]] = {}
        """By the id of a cell that the rule is about."""
        self._scenarios: list[_Scenario] = []
        orders: dict[tuple[int, int], tuple[dict[str, list[Key]], set[Key]]] = {}
        for unit in _pairs(plan) if rule.decide else [(cell,) for cell in plan.cells]:
            place = id(unit[0].subset), id(unit[0].attack)
            if place not in orders:
                orders[place] = self._order(unit[0])
            by_scenario, others = orders[place]
            for name, order in by_scenario.items():
                self._scenarios.append(_Scenario(unit, name, order))
            for cell in unit:
                self._items_run.setdefault(id(cell), set(others))

    def rounds(self, store: Store) -> Iterator[Round]:
        """Yield once for each batch, and first for what the rule says nothing of as well."""
        going, batches = (
            self._scenarios,
            {key: set(items) for key, items in self._items_run.items()},
        )
        yield partial(_batch_of, batches)
        while going:
            batches = {id(cell): set() for cell in self._cells}
            for scenario in going:
                for cell in scenario.cells:
                    batches[id(cell)].update(self._batch(scenario))
            for key in self._items_run:
                batches[key] -= self._items_run[key]  # of a base that two models share
                self._items_run[key] |= batches[key]
            yield partial(_batch_of, batches)
            for scenario in going:
                self._look(store, scenario)
            going = [scenario for scenario in going if not scenario.answer]
        for cell in self._cells:
            if id(cell) in self._items_run:
                cell.tally.spared = cell.samples - len(self._items_run[id(cell)]) * cell.repeats

    def _order(self, cell: CellPlan) -> tuple[dict[str, list[Key]], set[Key]]:
        """Return the harmful items by scenario, in the order in which they are drawn.

        Beside them all others: benign ones, and those that the attack cannot carry, which will be
        counted.
        """
        by_scenario: defaultdict[str, list[Key]] = defaultdict(list)
        others = set()
        for item in cell.subset.items():
            if item.kind is ItemKind.HARMFUL and _fits(cell, item):
                by_scenario[item.scenario].append(item.key)
            else:
                others.add(item.key)
        place = partial(place_of, self._rule.seed)
        return {name: sorted(keys, key=place) for name, keys in by_scenario.items()}, others

    def _batch(self, scenario: _Scenario) -> Sequence[Key]:
        """Return the items that come next; more of them the more there were, to end some day."""
        start = len(scenario.values)
        return scenario.order[start : start + max(self._rule.batch, start // _GROWTH)]

    def _look(self, store: Store, scenario: _Scenario) -> None:
        """Ask the store what came of the last batch of a scenario, and apply the rule."""
        batch = self._batch(scenario)
        sides = [self._values(store.connection, cell, batch) for cell in scenario.cells]
        evidence = scenario.evidence = scenario.evidence or self._evidence(len(scenario.order))
        for item in batch:
            low, high = sides[0][item]
            if len(sides) > 1:
                base_low, base_high = sides[1][item]
                low, high = low - base_high, high - base_low
            scenario.values.append((low, high))
            evidence.draw(low, high)
        scenario.answer = self._answer(scenario, evidence)
        if scenario.answer:
            self._write(store, scenario)

    def _values(
        self, connection: sqlite3.Connection, cell: CellPlan, items: Sequence[Key]
    ) -> dict[Key, Bounds]:
        """Return the share of each item's repeats that is unsafe, as far as it is known."""
        keys = {
            item: [generation_key(cell.key, item, repeat) for repeat in range(cell.repeats)]
            for item in items
        }
        all_keys = [key for of_item in keys.values() for key in of_item]
        scores = known.scores(connection, self._judge, self._rule.part, all_keys)
        values = {}
        for item, of_item in keys.items():
            unsafe = unknown = 0
            for key in of_item:
                score, is_cut = scores.get(key, (None, False))
                is_unsafe = score is not None and score >= self._threshold
                unsafe += is_unsafe
                # What came before a cut may be unsafe already; that it is safe says nothing.
                unknown += not is_unsafe and (score is None or is_cut)
            values[item] = (unsafe / cell.repeats, (unsafe + unknown) / cell.repeats)
        return values

    def _evidence(self, items: int) -> Decision | ConfidenceSequence:
        if not self._rule.decide:
            return self._sequence(items)
        in_population = self._rule.claim == "population"
        return Decision(items, self._rule.margin, population=in_population)

    def _sequence(self, items: int) -> ConfidenceSequence:
        size = None if self._rule.claim == "population" else items
        return ConfidenceSequence(size, differences=self._rule.decide is not None)

    def _answer(self, scenario: _Scenario, evidence: Decision | ConfidenceSequence) -> str:
        every = "all" if len(scenario.values) == len(scenario.order) else ""
        if isinstance(evidence, ConfidenceSequence):
            low, high = evidence.interval
            is_narrow = high - low <= 2 * (self._rule.half_width or 0)
            return every or ("narrow" if is_narrow else "")
        hopeless = evidence.chance < _LEAST_CHANCE
        return evidence.answer or every or ("undecided" if hopeless else "")

    def _write(self, store: Store, scenario: _Scenario) -> None:
        """Put where a scenario ended into the store."""
        sequence = self._sequence(len(scenario.order))
        for value in scenario.values:
            sequence.draw(*value)
        base = scenario.cells[1].key if len(scenario.cells) > 1 else b""
        rule = self._rule.model_dump_json(exclude_none=True)
        place = (scenario.cells[0].key, base, self._judge, scenario.name)
        counts = (len(scenario.order), len(scenario.values))
        row = (*place, rule, scenario.answer, *counts, *sequence.interval, time.time())
        store.put([("stops", row)])


def place_of(seed: int, item: Key) -> bytes:
    """Return what items are sorted by to be in the random order of a seed."""
    return hashlib.sha256(b"%d:%b" % (seed, item)).digest()


def _batch_of(batches: Mapping[int, set[Key]], cell: CellPlan) -> set[Key] | None:
    return batches.get(id(cell))


def _pairs(plan: Plan) -> list[tuple[CellPlan, ...]]:
    """Return each pair's cells that have data set, attack and defense in common."""
    cells = {(id(cell.model), *cell.label[1:]): cell for cell in plan.cells}
    return [
        (cell, cells[id(base), *cell.label[1:]])
        for reasoner, base in plan.study.pairs
        for cell in plan.cells
        if cell.model is reasoner
    ]


def _fits(cell: CellPlan, item: Item) -> bool:
    try:
        cell.attack.check(item)
    except AttackError:
        return False
    return True
