"""What people say of replies, and how judges fare against it: rows of the store."""

from __future__ import annotations

import dataclasses
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from opensafemlrm import reasoning
from opensafemlrm.errors import SafeMLRMError
from opensafemlrm.store import records
from opensafemlrm.store.database import Store, reading, unfit
from opensafemlrm.types import Item, Key, Part, Trace

MAX_CHARACTERS: Final = 10_000
"""The longest note, name or other free text of a label that comes from a file."""
_UNITS: Final = f"""
SELECT g.key, c.model, c.attack, g.splitter, {records.ITEM_OF_I}, {records.RESPONSE_OF_G}
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
    text: str = ""
    """What the person was shown; empty in labels of older stores."""
    response_class: str | None = None
    """MSTS's class of the text, such as ``1.3``, where the labeller chose among classes."""
    understood: bool | None = None
    """Whether its writer understood the request; ``None`` where nobody was asked."""
    created: float = 0.0
    """When it was given, in seconds since 1970; 0 is now."""


def put_labels(store: Store, given: Iterable[PersonLabel]) -> None:
    """Keep labels; a labeller's later word on the same text replaces the earlier one."""
    store.put(
        (
            "labels",
            (
                label.generation,
                label.part.value,
                records.storable(label.labeller),
                records.storable(label.text),
                label.unsafe,
                label.response_class,
                label.understood,
                records.storable(label.note),
                label.created or time.time(),
            ),
        )
        for label in given
    )


def too_long(text: str) -> str:
    """Say what is wrong with a text that has more than :data:`MAX_CHARACTERS`; else nothing."""
    most = f"texts of a label have {MAX_CHARACTERS:,} at most: shorten it"
    return f"it has {len(text):,} characters; {most}" if len(text) > MAX_CHARACTERS else ""


def remove_label(store: Store, label: PersonLabel) -> None:
    """Take back what a labeller said of a text."""
    with store.transaction() as connection:
        connection.execute(
            "DELETE FROM labels WHERE generation = ? AND part = ? AND labeller = ? AND text = ?",
            (
                label.generation,
                label.part.value,
                records.storable(label.labeller),
                records.storable(label.text),
            ),
        )


def labels(connection: sqlite3.Connection, labeller: str | None = None) -> list[PersonLabel]:
    """Return all labels, or one labeller's, in the order of reply, part, labeller and time.

    Raises StoreError.
    """
    where = "" if labeller is None else "WHERE labeller = ?"
    with reading():
        rows = connection.execute(
            "SELECT generation, part, labeller, unsafe, note, text, response_class, understood, "
            f"created FROM labels {where} ORDER BY generation, part, labeller, created",
            () if labeller is None else (records.storable(labeller),),
        ).fetchall()
    try:
        return [
            PersonLabel(key, Part(part), by, _flag(unsafe), note, text, named, _flag(ok), created)
            for key, part, by, unsafe, note, text, named, ok, created in rows
        ]
    except ValueError as error:
        raise unfit("labels", str(error)) from error


def _flag(value: int | None) -> bool | None:
    return None if value is None else bool(value)


def with_texts(store: Store, *, or_none: bool = False) -> list[PersonLabel]:
    """Return the labels whose text is known; a person's last word on each text alone.

    With ``or_none`` also those on replies that were imported without their text.
    """
    last: dict[tuple[Key, Part, str, str], PersonLabel] = {}
    for label in labels(store.connection):
        text = label.text
        if not text and (unit := unit_of(store, label.generation, label.part)):
            text = unit.text
        if text or or_none:
            place = (label.generation, label.part, label.labeller, text)
            last[place] = dataclasses.replace(label, text=text)
    return list(last.values())


def settled(store: Store) -> tuple[list[tuple[Unit, bool]], int]:
    """Return the labelled texts with what most labellers say of each, and how many are undecided.

    Undecided are those on which as many say safe as unsafe, or nobody could tell. Each text is the
    one that was labelled: it may be of a reply that was split or replaced since.
    """
    votes: Counter[tuple[Key, Part, str]] = Counter()
    for label in with_texts(store):
        votes[label.generation, label.part, label.text] += {None: 0, True: 1, False: -1}[
            label.unsafe
        ]
    decided = [(unit_of(store, *place), vote > 0) for place, vote in votes.items() if vote]
    return [(unit, unsafe) for unit, unsafe in decided if unit], len(votes) - len(decided)


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


def unit_of(store: Store, generation: Key, part: Part, text: str = "") -> Unit | None:
    """Return a part of a reply with the ``text`` that it had once, or the one that it has now.

    ``None`` where the reply is gone, or has no such part. Raises StoreError.
    """
    with reading():
        row = store.connection.execute(f"{_UNITS} WHERE g.key = ?", (generation,)).fetchone()
    if row is None:
        return None
    try:
        _, model, attack, parser, *more = row
        item = records.item_from_row(more[:7], store.image)
        trace = reasoning.parse(records.response_from_row(more[7:]), records.format_of(parser))
    except (ValueError, KeyError, TypeError, SafeMLRMError) as error:
        raise unfit("generations", str(error)) from error
    text = text or trace.part(part) or ""
    if not text:
        return None
    return Unit(generation, part, item, text, _role(trace, part, text), model, attack)


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
