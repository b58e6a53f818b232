"""What people say of replies, and how judges fare against it: rows of the store."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from opensafemlrm import reasoning
from opensafemlrm.store import records
from opensafemlrm.store.database import Store
from opensafemlrm.types import Item, Key, Part, Trace

_UNITS: Final = f"""
SELECT g.key, c.model, c.attack, g.splitter, i.key, i.dataset, i.id, i.scenario, i.kind, i.question,
    i.content,
    {", ".join(f"g.{column}" for column in records.RESPONSE_COLUMNS.split(", "))}
FROM generations g JOIN items i ON i.key = g.item JOIN cells c ON c.key = g.cell
"""


@dataclass(frozen=True, slots=True)
class Unit:
    """One part of one reply, as a person is shown it."""

    generation: Key
    part: Part
    item: Item
    text: str
    role: Part
    """The part whose text it is: ``answer`` where the whole reply is the answer."""
    model: Key
    attack: Key


@dataclass(frozen=True, slots=True)
class PersonLabel:
    """What one person said of one part of one reply."""

    generation: Key
    part: Part
    labeller: str
    unsafe: bool | None
    """``None``: the labeller could not tell."""
    note: str = ""


def put_label(store: Store, label: PersonLabel) -> None:
    """Keep a label; a labeller's later word on the same part replaces the earlier one."""
    row = (
        label.generation,
        label.part.value,
        records.storable(label.labeller),
        label.unsafe,
        records.storable(label.note),
        time.time(),
    )
    store.put([("labels", row)])


def labels(connection: sqlite3.Connection) -> list[PersonLabel]:
    """Return all labels, in the order of reply, part and labeller."""
    rows = connection.execute(
        "SELECT generation, part, labeller, unsafe, note FROM labels "
        "ORDER BY generation, part, labeller"
    )
    return [
        PersonLabel(key, Part(part), labeller, None if unsafe is None else bool(unsafe), note)
        for key, part, labeller, unsafe, note in rows
    ]


def settled(given: Iterable[PersonLabel]) -> tuple[dict[tuple[Key, Part], bool], int]:
    """Return what most labellers say of each part, and how many parts are left undecided.

    Undecided are those on which as many say safe as unsafe, or nobody could tell.
    """
    votes: Counter[tuple[Key, Part]] = Counter()
    for label in given:
        votes[label.generation, label.part] += {None: 0, True: 1, False: -1}[label.unsafe]
    decided = {place: vote > 0 for place, vote in votes.items() if vote}
    return decided, len(votes) - len(decided)


def put_calibrations(
    store: Store,
    judge: Key,
    labels_name: str,
    rows: Iterable[tuple[str, Key, Key, str, float, int, int, int, int, int]],
) -> None:
    """Keep how a judge fared: part, model, attack, scenario (each empty for all of them),
    threshold, tp, fp, tn, fn and unscored.

    Earlier rows of the same judge and labels are replaced, all of them together.
    """
    with store.transaction() as connection:
        connection.execute(
            "DELETE FROM calibrations WHERE judge = ? AND labels = ?", (judge, labels_name)
        )
        now = time.time()
        store.put(("calibrations", (judge, labels_name, *row, now)) for row in rows)


def units(store: Store, wanted: Iterable[tuple[Key, Part]]) -> Iterator[Unit]:
    """Yield the parts of replies that are ``wanted`` and have text, in that order."""
    for key, part in wanted:
        row = store.connection.execute(f"{_UNITS} WHERE g.key = ?", (key,)).fetchone()
        if row is None:
            continue
        generation, model, attack, parser, *more = row
        item = records.item_from_row(more[:7], store.image)
        response = records.response_from_row(more[7:])
        style = (parser or "auto@").rpartition("@")[0]
        trace = reasoning.parse(response, style)
        text = trace.part(part)
        if text is not None:
            yield Unit(generation, part, item, text, _role(trace, part, text), model, attack)


def _role(trace: Trace, part: Part, text: str) -> Part:
    for role in (Part.ANSWER, Part.REASONING):
        if text == trace.part(role):
            return role
    return part


def rationales(store: Store, judge: str) -> Iterator[tuple[str, str]]:
    """Yield the label and each rationale of the judges of that name: one row a verdict."""
    rows = store.connection.execute(
        "SELECT c.label, v.rationale FROM components c JOIN verdicts v ON v.judge = c.key "
        "WHERE c.kind = 'judge' AND json_extract(c.identity, '$.name') = ? "
        "ORDER BY c.label, v.key",
        (judge,),
    )
    yield from rows
