"""How work is shared out: batches of samples, and a quota of every endpoint's ``concurrency``.

Batches wait in a queue. The quotas add up to what the study says: a server never gets more requests
at once than it would from one process, even if a worker, the driver or the network between them
fails. A counter that all workers share would need a message before each request. Models in a
worker's own memory are not shared.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from opensafemlrm.components import Model, models_in
from opensafemlrm.engine.missing import MissingWork
from opensafemlrm.study import Study

BATCH: Final = 16
"""Samples that are handed over together: enough to make the handing over cheap, few enough for the
last batches of a run to be shared out evenly."""


@dataclass(slots=True, eq=False)
class ModelProgress:
    """How many batches of one model are not stored yet."""

    left: int = 0
    none_left: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True, eq=False)
class WorkBatch:
    """What one worker is asked to do at a time."""

    progress: ModelProgress
    cell: int
    """Which of the plan's cells."""
    work: MissingWork
    tries: int = 0


class BatchQueue:
    """Batches for the workers: a few new ones, and before them those that a lost worker had."""

    def __init__(self, room: int) -> None:
        self._new: asyncio.Queue[WorkBatch] = asyncio.Queue(room)
        self._again: deque[WorkBatch] = deque()
        self._more = asyncio.Condition()

    @property
    def is_empty(self) -> bool:
        """Whether no batch waits."""
        return self._new.empty() and not self._again

    async def put(self, batch: WorkBatch) -> None:
        """Add a new batch; wait while there are enough."""
        await self._new.put(batch)
        async with self._more:
            self._more.notify()

    async def put_back(self, batches: Iterable[WorkBatch]) -> None:
        """Add batches that have to be handed out again."""
        self._again.extend(batches)
        async with self._more:
            self._more.notify_all()

    async def take(self) -> WorkBatch:
        """Return the next batch; wait for one."""
        async with self._more:
            await self._more.wait_for(lambda: not self.is_empty)
            return self._again.popleft() if self._again else self._new.get_nowait()


def cut(work: MissingWork) -> Iterator[MissingWork]:
    """Cut what was read together into what is handed over together."""
    for start in range(0, len(work.to_generate), BATCH):
        yield MissingWork(work.to_generate[start : start + BATCH], [])
    for start in range(0, len(work.to_judge), BATCH):
        yield MissingWork([], work.to_judge[start : start + BATCH])


def quota(total: int, number: int, workers: int) -> int:
    """Return how many of ``total`` requests at once the worker ``number``, from 0, may make."""
    return total // workers + (number < total % workers)


def max_workers(study: Study) -> int | None:
    """Return how many workers can have a quota of every endpoint; ``None`` for any number."""
    models = (model for component in study.components for model in models_in(component))
    limits = [model.concurrency for model in models if _is_shared(model)]
    return min(limits, default=None)


def with_quotas(study: Study, number: int, workers: int) -> Study:
    """Return ``study`` with one worker's quota of every model that is behind a network."""

    def limited(model: Model) -> Model:
        if not _is_shared(model):
            return model
        shared: Any = model  # a dataclass that has the field
        own: Model = replace(shared, concurrency=quota(model.concurrency, number, workers))
        return own

    return study.map_models(limited)


def _is_shared(model: Model) -> bool:
    """Whether all workers send requests to it, and ``concurrency`` is an option of it."""
    return not model.in_process and any(
        option.name == "concurrency" and option.init
        for option in fields(model)  # type: ignore[arg-type] # models are
    )
