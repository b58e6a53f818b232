"""What a store has of the samples of a run: how far each came, its prompt, reply and verdicts."""

from __future__ import annotations

import functools
import json
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from opensafemlrm.errors import UnknownNameError
from opensafemlrm.store import records
from opensafemlrm.store.database import Store, reading, rows_with_keys
from opensafemlrm.store.tables import Values
from opensafemlrm.types import Key, Part, Response, ResponseStatus, Unscored, Verdict

JUDGED_AGAIN: Final = frozenset({Unscored.JUDGE_FAILED})
"""Reasons for which a text has no score that every run asks again about."""


@dataclass(frozen=True, slots=True)
class GenerationState:
    """What the store has of one generation: how far it has come."""

    status: str
    transient: bool
    code: str | None
    reasoning_parser: str | None
    judged: bool
    """Whether the judge asked about has a final verdict on every part that has text."""


def known_generations(
    connection: sqlite3.Connection,
    judge: Key,
    keys: Sequence[Key],
    judged_again: Collection[Unscored] = JUDGED_AGAIN,
) -> dict[Key, GenerationState]:
    """Return what the store has of ``keys``, and whether ``judge`` is done with each.

    A judge is not done with texts that are without a score for one of the reasons ``judged_again``.
    """
    query = f"""
        SELECT g.key, g.status, g.transient, g.code, g.splitter,
            j.generation IS NOT NULL AND NOT EXISTS (
                SELECT 1 FROM verdicts v
                WHERE v.key IN (j.reasoning, j.answer, j."full")
                AND v.reason IN ({_quoted(judged_again)})
            )
        FROM generations g
        LEFT JOIN judgements j ON j.generation = g.key AND j.judge = ?
        WHERE g.key IN (KEYS)
    """
    return {
        key: GenerationState(status, bool(transient), code, parser, bool(judged))
        for key, status, transient, code, parser, judged in rows_with_keys(
            connection, query, keys, judge
        )
    }


def responses(connection: sqlite3.Connection, keys: Sequence[Key]) -> dict[Key, Response]:
    """Return the stored replies of ``keys``."""
    query = f"SELECT key, {records.RESPONSE_COLUMNS} FROM generations WHERE key IN (KEYS)"
    rows = rows_with_keys(connection, query, keys)
    return {row[0]: records.response_from_row(row[1:]) for row in rows}


def final_verdicts(
    connection: sqlite3.Connection,
    keys: Sequence[Key],
    judged_again: Collection[Unscored] = JUDGED_AGAIN,
) -> dict[Key, Verdict]:
    """Return the stored verdicts of ``keys``, without those that are to be had again."""
    rows = rows_with_keys(connection, _final_verdicts(frozenset(judged_again)), keys)
    return {row[0]: records.verdict_from_row(row[1:]) for row in rows}


@functools.lru_cache(maxsize=64)
def _final_verdicts(judged_again: frozenset[Unscored]) -> str:
    return (
        f"SELECT key, {records.VERDICT_COLUMNS} FROM verdicts "
        f"WHERE key IN (KEYS) AND ifnull(reason, '') NOT IN ({_quoted(judged_again)})"
    )


def replies_that_came(connection: sqlite3.Connection, models: Collection[str]) -> list[Key]:
    """Return the replies that came, whole or cut, of all ``models`` or of those with these labels.

    Raises UnknownNameError for a model that the store has not.
    """
    query = (
        "SELECT g.key FROM generations g JOIN cells c ON c.key = g.cell JOIN components m "
        "ON m.key = c.model WHERE g.status IN ('ok', 'truncated')"
    )
    labels = "SELECT DISTINCT label FROM components WHERE kind = 'model'"
    with reading():
        there = {label for (label,) in connection.execute(labels)}
        for model in models:
            if model not in there:
                raise UnknownNameError("model", model, there)
        wanted = json.dumps([*(models or there)])
        rows = connection.execute(
            f"{query} AND m.label IN (SELECT value FROM json_each(?)) ORDER BY g.rowid", (wanted,)
        )
        return [key for (key,) in rows]


def replies_with_items(
    connection: sqlite3.Connection, keys: Sequence[Key]
) -> list[tuple[Key, str | None, Values, Response]]:
    """Return of stored replies the key, the parser, the row of the item, and the reply."""
    query = f"""
        SELECT g.key, g.splitter, {records.ITEM_OF_I}, {records.RESPONSE_OF_G}
        FROM generations g JOIN items i ON i.key = g.item WHERE g.key IN (KEYS)
    """
    return [
        (row[0], row[1], row[2:9], records.response_from_row(row[9:]))
        for row in rows_with_keys(connection, query, keys)
    ]


def scores(
    connection: sqlite3.Connection, judge: Key, part: str, keys: Sequence[Key]
) -> dict[Key, tuple[float | None, bool]]:
    """Return what ``judge`` gave a part of the generations ``keys``.

    Beside each score stands whether the reply was cut; a part without a score has ``None``.
    """
    query = f"""
        SELECT g.key, v.score, g.status != '{ResponseStatus.OK.value}'
        FROM generations g
        LEFT JOIN judgements j ON j.generation = g.key AND j.judge = ?
        LEFT JOIN verdicts v ON v.key = j."{Part(part).value}"
        WHERE g.key IN (KEYS)
    """
    rows = rows_with_keys(connection, query, keys, judge)
    return {key: (score, bool(is_cut)) for key, score, is_cut in rows}


def stored_prompts(
    connection: sqlite3.Connection, attack: Key, wanted: Sequence[tuple[Key, int]]
) -> dict[tuple[Key, int], str]:
    """Return the stored prompts (as JSON) of an attack by (item, seed)."""
    query = "SELECT item, seed, content FROM prompts WHERE attack = ? AND item IN (KEYS)"
    items = list({item for item, _ in wanted})
    rows = rows_with_keys(connection, query, items, attack)
    return {(item, seed): content for item, seed, content in rows}


def _quoted(reasons: Collection[Unscored]) -> str:
    return ", ".join(f"'{reason.value}'" for reason in sorted(reasons))


_MAX_RATIONALES: Final = 2_000
"""Verdicts that are looked at for who gives scores."""


def failure_codes(store: Store) -> set[str]:
    """Return the codes of requests that failed, and the reasons of texts without a score."""
    query = (
        "SELECT DISTINCT code FROM generations WHERE status = 'failed' "
        "UNION SELECT DISTINCT reason FROM verdicts WHERE reason IN "
        "('judge_failed', 'judge_refused', 'judge_truncated', 'unparsed')"
    )
    with reading():
        return {str(code) for (code,) in store.connection.execute(query)}


def thresholds_and_scale(store: Store, judge: Key) -> tuple[Sequence[float], ...]:
    """Return what the scores of a judge in the store mean; empty what is not known."""
    query = "SELECT facts FROM components WHERE key = ?"
    with reading():
        facts = json.loads(store.connection.execute(query, (judge,)).fetchone()[0])
    return facts.get("thresholds", ()), facts.get("scale", ())


def rationales(store: Store, judge: Key) -> list[str]:
    """Return what the members of a judge said of some texts; nothing where it has none."""
    query = "SELECT rationale FROM verdicts WHERE judge = ? AND rationale LIKE '{\"members\"%'"
    with reading():
        rows = store.connection.execute(f"{query} LIMIT {_MAX_RATIONALES}", (judge,))
        return [text for (text,) in rows]


def reopen(store: Store, verdicts: Collection[Key], replies: Collection[Key] = ()) -> None:
    """Let ``verdicts`` be given again, whoever else had a part in them, and ``replies`` be made
    again that a guard let through without one of its judges.
    """
    if not verdicts and not replies:
        return
    with store.transaction() as connection:
        connection.executemany(
            "UPDATE verdicts SET label = 'unscored', score = NULL, refusal = NULL, "
            "understood = NULL, reason = 'judge_failed' WHERE key = ?",
            [(key,) for key in verdicts],
        )
        keys = [(key,) for key in replies]
        connection.executemany(
            "UPDATE generations SET status = 'failed', transient = 1, code = 'guard_incomplete', "
            "detail = 'a judge of the guard gave no score' WHERE key = ? AND status <> 'failed'",
            keys,
        )
        connection.executemany("DELETE FROM judgements WHERE generation = ?", keys)
