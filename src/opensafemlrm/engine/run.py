"""Bring a store up to date: generate what is missing, judge what is unjudged, nothing else.

Each model has a lane: a thread reads the dataset, applies the attack and asks the store; a fixed
number of workers send, split, judge and write. Nothing is held but what the workers are at.
"""

from __future__ import annotations

import asyncio
import dataclasses
import sqlite3
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

from opensafemlrm import reasoning
from opensafemlrm.engine.plan import CellPlan, Job, Plan, sampling_for
from opensafemlrm.engine.search import Searching
from opensafemlrm.errors import SafeMLRMError
from opensafemlrm.store import Store, Writer, database, records, verdict_key
from opensafemlrm.types import (
    PARTS,
    Ask,
    Item,
    Judge,
    Key,
    Part,
    Prompt,
    Response,
    ResponseStatus,
    Trace,
    Verdict,
)

_AHEAD: Final = 2
"""Chunks that are prepared before they are needed."""


async def run(plan: Plan, store: Store) -> None:
    """Run ``plan``; progress is in the tallies of its cells.

    However it ends (done, an error, a cancelled task), every reply and verdict that came is
    committed. Raises the first SafeMLRMError, such as EndpointDownError or StoreError.
    """
    plan.register(store)
    writer = Writer(store.connection)
    judging = _Judging(plan.study.judge, plan.judge_key, store, writer)
    lanes: dict[int, list[CellPlan]] = {}
    for cell in plan.cells:
        lanes.setdefault(id(cell.model), []).append(cell)
    try:
        async with asyncio.TaskGroup() as group:
            for cells in lanes.values():
                group.create_task(_lane(plan, cells, store, writer, judging))
    except BaseExceptionGroup as errors:
        raise _first_error(errors) from errors
    finally:
        writer.flush()
        for model in plan.study.models:
            await model.aclose()
        await plan.study.judge.aclose()


async def _lane(
    plan: Plan, cells: list[CellPlan], store: Store, writer: Writer, judging: _Judging
) -> None:
    reader = store.reader()
    searching = Searching(plan.study.judge, store)
    stream = _Stream(_chain(plan, cells, store, reader))
    # A worker holds its sample through generation and judging, so that neither waits for the other.
    workers = cells[0].target.concurrency + plan.study.judge.concurrency
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(stream.feed())
            for _ in range(workers):
                group.create_task(_work(stream, writer, searching, judging))
    finally:
        reader.close()


def _chain(
    plan: Plan, cells: list[CellPlan], store: Store, reader: sqlite3.Connection
) -> Iterator[list[Job]]:
    for cell in cells:
        yield from plan.jobs(cell, store, reader)


class _Stream:
    """Jobs for the workers of a lane, prepared in a thread a little ahead of them."""

    def __init__(self, chunks: Iterator[list[Job]]) -> None:
        self._chunks = chunks
        self._queue: asyncio.Queue[list[Job] | None] = asyncio.Queue(_AHEAD)
        self._ready: deque[Job] = deque()
        self._refilling = asyncio.Lock()
        self._ended = False

    async def feed(self) -> None:
        """Prepare chunks until there are no more."""
        while (chunk := await asyncio.to_thread(next, self._chunks, None)) is not None:
            await self._queue.put(chunk)
        await self._queue.put(None)

    async def take(self) -> Job | None:
        """Return the next job, or ``None`` when there are no more."""
        while not self._ready:
            async with self._refilling:
                if self._ready:
                    break
                if self._ended:
                    return None
                chunk = await self._queue.get()
                if chunk is None:
                    self._ended = True
                else:
                    self._ready.extend(chunk)
        return self._ready.popleft()


async def _work(stream: _Stream, writer: Writer, searching: Searching, judging: _Judging) -> None:
    while (job := await stream.take()) is not None:
        tally = job.cell.tally
        if job.to_search:
            await searching.search(job)
        if job.prompt is not None:
            response, trace = await _generate(job, job.prompt, writer)
        elif job.response is not None:
            response, trace = _split_again(job, job.response, writer)
        else:
            await _write(writer, job.rows)
            tally.inapplicable += 1
            tally.note(job.inapplicable)
            continue
        if response.status is ResponseStatus.OK and trace is not None:
            tally.ok += 1
            unscored = await judging.judge(job, trace)
            tally.unscored += unscored
            tally.judged += 1
        elif response.status is ResponseStatus.TRUNCATED:
            tally.truncated += 1
        elif response.status is ResponseStatus.BLOCKED:
            tally.blocked += 1
        else:
            tally.failed += 1
            tally.note(f"{response.code}: {response.detail}")


async def _write(writer: Writer, rows: list[tuple[str, tuple[Any, ...]]]) -> None:
    for statement, row in rows:
        writer.put(statement, row)
    await writer.saved()


async def _generate(job: Job, prompt: Prompt, writer: Writer) -> tuple[Response, Trace | None]:
    cell = job.cell
    response = _storable(await cell.target.generate(prompt, sampling_for(cell, job.slot)))
    trace = splitter = None
    if response.status in (ResponseStatus.OK, ResponseStatus.TRUNCATED):
        trace = reasoning.split(response, cell.target.reasoning_format)
        splitter = cell.splitter
    rows = [*job.rows]
    for step, call in enumerate((*job.calls, *response.calls)):
        rows.append((records.PUT_CALL, records.call_row(job.slot.key, step, call)))
    row = records.generation_row(job.slot, response, trace, splitter)
    await _write(writer, [*rows, (records.PUT_GENERATION, row)])
    return response, trace


def _split_again(job: Job, response: Response, writer: Writer) -> tuple[Response, Trace]:
    trace = reasoning.split(response, job.cell.target.reasoning_format)
    writer.put(records.PUT_TRACE, (trace.status.value, job.cell.splitter, job.slot.key))
    return response, trace


def _storable(response: Response) -> Response:
    """Make the text what the store will give back, so that keys computed now hold later."""
    text = records.storable(response.text)
    thought = None if response.reasoning is None else records.storable(response.reasoning)
    if text is response.text and thought is response.reasoning:
        return response
    return dataclasses.replace(response, text=text, reasoning=thought)


class _Judging:
    """Asks the judge once for each text, whichever samples hold it."""

    def __init__(self, judge: Judge, key: Key, store: Store, writer: Writer) -> None:
        self._judge, self._key = judge, key
        self._store, self._writer = store, writer
        self._under_way: dict[Key, asyncio.Future[Verdict]] = {}

    async def judge(self, job: Job, trace: Trace) -> int:
        """Get verdicts for every part that has text; return how many of them have no score."""
        asks: dict[Key, Ask] = {}
        part_keys: dict[Part, Key | None] = {}
        context = self._judge.context(job.item)
        for part in PARTS:
            ask = _ask(trace, part)
            part_keys[part] = None
            if ask is not None:
                key = verdict_key(self._key, context, ask.role, job.item.question, ask.text)
                part_keys[part] = key
                asks[key] = ask
        verdicts = await self._verdicts(job.item, asks)
        row = (job.slot.key, self._key, *(part_keys[part] for part in PARTS))
        self._writer.put(records.PUT_JUDGEMENT, row)
        await self._writer.saved()
        return sum(key is not None and verdicts[key].score is None for key in part_keys.values())

    async def _verdicts(self, item: Item, asks: dict[Key, Ask]) -> dict[Key, Verdict]:
        if not asks:
            return {}
        verdicts = database.final_verdicts(self._store.connection, list(asks))
        others = {k: self._under_way[k] for k in asks if k not in verdicts and k in self._under_way}
        mine = [key for key in asks if key not in verdicts and key not in others]
        if mine:
            verdicts.update(await self._ask(item, mine, [asks[key] for key in mine]))
        for key, future in others.items():
            verdicts[key] = await asyncio.shield(future)
        return verdicts

    async def _ask(self, item: Item, keys: list[Key], asks: list[Ask]) -> dict[Key, Verdict]:
        loop = asyncio.get_running_loop()
        futures = {key: loop.create_future() for key in keys}
        self._under_way.update(futures)
        try:
            verdicts = dict(zip(keys, await self._judge.judge(item, asks), strict=True))
            for key, verdict in verdicts.items():
                self._writer.put(records.PUT_VERDICT, records.verdict_row(key, self._key, verdict))
            for key, future in futures.items():
                future.set_result(verdicts[key])
            return verdicts
        finally:
            for key, future in futures.items():
                future.cancel()
                del self._under_way[key]


def _ask(trace: Trace, part: Part) -> Ask | None:
    """Return what to ask of a part; a part whose text is another part's shares its role."""
    text = trace.part(part)
    if text is None:
        return None
    for role in (Part.ANSWER, Part.REASONING):
        if text == trace.part(role):
            return Ask(role, text)
    return Ask(part, text)


def _first_error(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the error to tell: one of ours if there is one, else the first."""
    flat: list[BaseException] = []
    stack: list[BaseException] = [errors]
    while stack:
        error = stack.pop(0)
        if isinstance(error, BaseExceptionGroup):
            stack.extend(error.exceptions)
        else:
            flat.append(error)
    return next((error for error in flat if isinstance(error, SafeMLRMError)), flat[0])
