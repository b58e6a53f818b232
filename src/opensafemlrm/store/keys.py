"""Holding rows against their content keys: what was changed by another hand contradicts them.

A key is made of content, so that it can be made again: of a component from its identity, of a cell
from its parts, of an item from its texts, of a reply from its place, of a verdict from the text
that was judged. What no key covers is listed in ``docs/reliability.md``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import json
import math
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from opensafemlrm import reasoning, registry
from opensafemlrm.components import Judge
from opensafemlrm.errors import SafeMLRMError
from opensafemlrm.registry import ComponentKind
from opensafemlrm.store import records
from opensafemlrm.store.database import component_key
from opensafemlrm.types import PARTS, Key, content_key

_UNREADABLE: Final = (ValueError, TypeError, KeyError, IndexError, AttributeError, SafeMLRMError)
_NONE: Final = bytes(16)
_HAS_VERDICT: Final = "SELECT 1 FROM verdicts WHERE key = ?"
_JUDGED: Final = f"""
SELECT j.generation, j.judge, j.reasoning, j.answer, j."full", c.identity, g.splitter,
    {records.ITEM_OF_I}, {records.RESPONSE_OF_G}
FROM judgements j JOIN generations g ON g.key = j.generation JOIN items i ON i.key = g.item
JOIN components c ON c.key = j.judge
"""


def add_functions(connection: sqlite3.Connection) -> None:
    """Give a connection the functions that conditions on keys use.

    ``component_of``, ``cell_of``, ``item_of``, ``generation_of`` and ``reading_of`` give the key
    that content has; ``can_read`` says whether a prompt can be read, ``facts_fit`` whether a judge
    has thresholds and a scale, and those of its kind.
    """
    for name, arguments, function in (
        ("component_of", 2, lambda kind, text: component_key(kind, json.loads(text))),
        ("cell_of", 5, lambda *parts: content_key(*parts[:4], json.loads(parts[4]))),
        ("item_of", 7, _item_key),
        ("generation_of", 3, records.generation_key),
        ("reading_of", 1, content_key),
        ("can_read", 1, _can_read),
        ("facts_fit", 3, _facts_fit),
    ):
        connection.create_function(name, arguments, _quiet(function), deterministic=True)


def prepare(connection: sqlite3.Connection) -> None:
    """Give a connection those functions, and two tables of what is not about the same text.

    ``temp.retold`` holds the replies whose text is not the one that was judged, ``temp.misjudged``
    the judgements that are not on the reply beside them.
    """
    add_functions(connection)
    connection.executescript(
        "PRAGMA temp_store = MEMORY;"
        "DROP TABLE IF EXISTS temp.retold; DROP TABLE IF EXISTS temp.misjudged;"
        "CREATE TEMP TABLE retold (generation BLOB);"
        "CREATE TEMP TABLE misjudged (generation BLOB, judge BLOB);"
    )
    _find_misjudged(connection)


def _quiet(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with no key for what cannot be read at all."""

    @functools.wraps(function)
    def quiet(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except _UNREADABLE:
            return None

    return quiet


def _item_key(*row: Any) -> Key:
    if any("\ufffd" in str(value) for value in row[1:]):
        return bytes(row[0])  # perhaps in place of what UTF-8 cannot hold, which the key knows
    return records.item_from_row(row, records.without_bytes).key


def _can_read(prompt: str) -> bool:
    prompt_of = records.prompt_from_json(prompt, records.without_bytes)
    return all(isinstance(turn.role, str) for turn in prompt_of.turns)


def _facts_fit(kind: str, identity: str, text: str) -> bool:
    facts = json.loads(text)
    if kind != ComponentKind.JUDGE:
        return isinstance(facts, Mapping)
    thresholds, scale = facts["thresholds"], facts.get("scale", [0, 0])
    judge = _judge(identity)
    with contextlib.suppress(*_UNREADABLE):  # where they follow from what an identity does not hold
        if judge is not None and [*judge.thresholds] != thresholds:
            return False
    numbers = [*thresholds, *scale]
    return len(thresholds) > 0 and all(math.isfinite(number) for number in numbers)


def _find_misjudged(connection: sqlite3.Connection) -> None:
    """Fill the tables with what is not about the same text: a verdict's key is made of its text.

    Where the verdict that a text should have is there, the judgement was changed, else the text.
    """
    rows = connection.execute(f"{_JUDGED} ORDER BY j.generation, j.judge")
    for generation, judgements in itertools.groupby(rows, key=lambda row: row[0]):
        wrong = list(_wrong(judgements))
        known = [
            judge
            for judge, keys in wrong
            if all(connection.execute(_HAS_VERDICT, (key,)).fetchone() for key in keys)
        ]
        if len(known) < len(wrong):
            connection.execute("INSERT INTO temp.retold VALUES (?)", (generation,))
        connection.executemany(
            "INSERT INTO temp.misjudged VALUES (?, ?)", ((generation, judge) for judge in known)
        )


def _wrong(judgements: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Key, set[Key]]]:
    """Yield the judge and the right keys of judgements on one reply that have others."""
    from opensafemlrm.store.verdict_key import verdict_key  # noqa: PLC0415 # for checks alone

    for _, judge, *given, identity, parser, item_row, response in (
        (*row[:7], row[7:14], row[14:]) for row in judgements
    ):
        judge_of = _judge(identity)
        version = str(parser or "").rpartition("@")[2]
        if judge_of is None or version != reasoning.VERSION:
            continue  # judged or parsed by rules of another version: its keys cannot be made again
        try:
            item = records.item_from_row(item_row, records.without_bytes)
            trace = reasoning.parse(records.response_from_row(response), records.format_of(parser))
            of_item = judge_of.context(item)
            requests = records.judge_requests(trace)
            # A verdict from before an edition of the fence stays what it was.
            editions = [
                {
                    part: verdict_key(
                        judge, of_item, request.role, item.question, request.text, fenced=fenced
                    )
                    for part, request in requests.items()
                }
                for fenced in (None, 1)
            ]
        except _UNREADABLE:
            yield judge, {_NONE}
            continue
        if given not in [[keys.get(part) for part in PARTS] for keys in editions]:
            yield judge, set(editions[0].values())


@functools.lru_cache(maxsize=256)
def _judge(identity: str) -> Judge | None:
    """Return the judge that has an identity; ``None`` where it is not known."""
    try:
        return _like(json.loads(identity))
    except _UNREADABLE:
        return None


def _like(identity: Any) -> Judge | None:
    """Return a judge with the options of an identity, without its models: it only gives contexts.

    ``None`` where the identity is of another version than this project's, or of no judge here.
    """
    if not isinstance(identity, Mapping) or identity.get("imported_from"):
        return None
    cls = registry.find(ComponentKind.JUDGE, identity["name"])
    if cls.version != identity["version"]:
        return None
    judge: Judge = object.__new__(cls)
    for field in dataclasses.fields(cls):
        value = identity.get(field.name)
        if isinstance(value, list):
            value = tuple(_member(option) for option in value)
        object.__setattr__(judge, field.name, _member(value))
    return judge


def _member(value: Any) -> Any:
    try:
        return _like(value) or value
    except _UNREADABLE:  # an option of another kind, such as a model
        return value
