"""Verdicts for the parts of a reply: each text is judged once, whichever samples hold it."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Final

from opensafemlrm.engine.plan import Job
from opensafemlrm.store import Store, Writer, database, records, verdict_key
from opensafemlrm.types import PARTS, Item, Judge, JudgeRequest, Key, Part, Trace, Verdict

_PREFIX_BITS: Final = 24


class Judging:
    """Asks the judge for what neither the store nor a sample under way has."""

    def __init__(self, judge: Judge, key: Key, store: Store, writer: Writer) -> None:
        self._judge, self._key = judge, key
        self._store, self._writer = store, writer
        self._stored = _StoredKeys(store.connection)
        self._under_way: dict[Key, asyncio.Future[dict[Key, Verdict]]] = {}
        self._uncommitted: list[Key] = []
        writer.when_committed(self._forget_committed)

    async def judge(self, job: Job, trace: Trace) -> int:
        """Get verdicts for every part that has text; return how many of them have no score."""
        item = job.item
        context = self._judge.context(item)
        asks: dict[Key, JudgeRequest] = {}
        part_keys: dict[Part, Key] = {}
        for part, ask in _asks(trace).items():
            key = verdict_key(self._key, context, ask.role, item.question, ask.text)
            part_keys[part] = key
            asks[key] = ask
        verdicts = await self._verdicts(item, asks)
        keys = (part_keys.get(part) for part in PARTS)
        self._writer.put(records.PUT_JUDGEMENT, (job.slot.key, self._key, *keys))
        await self._writer.saved()
        return sum(verdicts[key].score is None for key in part_keys.values())

    async def _verdicts(self, item: Item, asks: dict[Key, JudgeRequest]) -> dict[Key, Verdict]:
        perhaps = [key for key in asks if self._stored.may_hold(key)]
        verdicts = database.final_verdicts(self._store.connection, perhaps) if perhaps else {}
        missing = [key for key in asks if key not in verdicts] if verdicts else list(asks)
        under_way = self._under_way
        others = [(key, under_way[key]) for key in missing if key in under_way]
        mine = [key for key in missing if key not in under_way] if others else missing
        if mine:
            verdicts.update(await self._ask(item, mine, [asks[key] for key in mine]))
        for key, future in others:
            verdicts[key] = (await asyncio.shield(future))[key]
        return verdicts

    async def _ask(
        self, item: Item, keys: list[Key], asks: list[JudgeRequest]
    ) -> dict[Key, Verdict]:
        future: asyncio.Future[dict[Key, Verdict]] = asyncio.get_running_loop().create_future()
        for key in keys:
            self._under_way[key] = future
        try:
            verdicts = dict(zip(keys, await self._judge.judge(item, asks), strict=True))
            future.set_result(verdicts)
            for key, verdict in verdicts.items():
                self._writer.put(records.PUT_VERDICT, records.verdict_row(key, self._key, verdict))
        except BaseException:
            future.cancel()
            for key in keys:
                del self._under_way[key]
            raise
        # Until they are committed, the store cannot give them to others.
        self._uncommitted += keys
        return verdicts

    def _forget_committed(self) -> None:
        """Let go of what can be found in the store from now on."""
        for key in self._uncommitted:
            self._stored.add(key)
            del self._under_way[key]
        self._uncommitted.clear()


class _StoredKeys:
    """Tells of most keys, without asking the database, that they are not in it.

    A bitmap of the first bits of the keys of all verdicts: it never misses one that is there. Its
    size is the same for any store; the fuller it is, the more often it says "perhaps" in vain (one
    time in fifty at 300,000 verdicts).
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._bits = bytearray(1 << (_PREFIX_BITS - 3))
        with database.reading():
            for (key,) in connection.execute("SELECT key FROM verdicts"):
                self.add(key)

    def add(self, key: Key) -> None:
        """Note that ``key`` is in the store."""
        place = int.from_bytes(key[:3], "big")
        self._bits[place >> 3] |= 1 << (place & 7)

    def may_hold(self, key: Key) -> bool:
        """Whether ``key`` may be in the store; if not, it surely is not."""
        place = int.from_bytes(key[:3], "big")
        return bool(self._bits[place >> 3] >> (place & 7) & 1)


def _asks(trace: Trace) -> dict[Part, JudgeRequest]:
    """Return what to ask of each part that has text; equal texts share a role."""
    thought, answer, full = (trace.part(part) for part in PARTS)
    asks: dict[Part, JudgeRequest] = {}
    if thought is not None:
        asks[Part.REASONING] = JudgeRequest(
            Part.ANSWER if thought == answer else Part.REASONING, thought
        )
    if answer is not None:
        asks[Part.ANSWER] = JudgeRequest(Part.ANSWER, answer)
    if full is not None:
        same = Part.ANSWER if full == answer else Part.REASONING if full == thought else Part.FULL
        asks[Part.FULL] = JudgeRequest(same, full)
    return asks
