"""What the store lacks of a cell."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from opensafemlrm.components import Search
from opensafemlrm.engine.plan import CellPlan, Plan, Round
from opensafemlrm.engine.tally import CAME, Tally
from opensafemlrm.errors import AttackError
from opensafemlrm.faults import named_faults
from opensafemlrm.store import SampleKey, generation_key, known
from opensafemlrm.store.known import GenerationState
from opensafemlrm.types import Item, Key, Response, ResponseStatus

if TYPE_CHECKING:
    from opensafemlrm.store import Store

SAMPLES: Final = 128
"""Samples that are looked up in the store together."""


@dataclass(frozen=True, slots=True)
class MissingWork:
    """What the store lacks of some items of a cell. It can travel to another process."""

    to_generate: list[tuple[Item, SampleKey, str | None]]
    """Samples without a reply, each with its prompt where the store has that."""
    to_judge: list[tuple[Item, SampleKey, Response]]
    """Replies without verdicts."""
    stored: int = 0
    """Samples that lack nothing."""
    stored_judged: int = 0
    """Of them, those with verdicts."""
    stored_failed: int = 0
    """Of them, those that failed for good."""

    def count(self, tally: Tally) -> None:
        """Count what there is already."""
        tally.stored += self.stored
        tally.stored_replies += self.stored - self.stored_failed + len(self.to_judge)
        tally.stored_unjudged += len(self.to_judge)
        tally.stored_judged += self.stored_judged
        tally.stored_failed += self.stored_failed


@dataclass(frozen=True, slots=True)
class Survey:
    """What a run of one cell would do."""

    samples: int
    to_generate: int
    to_judge: int
    """Replies that need verdicts, those still to be generated among them."""
    not_applicable: int
    """Samples to which the attack cannot be applied; counted if the first missing one is such."""
    note: str
    """Why it cannot be applied to that one."""


def rounds(plan: Plan, store: Store) -> Iterator[Round]:
    """Yield once for each time that the models are to run: once for a study that never stops."""
    rule = plan.study.stop
    if rule is None or plan.turn:
        yield _all_items
    else:
        from opensafemlrm.engine.stopping import Stopping  # noqa: PLC0415 # numpy, for rules alone

        yield from Stopping(plan, rule).rounds(store)


def _all_items(_: CellPlan) -> None:
    """All of any cell."""


def missing_work(
    plan: Plan,
    cells: Sequence[CellPlan],
    connection: sqlite3.Connection | None,
    wanted: Round = _all_items,
    *,
    planned: bool = False,
) -> Iterator[tuple[CellPlan, MissingWork]]:
    """Yield what the store lacks of cells, :data:`SAMPLES` at a time; all where there is no store.

    In the turn of a further judge that is only verdicts, unless replies are ``planned`` that the
    first judge's turn makes.

    Of a cell of which only some items are ``wanted``, it is what the store lacks of those.

    What failed before comes last, after all cells: what a server cannot take keeps it from nothing.
    ``connection`` is only read from. Raises StoreError, and DatasetError for a bad row.
    """
    failed: dict[Key, set[Key]] = {}
    for cell in cells:
        for samples in _samples(cell, wanted(cell)):
            if connection is None:
                yield cell, MissingWork([(item, key, None) for item, key in samples], [])
                continue
            work, again = _lacking(plan, cell, connection, samples)
            if plan.turn and not planned:
                work, again = replace(work, to_generate=[]), []
            if again:
                failed.setdefault(cell.key, set()).update(again)
            yield cell, work
    for cell in cells:
        if connection is None or cell.key not in failed:
            continue
        for samples in _samples(cell, wanted(cell)):
            if chosen := [pair for pair in samples if pair[1].key in failed[cell.key]]:
                yield cell, MissingWork(_with_prompts(cell, connection, chosen), [])


def _lacking(
    plan: Plan,
    cell: CellPlan,
    connection: sqlite3.Connection,
    samples: list[tuple[Item, SampleKey]],
) -> tuple[MissingWork, list[Key]]:
    """Return what the store lacks of some samples, and which of them failed and are asked again."""
    keys = [key.key for _, key in samples]
    states = known.known_generations(connection, plan.judge_key, keys, plan.again.judged)
    new = [pair for pair in samples if pair[1].key not in states]
    unjudged = [pair for pair in samples if _lacks_verdicts(states.get(pair[1].key), cell)]
    again = [key for key, state in states.items() if plan.again.includes(state)]
    replies = known.responses(connection, [key.key for _, key in unjudged])
    failed = sum(state.status == ResponseStatus.FAILED for state in states.values())
    work = MissingWork(
        _with_prompts(cell, connection, new),
        [(item, key, replies[key.key]) for item, key in unjudged],
        len(samples) - len(new) - len(unjudged) - len(again),
        sum(_is_judged(state, cell) for state in states.values()),
        failed - len(again),
    )
    return work, again


def _with_prompts(
    cell: CellPlan, connection: sqlite3.Connection, samples: list[tuple[Item, SampleKey]]
) -> list[tuple[Item, SampleKey, str | None]]:
    """Put the prompts beside samples that the store has of them."""
    places = [(key.item, key.seed) for _, key in samples]
    prompts = known.stored_prompts(connection, cell.prompts_key, places)
    return [(item, key, prompts.get((key.item, key.seed))) for item, key in samples]


@dataclass(frozen=True, slots=True)
class Standing:
    """What the store holds of one cell."""

    replies: int
    """Replies that came; what failed for good is none."""
    judged: int
    unjudged: int


def standing(plan: Plan, cell: CellPlan, connection: sqlite3.Connection) -> Standing:
    """Count the replies of a cell that are in the store, judged and not."""
    replies = judged = unjudged = 0
    for samples in _samples(cell):
        keys = [key.key for _, key in samples]
        states = known.known_generations(connection, plan.judge_key, keys, plan.again.judged)
        for state in states.values():
            replies += state.status != ResponseStatus.FAILED
            judged += _is_judged(state, cell)
            unjudged += _lacks_verdicts(state, cell)
    return Standing(replies, judged, unjudged)


def survey(plan: Plan, cell: CellPlan, connection: sqlite3.Connection | None) -> Survey:
    """Count what a run would do, sending and writing nothing.

    Raises JudgeError where the judge compares with what the first item does not have.
    """
    to_generate = to_judge = not_applicable = 0
    note: str | None = None
    for _, work in missing_work(plan, [cell], connection, planned=True):
        to_judge += len(work.to_judge)
        for item, _, _ in work.to_generate:
            # An attack that fits the first item is assumed to fit all of them: to draw every image
            # would take as long as the run.
            if note is None:
                plan.judge.context(item)
                note = _why_not(cell, item)
            if note and _why_not(cell, item):
                not_applicable += 1
            else:
                to_generate += 1
    return Survey(cell.samples, to_generate, to_generate + to_judge, not_applicable, note or "")


def _samples(
    cell: CellPlan, wanted: Collection[Key] | None = None
) -> Iterator[list[tuple[Item, SampleKey]]]:
    if wanted is not None and not wanted:
        return
    first_seed = cell.cell.sampling.seed or 0
    repeats = range(cell.repeats)
    samples = (
        (item, _sample_key(cell.key, item.key, repeat, first_seed + repeat))
        for item in cell.subset.items()
        if wanted is None or item.key in wanted
        for repeat in repeats
    )
    while chunk := list(itertools.islice(samples, SAMPLES)):
        yield chunk


def _sample_key(cell: Key, item: Key, repeat: int, seed: int) -> SampleKey:
    return SampleKey(cell, item, repeat, seed, generation_key(cell, item, repeat))


def _lacks_verdicts(state: GenerationState | None, cell: CellPlan) -> bool:
    """Whether there is a reply that was not judged, or was parsed in another way."""
    if state is None or state.status not in CAME:
        return False
    return not state.judged or state.reasoning_parser != cell.reasoning_parser


def _is_judged(state: GenerationState, cell: CellPlan) -> bool:
    return state.status in CAME and not _lacks_verdicts(state, cell)


def _why_not(cell: CellPlan, item: Item) -> str:
    """Return why the attack cannot be applied to ``item``, as far as that is known unasked."""
    try:
        with named_faults(item):
            cell.attack.check(item)
            if not isinstance(cell.attack, Search):
                cell.attack.apply(item, 0)
    except AttackError as error:
        return str(error)
    return ""
