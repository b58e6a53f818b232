"""Bring a store up to date: generate what is missing, judge what is unjudged, nothing else.

Each model has a lane; models whose weights lie on this machine take turns. In a lane, a thread
reads the dataset, applies the attack and asks the store; a fixed number of workers send, split,
judge and write. Nothing is held but what the workers are at.
"""

from __future__ import annotations

import asyncio
import dataclasses
import sqlite3
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

from opensafemlrm import reasoning
from opensafemlrm.engine.forecast import most_images
from opensafemlrm.engine.judge import Judging
from opensafemlrm.engine.plan import CellPlan, Job, Plan, sampling_for
from opensafemlrm.engine.prompt_images import PromptImages
from opensafemlrm.engine.search import Searching
from opensafemlrm.errors import BudgetSpentError, DefenseError, SafeMLRMError
from opensafemlrm.store import Store, Writer, records
from opensafemlrm.types import Prompt, Response, ResponseStatus, Trace, is_resident

_AHEAD: Final = 2
"""Chunks that are prepared before they are needed."""


async def run(plan: Plan, store: Store) -> None:
    """Run ``plan``; progress is in the tallies of its cells.

    However it ends (done, an error, a cancelled task), every reply and verdict that came is
    committed. Raises the first SafeMLRMError, such as EndpointDownError or StoreError. A budget
    that is spent ends it too, but cancels nobody: what was paid for is first brought to the store.
    """
    plan.register(store)
    writer = Writer(store.connection)
    judging = Judging(plan.study.judge, plan.judge_key, store, writer)
    try:
        async with asyncio.TaskGroup() as group:
            lanes = [
                group.create_task(_run_sequentially(plan, turns, store, writer, judging))
                for turns in plan.turns()
            ]
        spent = next((found for lane in lanes if (found := lane.result()) is not None), None)
        if spent is not None:
            raise spent
    except BaseExceptionGroup as errors:
        raise first_error(errors) from errors
    finally:
        try:
            writer.flush()
        finally:
            await _close(plan)


async def _close(plan: Plan) -> None:
    study = plan.study
    for component in (*study.models, *study.attacks, *study.defenses, study.judge):
        await close_all(component)


async def close_all(component: Any) -> None:
    """Close a component, or the models and judges that it was given."""
    if hasattr(component, "aclose"):
        await component.aclose()
    elif isinstance(component, tuple):
        for one in component:
            await close_all(one)
    elif dataclasses.is_dataclass(component):
        for field in dataclasses.fields(component):
            await close_all(getattr(component, field.name))


async def _run_sequentially(
    plan: Plan, turns: list[list[CellPlan]], store: Store, writer: Writer, judging: Judging
) -> BudgetSpentError | None:
    for cells in turns:
        await set_image_limit(cells)
        spent = await _run_model(plan, cells, store, writer, judging)
        if is_resident(cells[0].model):
            await cells[0].model.aclose()  # makes room for the next one
        if spent is not None:
            return spent
    return None


async def set_image_limit(cells: list[CellPlan]) -> None:
    """Tell a model that is started for the study how many images a prompt has at most."""
    prepare = getattr(cells[0].model, "prepare", None)
    if prepare is not None and is_resident(cells[0].model):
        prepare(await asyncio.to_thread(most_images, cells))


async def _run_model(
    plan: Plan, cells: list[CellPlan], store: Store, writer: Writer, judging: Judging
) -> BudgetSpentError | None:
    reader = store.reader()
    pictures = PromptImages(store)
    searching = Searching(plan.study.judge, pictures)
    stream = _Stream(_chain(plan, cells, pictures, reader))
    # A worker holds its sample through generation and judging, so that neither waits for the other.
    workers = cells[0].target.concurrency + plan.study.judge.concurrency
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(stream.feed())
            for _ in range(workers):
                group.create_task(_work(stream, writer, searching, judging))
    finally:
        stream.stop()
        reader.close()
    return stream.spent


def _chain(
    plan: Plan, cells: list[CellPlan], pictures: PromptImages, reader: sqlite3.Connection
) -> Iterator[list[Job]]:
    for cell in cells:
        yield from plan.jobs(cell, pictures, reader)


class _Stream:
    """Jobs for the workers of a lane, prepared in a thread a little ahead of them."""

    def __init__(self, chunks: Iterator[list[Job]]) -> None:
        self._chunks = chunks
        self._queue: asyncio.Queue[list[Job] | None] = asyncio.Queue(_AHEAD)
        self._ready: deque[Job] = deque()
        self._refilling = asyncio.Lock()
        self._ended = False
        self._preparing = threading.Lock()
        self._stopped = False
        self.spent: BudgetSpentError | None = None
        """Why there are no more jobs, where a budget is spent."""

    async def feed(self) -> None:
        """Prepare chunks until there are no more."""
        while (chunk := await asyncio.to_thread(self._prepare)) is not None:
            await self._queue.put(chunk)
        await self._queue.put(None)

    def stop(self) -> None:
        """Prepare no more. Waits for the chunk under way: a thread outlives its cancelled task,
        and to close the connection that it reads from would crash the process.
        """
        with self._preparing:
            self._stopped = True

    def drain(self, spent: BudgetSpentError) -> None:
        """Give out no more jobs; those that are under way go on to their end."""
        self.spent = spent
        self._stopped = True
        self._ready.clear()

    def _prepare(self) -> list[Job] | None:
        with self._preparing:
            return None if self._stopped else next(self._chunks, None)

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
                elif self.spent is None:
                    self._ready.extend(chunk)
        return self._ready.popleft()


async def _work(stream: _Stream, writer: Writer, searching: Searching, judging: Judging) -> None:
    while (job := await stream.take()) is not None:
        try:
            await process_sample(job, writer, searching, judging)
        except BudgetSpentError as spent:
            stream.drain(spent)


async def process_sample(job: Job, writer: Writer, searching: Searching, judging: Judging) -> None:
    """Bring one sample up to date: search, send, split, judge and write what it lacks."""
    tally = job.cell.tally
    if job.to_search:
        await searching.search(job)
    response: Response | None = None
    trace = None
    if job.prompt is not None:
        response, trace = await _generate(job, job.prompt, writer)
    elif job.response is not None:
        response, trace = _split_again(job, job.response, writer)
    if response is None:
        _write(writer, job.rows)
        tally.inapplicable += 1
        tally.note(job.inapplicable)
    elif response.status is ResponseStatus.OK and trace is not None:
        tally.ok += 1
        unscored = await judging.judge(job, trace)  # others count while this one waits
        tally.unscored += unscored
        tally.judged += 1
    elif response.status is ResponseStatus.TRUNCATED:
        tally.truncated += 1
    elif response.status is ResponseStatus.BLOCKED:
        tally.blocked += 1
    else:
        tally.failed += 1
        tally.note(f"{response.code}: {response.detail}")


def _write(writer: Writer, rows: list[tuple[str, tuple[Any, ...]]]) -> None:
    for statement, row in rows:
        writer.put(statement, row)


async def _generate(
    job: Job, prompt: Prompt, writer: Writer
) -> tuple[Response | None, Trace | None]:
    cell = job.cell
    try:
        response = _storable(await cell.target.generate(prompt, sampling_for(cell, job.slot)))
    except DefenseError as error:
        job.give_up(str(error))
        return None, None
    trace = splitter = None
    if response.status in (ResponseStatus.OK, ResponseStatus.TRUNCATED):
        trace = reasoning.split(response, cell.target.reasoning_format)
        splitter = cell.splitter
    rows = [*job.rows]
    for step, call in enumerate((*job.calls, *response.calls)):
        rows.append((records.PUT_CALL, records.call_row(job.slot.key, step, call)))
    row = records.generation_row(job.slot, response, trace, splitter)
    _write(writer, [*rows, (records.PUT_GENERATION, row)])
    await writer.saved()
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


def first_error(errors: BaseExceptionGroup[BaseException]) -> BaseException:
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
