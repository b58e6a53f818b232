"""The driver: hands pieces of a study to workers, and is the only one that writes to the store.

What is missing is read from the store piece by piece, a little ahead of the workers. A piece that
a lost worker had is handed to another one; nothing can come twice, since everything is stored by
content.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from opensafemlrm.cluster.quotas import share
from opensafemlrm.cluster.worker import Done, WorkerLostError
from opensafemlrm.engine.missing import MissingWork, missing_work
from opensafemlrm.engine.plan import CellPlan, Plan
from opensafemlrm.engine.run import first_error, schedule
from opensafemlrm.engine.tally import Tally
from opensafemlrm.errors import ClusterError
from opensafemlrm.images import from_bytes
from opensafemlrm.store import Store, Writer
from opensafemlrm.store.tables import SAMPLE_TABLES
from opensafemlrm.types import is_resident

PIECE: Final = 16
"""Samples that are handed over together: enough to make the handing over cheap, few enough for the
last pieces of a run to be shared out evenly."""
_MAX_TRIES: Final = 5
"""Workers that may be lost over one piece before it is taken for what kills them."""
_PATIENCE: Final = 300.0
"""Seconds to wait for a first worker, and for one after all were lost."""
_STOPPING: Final = 10.0


class WorkerHandle(Protocol):
    """A worker as the driver reaches it. All but ``ready`` raise WorkerLostError."""

    @property
    def number(self) -> int:
        """Its number among the workers, from 0."""
        ...

    async def ready(self) -> str:
        """Return which worker it is once there is one, again after each loss."""
        ...

    async def do(self, number: int, wanted: MissingWork) -> Done:
        """Have a piece of the cell ``number`` brought up to date."""
        ...

    async def images(self, hashes: Sequence[tuple[str, str]]) -> list[bytes]:
        """Return images that prompts made there hold; nothing for one that it has not."""
        ...

    async def flush(self) -> int:
        """Have what is gathered written to the sink; return how many parts are whole."""
        ...

    async def release(self, number: int) -> None:
        """Have the model of the cell ``number`` freed."""
        ...

    async def stop(self) -> Done:
        """End what is under way and return what came of it."""
        ...


@dataclass(slots=True, eq=False)
class _Lane:
    """The pieces of one model that are not stored yet."""

    left: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True, eq=False)
class _Piece:
    lane: _Lane
    number: int
    """Which of the plan's cells."""
    wanted: MissingWork
    tries: int = 0


@dataclass(slots=True, eq=False)
class WorkerState:
    """One hand, with what it has done that is not yet whole in the sink."""

    hand: WorkerHandle
    current: str = ""
    """The worker that it reaches now; empty where it waits for one."""
    waiting: asyncio.Task[str] | None = None
    unwritten: dict[str, list[tuple[int, _Piece, Tally]]] = field(default_factory=dict)
    """By worker: the part that a piece is in, the piece, and how it ended."""


async def drive(
    plan: Plan, store: Store, hands: Sequence[WorkerHandle], *, to_sink: bool, logs: Path | None
) -> None:
    """Bring ``store``, or the sink that the workers write to, up to date with ``plan``.

    However it ends, what came is kept. Raises the first SafeMLRMError; ClusterError where no worker
    can be had, or where one piece kills every worker it is given to.
    """
    driver = _Driver(plan, store, hands, to_sink, logs)
    try:
        await driver.run()
    except BaseExceptionGroup as errors:
        raise first_error(errors) from errors


class _Driver:
    def __init__(
        self,
        plan: Plan,
        store: Store,
        hands: Sequence[WorkerHandle],
        to_sink: bool,
        logs: Path | None,
    ) -> None:
        self._plan, self._store, self._to_sink, self._logs = plan, store, to_sink, logs
        self._crews = [WorkerState(hand) for hand in hands]
        self._writer = Writer(store.connection)
        self._pieces: asyncio.Queue[_Piece] = asyncio.Queue(2 * len(hands))
        self._again: deque[_Piece] = deque()
        self._more = asyncio.Condition()
        self._numbers = {id(cell): number for number, cell in enumerate(plan.cells)}
        self._alone_since = time.monotonic()

    async def run(self) -> None:
        """Hand out every piece, and return when all are stored."""
        self._plan.register(self._store)
        depth = self._depth()
        try:
            async with asyncio.TaskGroup() as group:
                serving = [
                    group.create_task(self._serve(crew))
                    for crew in self._crews
                    for _ in range(depth)
                ]
                watch = group.create_task(self._watch())
                async with asyncio.TaskGroup() as lanes:
                    for turns in schedule(self._plan):
                        lanes.create_task(self._feed(turns))
                for task in (*serving, watch):
                    task.cancel()
        finally:
            try:
                await self._stop()
            finally:
                self._writer.flush()

    def _depth(self) -> int:
        """Return how many pieces keep all of a worker's requests busy."""
        firsts = [turns[0][0] for turns in schedule(self._plan)]
        own = sum(cell.target.concurrency for cell in firsts if is_resident(cell.model))
        shared = sum(cell.target.concurrency for cell in firsts if not is_resident(cell.model))
        shared += self._plan.study.judge.concurrency
        return 1 + math.ceil((own + share(shared, 0, len(self._crews))) / PIECE)

    # Handing out.

    async def _feed(self, turns: list[list[CellPlan]]) -> None:
        reader = self._store.reader()
        try:
            for cells in turns:
                lane = _Lane()
                for cell in cells:
                    chunks = missing_work(self._plan, cell, reader)
                    async for piece in self._pieces_of(cell, lane, chunks):
                        lane.left += 1
                        await self._pieces.put(piece)
                        async with self._more:
                            self._more.notify()
                await self._until_stored(lane)
                if is_resident(cells[0].model):
                    await self._release(self._numbers[id(cells[0])])
        finally:
            reader.close()

    async def _pieces_of(
        self, cell: CellPlan, lane: _Lane, chunks: Iterator[MissingWork]
    ) -> AsyncIterator[_Piece]:
        while True:
            # The thread outlives its cancelled task: the connection is closed when it is done.
            step = asyncio.ensure_future(asyncio.to_thread(next, chunks, None))
            try:
                wanted = await asyncio.shield(step)
            except asyncio.CancelledError:
                await asyncio.wait([step])
                raise
            if wanted is None:
                return
            cell.tally.stored += wanted.stored
            for piece in _cut(wanted):
                yield _Piece(lane, self._numbers[id(cell)], piece)

    async def _until_stored(self, lane: _Lane) -> None:
        while lane.left:
            lane.idle.clear()
            try:
                await asyncio.wait_for(lane.idle.wait(), 1.0 if self._to_sink else None)
            except TimeoutError:
                if self._pieces.empty() and not self._again:
                    await self._write_out()

    async def _next_piece(self) -> _Piece:
        async with self._more:
            while not self._again and self._pieces.empty():
                await self._more.wait()
            return self._again.popleft() if self._again else self._pieces.get_nowait()

    # Having it done.

    async def _serve(self, crew: WorkerState) -> None:
        while True:
            await self._reach(crew)
            piece = await self._next_piece()
            try:
                done = await crew.hand.do(piece.number, piece.wanted)
                await self._take(crew, piece, done)
            except WorkerLostError as error:
                await self._lost(crew, piece, str(error))

    async def _reach(self, crew: WorkerState) -> None:
        """Return when there is a worker; several wait for one together."""
        if crew.current:
            return
        if crew.waiting is None:
            crew.waiting = asyncio.create_task(crew.hand.ready())
        waiting = crew.waiting
        name = await asyncio.shield(waiting)
        if crew.waiting is waiting:
            crew.current, crew.waiting = name, None
            self._note(crew, [f"worker {name} is ready"])
            for other in [worker for worker in crew.unwritten if worker != name]:
                await self._requeue([piece for _, piece, _ in crew.unwritten.pop(other)])

    async def _lost(self, crew: WorkerState, piece: _Piece | None, why: str) -> None:
        crew.current = ""
        self._note(crew, [f"worker lost: {why}"])
        if not any(other.current for other in self._crews):
            self._alone_since = time.monotonic()
        if piece is not None:
            piece.tries += 1
            if piece.tries >= _MAX_TRIES:
                items = ", ".join(sorted({one[0].id for one in piece.wanted.to_generate})[:3])
                raise ClusterError(
                    f"{piece.tries} workers were lost over the same samples of "
                    f"{' · '.join(self._plan.cells[piece.number].label)} (items {items}, …): {why}"
                )
            await self._requeue([piece])

    async def _requeue(self, pieces: list[_Piece]) -> None:
        self._again.extend(pieces)
        async with self._more:
            self._more.notify_all()

    async def _take(self, crew: WorkerState, piece: _Piece, done: Done) -> None:
        self._note(crew, done.log)
        if done.part is None:
            await self._keep(crew.hand, done)
            self._count(piece, done.tally)
        elif done.worker == crew.current:
            pending = crew.unwritten.setdefault(done.worker, [])
            pending.append((done.part, piece, done.tally))
            self._settle(crew, done.worker, done.written)
        else:  # from a worker that was lost meanwhile: whether the part is whole, nobody can say
            await self._requeue([piece])
        if done.error is not None:
            raise ClusterError(done.error)

    async def _keep(self, hand: WorkerHandle, done: Done) -> None:
        """Put a piece's images and rows into the store; images come only where it lacks them."""
        lacking = [
            (row[0], row[1])
            for row in done.rows.get("images", ())
            if not self._store.image_path(row[0], row[1]).exists()
        ]
        if lacking:
            lacking = list(dict.fromkeys(lacking))
            for data in await hand.images(lacking):
                if not data:
                    raise WorkerLostError("a worker was lost with images that it had made")
                self._store.put_image(from_bytes(data))
        for table in SAMPLE_TABLES:  # what others stand on comes first
            for values in done.rows.get(table.name, ()):
                self._writer.put((table.name, values))

    def _count(self, piece: _Piece, tally: Tally) -> None:
        self._plan.cells[piece.number].tally.add(tally)
        piece.lane.left -= 1
        if not piece.lane.left:
            piece.lane.idle.set()

    # The sink.

    def _settle(self, crew: WorkerState, worker: str, written: int) -> None:
        """Count what is whole in the sink now."""
        pending = crew.unwritten.get(worker, [])
        crew.unwritten[worker] = [one for one in pending if one[0] >= written]
        for part, piece, tally in pending:
            if part < written:
                self._count(piece, tally)

    async def _write_out(self) -> None:
        """Have everything written that waits for company, so that the last parts become whole."""
        for crew in self._crews:
            worker = crew.current
            if worker and crew.unwritten.get(worker):
                try:
                    self._settle(crew, worker, await crew.hand.flush())
                except WorkerLostError as error:
                    await self._lost(crew, None, str(error))

    # Beginning and end.

    async def _watch(self) -> None:
        """Give up where there has been no worker for long."""
        while True:
            await asyncio.sleep(1)
            if any(crew.current for crew in self._crews):
                self._alone_since = time.monotonic()
            elif time.monotonic() - self._alone_since > _PATIENCE:
                raise ClusterError(
                    f"the cluster gave no worker for {_PATIENCE:.0f} s: see whether it has as many "
                    "CPUs and GPUs free on one machine as --gpus-per-worker asks for"
                )

    async def _release(self, number: int) -> None:
        """Have the model of a cell freed everywhere, to make room for the next one."""
        for crew in self._crews:
            if crew.current:
                try:
                    await crew.hand.release(number)
                except WorkerLostError as error:
                    await self._lost(crew, None, str(error))

    async def _stop(self) -> None:
        """Take what the workers have of pieces under way; a worker that is gone has nothing."""
        for crew in self._crews:
            if crew.waiting is not None:
                crew.waiting.cancel()
        reached = [crew for crew in self._crews if crew.current]
        ends = await asyncio.gather(*(_ended(crew.hand) for crew in reached))
        for crew, done in zip(reached, ends, strict=True):
            if done is not None:
                self._note(crew, done.log)
                try:
                    await asyncio.wait_for(self._keep(crew.hand, done), _STOPPING)
                except (WorkerLostError, TimeoutError):
                    self._note(crew, ["lost while it stopped"])

    def _note(self, crew: WorkerState, lines: Sequence[str]) -> None:
        if self._logs is not None and lines:
            self._logs.mkdir(parents=True, exist_ok=True)
            with (self._logs / f"worker-{crew.hand.number}.log").open(
                "a", encoding="utf-8"
            ) as file:
                file.writelines(f"{line}\n" for line in lines)


async def _ended(hand: WorkerHandle) -> Done | None:
    try:
        return await asyncio.wait_for(hand.stop(), _STOPPING)
    except (WorkerLostError, TimeoutError):
        return None


def _cut(wanted: MissingWork) -> Iterator[MissingWork]:
    """Cut a chunk into pieces."""
    for start in range(0, len(wanted.to_generate), PIECE):
        yield MissingWork(wanted.to_generate[start : start + PIECE], [])
    for start in range(0, len(wanted.to_judge), PIECE):
        yield MissingWork([], wanted.to_judge[start : start + PIECE])
