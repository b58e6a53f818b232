"""Which models run when, and how many samples at once.

Models behind a network run side by side; models whose weights fill this machine's memory run one
after the other. For each model, a thread looks up what is missing and applies the attacks, a little
ahead of a fixed number of tasks. Each task takes one sample at a time through all its steps: memory
holds only the samples in progress.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from opensafemlrm.components import ALL_DEVICES, Model
from opensafemlrm.engine.garbage import seldom_collected
from opensafemlrm.engine.image_limit import max_images
from opensafemlrm.engine.missing import MissingWork, missing_work
from opensafemlrm.engine.plan import CellPlan, Plan, Round
from opensafemlrm.engine.prepare import Sample, prepare
from opensafemlrm.engine.prompt_images import PromptImages
from opensafemlrm.engine.stops import Stops
from opensafemlrm.errors import SafeMLRMError
from opensafemlrm.store import Store

_AHEAD: Final = 2
"""Chunks of samples that are prepared before they are needed."""
Process = Callable[[Sample], Awaitable[None]]
"""Brings one sample up to date."""
ModelCells = list[CellPlan]
"""All cells of one model."""


async def run_models(
    plan: Plan, store: Store, images: PromptImages, process: Process, wanted: Round
) -> None:
    """Process every sample of the ``wanted`` items that the store lacks.

    Raises StoppedError or BudgetSpentError when the samples under way have ended, the first other
    SafeMLRMError at once.
    """
    lanes = _Lanes(plan, store, images, process, wanted)
    try:
        with seldom_collected():
            async with asyncio.TaskGroup() as group:
                for models in schedule(plan):
                    group.create_task(lanes.run(models))
    except BaseExceptionGroup as errors:
        raise first_error(errors) from errors
    lanes.stops.raise_error()


def schedule(plan: Plan) -> list[list[ModelCells]]:
    """Return the cells by model; the models of one list run one after the other.

    Models in this machine's memory share a list, so that each is loaded once and freed before the
    next. Those that each name a device of their own run side by side, unless one takes all devices.
    """
    by_model: dict[int, ModelCells] = {}
    for cell in plan.cells:
        by_model.setdefault(id(cell.model), []).append(cell)
    side_by_side = []
    by_device: dict[str, list[ModelCells]] = {}
    for cells in by_model.values():
        model = cells[0].model
        if model.in_process:
            by_device.setdefault(_device_of(model), []).append(cells)
        else:
            side_by_side.append([cells])
    if ALL_DEVICES in by_device:
        return [list(itertools.chain.from_iterable(by_device.values())), *side_by_side]
    return [*by_device.values(), *side_by_side]


def _device_of(model: Model) -> str:
    return "cuda:0" if model.device == "cuda" else model.device


class _Lanes:
    """Models side by side; what stops one of them leaves the others alone."""

    def __init__(
        self, plan: Plan, store: Store, images: PromptImages, process: Process, wanted: Round
    ) -> None:
        self._plan, self._store, self._images, self._process = plan, store, images, process
        self._wanted = wanted
        self._streams: list[_SampleStream] = []
        self.stops = Stops()

    async def run(self, models: list[ModelCells]) -> None:
        """Run models one after the other."""
        for cells in models:
            if self.stops.ends_run:
                return
            await _set_image_limit(cells)
            await self._run_model(cells)
            if cells[0].model.in_process:
                await cells[0].model.aclose()  # makes room for the next one

    async def _run_model(self, cells: ModelCells) -> None:
        reader = self._store.reader()
        missing = missing_work(self._plan, cells, reader, self._wanted)
        stream = _SampleStream(_samples(missing, self._images))
        self._streams.append(stream)

        async def work() -> None:
            while (sample := await stream.take()) is not None:
                try:
                    await self._process(sample)
                except SafeMLRMError as error:
                    self.stops.note(error, cells[0].model.label)
                    for drained in self._streams if self.stops.ends_run else [stream]:
                        drained.drain()

        # A task holds its sample through generation and judging, so that neither waits for the
        # other.
        tasks = cells[0].target.concurrency + self._plan.judge.concurrency
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(stream.feed())
                for _ in range(tasks):
                    group.create_task(work())
        finally:
            stream.stop()
            self._streams.remove(stream)
            reader.close()


async def _set_image_limit(cells: ModelCells) -> None:
    """Give a model that is started for the study the largest number of images in a prompt."""
    model = cells[0].model
    # To count, every dataset is read once more: not for a model that has no use for the number.
    method = getattr(model.set_image_limit, "__func__", None)
    if model.in_process and method is not Model.set_image_limit:
        model.set_image_limit(await asyncio.to_thread(max_images, cells))


def _samples(
    chunks: Iterator[tuple[CellPlan, MissingWork]], images: PromptImages
) -> Iterator[list[Sample]]:
    for cell, work in chunks:
        work.count(cell.tally)
        if samples := prepare(cell, images, work):
            yield samples


class _SampleStream:
    """Samples for the tasks of one model, prepared in a thread a little ahead of them."""

    def __init__(self, chunks: Iterator[list[Sample]]) -> None:
        self._chunks = chunks
        self._queue: asyncio.Queue[list[Sample] | None] = asyncio.Queue(_AHEAD)
        self._ready: deque[Sample] = deque()
        self._refilling = asyncio.Lock()
        self._ended = False
        self._preparing = threading.Lock()
        self._stopped = False

    async def feed(self) -> None:
        """Prepare chunks until there are no more."""
        while (chunk := await asyncio.to_thread(self._prepare)) is not None:
            await self._queue.put(chunk)
        await self._queue.put(None)

    async def take(self) -> Sample | None:
        """Return the next sample, or ``None`` when there are no more."""
        while not self._ready:
            async with self._refilling:
                if self._ready:
                    break
                if self._ended:
                    return None
                chunk = await self._queue.get()
                if chunk is None:
                    self._ended = True
                elif not self._stopped:
                    self._ready.extend(chunk)
        return self._ready.popleft()

    def drain(self) -> None:
        """Give out no more samples; those that are under way go on to their end."""
        self._stopped = True
        self._ready.clear()

    def stop(self) -> None:
        """Prepare no more. Waits for the chunk under way: a thread outlives its cancelled task,
        and to close the connection that it reads from would crash the process.
        """
        with self._preparing:
            self._stopped = True

    def _prepare(self) -> list[Sample] | None:
        with self._preparing:
            return None if self._stopped else next(self._chunks, None)


def first_error(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the error to raise in place of the group: one of ours if there is one."""
    ours = errors.subgroup(SafeMLRMError)
    first: BaseException = ours or errors
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first
