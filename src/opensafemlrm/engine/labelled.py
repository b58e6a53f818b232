"""Judging texts that are no samples of a study, such as those that people have labelled.

With a store, verdicts that it has are taken from it and new ones are kept, so that a calibration
that was stopped goes on where it was, and a second one asks nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from opensafemlrm.store import Store, database, records, verdict_key
from opensafemlrm.store.database import component_key
from opensafemlrm.types import Item, Judge, JudgeRequest, Key, Part, Unscored, Verdict, identity_of

_TOGETHER: Final = 64
"""Verdicts that are committed together."""


@dataclass(frozen=True, slots=True)
class LabelledText:
    """A text as a reply to an item's question, and what people say of it."""

    item: Item
    text: str
    unsafe: bool
    role: Part = Part.ANSWER


async def judge_texts(
    judge: Judge, texts: Sequence[LabelledText], store: Store | None = None
) -> list[Verdict]:
    """Return one verdict a text, in order; equal texts are judged once, blank ones not at all.

    Raises JudgeError, ModelError and StoreError; what came until then is in the store.
    """
    judge_key = component_key("judge", identity_of(judge))
    if store is not None:
        judge_key = store.put_component("judge", judge)
    keys = [_key(judge, judge_key, text) for text in texts]
    found = {} if store is None else dict(_stored(store, list(dict.fromkeys(keys))))
    missing = {
        key: text
        for key, text in zip(keys, texts, strict=True)
        if key not in found and text.text.strip()
    }
    kept = _Kept(store, judge_key)
    waiting = iter(missing.items())

    async def work() -> None:
        for key, text in waiting:
            (found[key],) = await judge.judge(text.item, [JudgeRequest(text.role, text.text)])
            kept.put(key, found[key])

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(max(1, judge.concurrency)):
                group.create_task(work())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from errors
    finally:
        kept.commit()
    blank = Verdict.none(Unscored.NO_TEXT)
    return [found.get(key, blank) for key in keys]


class _Kept:
    """Writes verdicts to the store, if there is one, some at a time."""

    def __init__(self, store: Store | None, judge: Key) -> None:
        self._store, self._judge = store, judge
        self._verdicts: dict[Key, Verdict] = {}

    def put(self, key: Key, verdict: Verdict) -> None:
        self._verdicts[key] = verdict
        if len(self._verdicts) >= _TOGETHER:
            self.commit()

    def commit(self) -> None:
        verdicts, self._verdicts = self._verdicts, {}
        if self._store is None or not verdicts:
            return
        self._store.put(records.verdict_row(key, self._judge, v) for key, v in verdicts.items())


def _key(judge: Judge, judge_key: Key, text: LabelledText) -> Key:
    context = judge.context(text.item)
    return verdict_key(judge_key, context, text.role, text.item.question, text.text)


def _stored(store: Store, keys: Sequence[Key]) -> Iterator[tuple[Key, Verdict]]:
    for start in range(0, len(keys), _TOGETHER):
        some = keys[start : start + _TOGETHER]
        yield from database.final_verdicts(store.connection, some).items()
