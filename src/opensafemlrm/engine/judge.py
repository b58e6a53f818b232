"""Verdicts for the parts of a reply: each text is judged once, whichever samples hold it."""

from __future__ import annotations

import asyncio

from opensafemlrm.engine.plan import Job
from opensafemlrm.store import Store, Writer, database, records, verdict_key
from opensafemlrm.types import PARTS, Item, Judge, JudgeRequest, Key, Part, Trace, Verdict


class Judging:
    """Asks the judge for what neither the store nor a sample under way has."""

    def __init__(self, judge: Judge, key: Key, store: Store, writer: Writer) -> None:
        self._judge, self._key = judge, key
        self._store, self._writer = store, writer
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
        under_way = {key: self._under_way[key] for key in asks if key in self._under_way}
        others = [key for key in asks if key not in under_way]
        verdicts = database.final_verdicts(self._store.connection, others) if others else {}
        if missing := [key for key in others if key not in verdicts]:
            verdicts |= await self._ask(item, missing, [asks[key] for key in missing])
        for key, future in under_way.items():
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
            del self._under_way[key]
        self._uncommitted.clear()


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
