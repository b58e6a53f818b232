"""The driver: hands batches of a study to workers, and is the only one that writes to the store.

What is missing is read from the store batch by batch, a little ahead of the workers. A batch that
a lost worker had is handed to another one; nothing can come twice, since everything is stored by
content.
"""

from __future__ import annotations

import asyncio
import math
import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from opensafemlrm.cluster.batches import BATCH, BatchQueue, ModelProgress, WorkBatch, cut, quota
from opensafemlrm.cluster.worker import BatchResult, WorkerLostError
from opensafemlrm.engine.judge import raise_if_scoreless, watch_over
from opensafemlrm.engine.missing import MissingWork, missing_work, rounds
from opensafemlrm.engine.plan import CellPlan, Plan, Round
from opensafemlrm.engine.run import ModelCells, first_error, schedule
from opensafemlrm.engine.score_watch import ScoreWatch
from opensafemlrm.engine.stops import Stops
from opensafemlrm.engine.tally import Tally
from opensafemlrm.errors import ClusterError, JudgeStoppedError, ModelError
from opensafemlrm.files import make_folder
from opensafemlrm.images import from_bytes
from opensafemlrm.store import Store
from opensafemlrm.store.known import reopen
from opensafemlrm.store.tables import SAMPLE_TABLES, Rows
from opensafemlrm.store.writer import Writer

_MAX_TRIES: Final = 5
"""Workers that may be lost over one batch before it is taken for what kills them."""
_MAX_WAIT: Final = 300.0
"""Seconds to wait for a first worker, and for one after all were lost."""
_STOP_TIMEOUT: Final = 10.0


class WorkerHandle(Protocol):
    """A worker as the driver reaches it. All but ``ready`` raise WorkerLostError."""

    @property
    def number(self) -> int:
        """Its number among the workers, from 0."""
        ...

    async def ready(self) -> str:
        """Return the worker's name once there is one; another name after each loss."""
        ...

    async def run(self, cell: int, work: MissingWork) -> BatchResult:
        """Bring a batch of the plan's cell number ``cell`` up to date."""
        ...

    async def images(self, hashes: Sequence[tuple[str, str]]) -> list[bytes]:
        """Return images that prompts made there hold; nothing for one that it has not."""
        ...

    async def flush(self) -> int:
        """Write what is gathered to the sink; return how many parts are whole."""
        ...

    async def release(self, cell: int) -> None:
        """Free the model of a cell."""
        ...

    async def stop(self) -> BatchResult:
        """End what is under way and return what came of it."""
        ...


@dataclass(slots=True, eq=False)
class WorkerState:
    """One worker, and its batches that are not yet whole in the sink."""

    handle: WorkerHandle
    name: str = ""
    """The worker that is reached now; empty where there is none."""
    waiting: asyncio.Task[str] | None = None
    unwritten: dict[str, list[tuple[int, WorkBatch, Tally]]] = field(default_factory=dict)
    """By the worker's name: a batch's part of the sink, the batch, and how its samples ended."""


async def drive(
    plan: Plan, store: Store, handles: Sequence[WorkerHandle], *, to_sink: bool, logs: Path | None
) -> None:
    """Bring ``store``, or the sink that the workers write to, up to date with ``plan``.

    However it ends, what came is kept. Raises StoppedError as a run in one process does, and the
    first other SafeMLRMError; ClusterError where no worker can be had, or where one batch kills
    every worker it is given to.
    """
    driver = _Driver(plan, store, handles, to_sink, logs)
    try:
        await driver.run()
    except BaseExceptionGroup as errors:
        raise first_error(errors) from errors


class _Driver:
    def __init__(
        self,
        plan: Plan,
        store: Store,
        handles: Sequence[WorkerHandle],
        to_sink: bool,
        logs: Path | None,
    ) -> None:
        self._plan, self._store, self._to_sink, self._logs = plan, store, to_sink, logs
        self._workers = [WorkerState(handle) for handle in handles]
        self._writer = Writer(store.connection)
        self._batches = BatchQueue(2 * len(handles))
        self._numbers = {id(cell): number for number, cell in enumerate(plan.cells)}
        self._alone_since = time.monotonic()
        self._stops = Stops()
        self._watches: dict[str, ScoreWatch] = {}
        """Of the workers, and of what the store has, without a name."""

    async def run(self) -> None:
        """Hand out every batch, and return when all are stored."""
        self._plan.register(self._store)
        judge = self._plan.judge
        self._watches[""] = watch_over(judge, self._store, self._plan.judge_key)
        depth = self._depth()
        is_done = False
        try:
            async with asyncio.TaskGroup() as group:
                helpers = [
                    group.create_task(self._serve(worker))
                    for worker in self._workers
                    for _ in range(depth)
                ]
                helpers.append(group.create_task(self._give_up_without_workers()))
                for wanted in rounds(self._plan, self._store):
                    async with asyncio.TaskGroup() as lanes:
                        for models in schedule(self._plan):
                            lanes.create_task(self._feed(models, wanted))
                    self._writer.flush()
                for task in helpers:
                    task.cancel()
            is_done = not self._stops.models
        finally:
            try:
                await self._stop()
            finally:
                self._writer.flush()
                if not self._to_sink:
                    reopen(self._store, self._watch().unfinished())
                if not is_done and not self._to_sink:
                    self._plan.drop_unanswered(self._store)
        self._stops.raise_error()
        raise_if_scoreless(self._watch())

    def _depth(self) -> int:
        """Return how many batches keep all of a worker's requests busy."""
        first_cells = [models[0][0] for models in schedule(self._plan)]
        own = sum(cell.target.concurrency for cell in first_cells if cell.model.in_process)
        shared = sum(cell.target.concurrency for cell in first_cells if not cell.model.in_process)
        shared += self._plan.judge.concurrency
        return 1 + math.ceil((own + quota(shared, 0, len(self._workers))) / BATCH)

    # Feeding the queue.

    async def _feed(self, models: list[ModelCells], wanted: Round) -> None:
        """Read what is missing of models that take turns; go on when all of one is stored."""
        reader = self._store.reader()
        try:
            for cells in models:
                progress = ModelProgress()
                async for cell, work in self._missing(cells, reader, wanted):
                    if self._is_stopped(cell):
                        break
                    progress.left += 1
                    await self._batches.put(WorkBatch(progress, self._numbers[id(cell)], work))
                await self._until_stored(progress)
                if cells[0].model.in_process:
                    await self._release(self._numbers[id(cells[0])])
        finally:
            reader.close()

    async def _missing(
        self, cells: ModelCells, reader: sqlite3.Connection, wanted: Round
    ) -> AsyncIterator[tuple[CellPlan, MissingWork]]:
        chunks = missing_work(self._plan, cells, reader, wanted)
        while True:
            # The thread outlives its cancelled task: the connection is closed when it is done.
            step = asyncio.ensure_future(asyncio.to_thread(next, chunks, None))
            try:
                missing = await asyncio.shield(step)
            except asyncio.CancelledError:
                await asyncio.wait([step])
                raise
            if missing is None:
                return
            cell, work = missing
            work.count(cell.tally)
            for batch in cut(work):
                yield cell, batch

    async def _until_stored(self, progress: ModelProgress) -> None:
        while progress.left:
            progress.none_left.clear()
            try:
                timeout = 1.0 if self._to_sink else None
                await asyncio.wait_for(progress.none_left.wait(), timeout)
            except TimeoutError:
                if self._batches.is_empty:
                    await self._flush_sink()

    # Serving the workers.

    async def _serve(self, worker: WorkerState) -> None:
        while True:
            await self._reach(worker)
            batch = await self._batches.take()
            name = worker.name
            if not name:  # lost while this task waited for a batch: it was not tried
                await self._batches.put_back([batch])
                continue
            if self._is_stopped(self._plan.cells[batch.cell]):
                self._count(batch, Tally())
                continue
            try:
                result = await worker.handle.run(batch.cell, batch.work)
                await self._accept(worker, batch, result)
            except WorkerLostError as error:
                self._note_loss(worker, name, str(error))
                await self._try_again(batch, str(error))

    async def _reach(self, worker: WorkerState) -> None:
        """Return when there is a worker; several wait for one together."""
        if worker.name:
            return
        if worker.waiting is None:
            worker.waiting = asyncio.create_task(worker.handle.ready())
        waiting = worker.waiting
        name = await asyncio.shield(waiting)
        if worker.waiting is waiting:
            worker.name, worker.waiting = name, None
            self._log(worker, [f"worker {name} is ready"])
            for lost in [other for other in worker.unwritten if other != name]:
                await self._batches.put_back([b for _, b, _ in worker.unwritten.pop(lost)])

    def _note_loss(self, worker: WorkerState, name: str, why: str) -> None:
        """Note that the worker called ``name`` is gone; another one may be reached already."""
        self._log(worker, [f"worker lost: {why}"])
        if worker.name == name:
            worker.name = ""
        if not any(other.name for other in self._workers):
            self._alone_since = time.monotonic()

    async def _try_again(self, batch: WorkBatch, why: str) -> None:
        batch.tries += 1
        if batch.tries >= _MAX_TRIES:
            items = ", ".join(sorted({item.id for item, *_ in batch.work.to_generate})[:3])
            raise ClusterError(
                f"{batch.tries} workers were lost over the same samples of "
                f"{' · '.join(self._plan.cells[batch.cell].label)} (items {items}, …): {why}"
            )
        await self._batches.put_back([batch])

    async def _accept(self, worker: WorkerState, batch: WorkBatch, result: BatchResult) -> None:
        self._log(worker, result.log)
        if result.part is None:
            await self._write(worker.handle, result.rows)
            self._count(batch, result.tally)
        elif result.worker == worker.name:
            unwritten = worker.unwritten.setdefault(result.worker, [])
            unwritten.append((result.part, batch, result.tally))
            self._count_written(worker, result.worker, result.written)
        else:  # from a worker that was lost meanwhile: whether the part is whole, nobody can say
            await self._batches.put_back([batch])
        self._note_stops(self._plan.cells[batch.cell], result)
        if result.error is not None:
            raise ClusterError(result.error)

    def _note_stops(self, cell: CellPlan, result: BatchResult) -> None:
        """Note what a worker had to stop, and whether all workers together got a score."""
        if result.model_stopped is not None:
            self._stops.note(ModelError(result.model_stopped), cell.model.label)
        if result.judge_stopped is not None:
            self._stops.note(JudgeStoppedError(*result.judge_stopped), "")
        if result.watch is not None:
            self._watches[result.worker] = result.watch
            if problem := self._watch().problem():
                self._stops.note(problem, "")

    def _watch(self) -> ScoreWatch:
        """Return what the judge has given to all workers together."""
        total = ScoreWatch(self._plan.judge)
        for watch in self._watches.values():
            total.add(watch)
        return total

    def _is_stopped(self, cell: CellPlan) -> bool:
        return self._stops.ends_run or cell.model.label in self._stops.models

    async def _write(self, handle: WorkerHandle, rows: Rows) -> None:
        """Put a batch's images and rows into the store; images come only where it lacks them."""
        lacking = dict.fromkeys(
            (sha256, media_type)
            for sha256, media_type, *_ in rows.get("images", ())
            if not self._store.image_path(sha256, media_type).exists()
        )
        if lacking:
            for data in await handle.images(list(lacking)):
                if not data:
                    raise WorkerLostError("a worker was lost with images that it had made")
                self._store.put_image(from_bytes(data))
        for table in SAMPLE_TABLES:  # what others refer to comes first
            for values in rows.get(table.name, ()):
                self._writer.put((table.name, values))

    def _count(self, batch: WorkBatch, tally: Tally) -> None:
        self._plan.cells[batch.cell].tally.add(tally)
        batch.progress.left -= 1
        if not batch.progress.left:
            batch.progress.none_left.set()

    # The sink.

    def _count_written(self, worker: WorkerState, name: str, parts: int) -> None:
        """Count the batches whose part is whole in the sink now."""
        unwritten = worker.unwritten.get(name, [])
        worker.unwritten[name] = [entry for entry in unwritten if entry[0] >= parts]
        for part, batch, tally in unwritten:
            if part < parts:
                self._count(batch, tally)

    async def _flush_sink(self) -> None:
        """Write the rows that wait for more, so that the last parts become whole."""
        for worker in self._workers:
            name = worker.name
            if name and worker.unwritten.get(name):
                try:
                    self._count_written(worker, name, await worker.handle.flush())
                except WorkerLostError as error:
                    self._note_loss(worker, name, str(error))

    # Beginning and end.

    async def _give_up_without_workers(self) -> None:
        """Raise ClusterError where there has been no worker for long."""
        while True:
            await asyncio.sleep(1)
            if any(worker.name for worker in self._workers):
                self._alone_since = time.monotonic()
            elif time.monotonic() - self._alone_since > _MAX_WAIT:
                raise ClusterError(
                    f"the cluster gave no worker for {_MAX_WAIT:.0f} s: see whether it has as many "
                    "CPUs and GPUs free on one machine as --gpus-per-worker asks for"
                )

    async def _release(self, cell: int) -> None:
        """Free the model of a cell on every worker, to make room for the next one."""
        for worker in self._workers:
            if name := worker.name:
                try:
                    await worker.handle.release(cell)
                except WorkerLostError as error:
                    self._note_loss(worker, name, str(error))

    async def _stop(self) -> None:
        """Take what the workers have of batches under way; a worker that is gone has nothing."""
        for worker in self._workers:
            if worker.waiting is not None:
                worker.waiting.cancel()
        reached = [worker for worker in self._workers if worker.name]
        results = await asyncio.gather(*(_stopped(worker.handle) for worker in reached))
        for worker, result in zip(reached, results, strict=True):
            if result is not None:
                self._log(worker, result.log)
                try:
                    writing = self._write(worker.handle, result.rows)
                    await asyncio.wait_for(writing, _STOP_TIMEOUT)
                except (WorkerLostError, TimeoutError):
                    self._log(worker, ["lost while it stopped"])

    def _log(self, worker: WorkerState, lines: Sequence[str]) -> None:
        if self._logs is not None and lines:
            make_folder(self._logs)
            path = self._logs / f"worker-{worker.handle.number}.log"
            path.touch(mode=0o600)
            with path.open("a", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in lines)


async def _stopped(handle: WorkerHandle) -> BatchResult | None:
    try:
        return await asyncio.wait_for(handle.stop(), _STOP_TIMEOUT)
    except (WorkerLostError, TimeoutError):
        return None
