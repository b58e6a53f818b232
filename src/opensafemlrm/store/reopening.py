"""What is to be had again although the store has it: what a judge that was gone had no part in."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from opensafemlrm.store.database import Store, reading
from opensafemlrm.types import Key

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
