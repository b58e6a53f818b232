"""Batches, the samples that go to a worker together, and the queue in which they wait."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from opensafemlrm.engine.missing import MissingWork

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
