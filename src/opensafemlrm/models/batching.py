"""Requests that come one by one, run in batches: what in-process models need.

It knows nothing of tensors: it is given a function that runs a batch, and does the waiting, the
sorting and the halving. All of it belongs to one event loop; the function runs in one thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

_Q = TypeVar("_Q")
_R = TypeVar("_R")

_LINGER: Final = 0.01
"""Seconds that the first request waits for others: they come together, as workers start."""


class TooLargeError(Exception):
    """A batch did not fit into memory."""


@dataclass(frozen=True, slots=True)
class Job(Generic[_Q]):
    """A request, and what decides with which others it may run."""

    request: _Q
    size: int
    """Tokens, about; a batch costs the size of its largest request for each of them."""
    group: Hashable = None
    """Only requests of one group run together."""


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[_Q, _R]):
    job: Job[_Q]
    result: asyncio.Future[_R]


class Batcher(Generic[_Q, _R]):
    """Runs requests in batches of at most ``max_batch`` requests and about ``budget`` tokens.

    What waits is sorted by size, so that little is padded. A batch that does not fit into memory is
    halved and run again, and no later one is larger than what fitted; a single request that does
    not fit raises TooLargeError to its own caller.
    """

    def __init__(
        self, run: Callable[[list[_Q]], Sequence[_R]], max_batch: int, budget: int
    ) -> None:
        self._run, self.max_batch, self._budget = run, max_batch, budget
        self._waiting: list[_Waiting[_Q, _R]] = []
        self._came = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._task = asyncio.create_task(self._work())

    async def ask(self, job: Job[_Q]) -> _R:
        """Return what came of one request."""
        if self._task.done():
            raise RuntimeError("this batcher is closed")
        waiting: _Waiting[_Q, _R] = _Waiting(job, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._came.set()
        return await waiting.result

    async def aclose(self) -> None:
        """Drop what waits, and return when the batch that runs has ended."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        for waiting in self._waiting:
            waiting.result.cancel()
        self._waiting.clear()
        await asyncio.to_thread(self._thread.shutdown)

    async def _work(self) -> None:
        while True:
            await self._came.wait()
            await asyncio.sleep(_LINGER)
            self._came.clear()
            window, self._waiting = self._waiting, []
            try:
                for batch in self._cut(window):
                    await self._settle(batch)
            except asyncio.CancelledError:
                for waiting in window:
                    waiting.result.cancel()
                raise

    def _cut(self, window: list[_Waiting[_Q, _R]]) -> list[list[_Waiting[_Q, _R]]]:
        """Cut what waits into batches, the largest requests first: too large ones show early."""
        groups: dict[Hashable, list[_Waiting[_Q, _R]]] = {}
        for waiting in window:
            groups.setdefault(waiting.job.group, []).append(waiting)
        batches = []
        for group in groups.values():
            group.sort(key=lambda waiting: -waiting.job.size)
            while group:
                fits = max(1, self._budget // max(1, group[0].job.size))
                count = min(self.max_batch, fits)
                batches.append(group[:count])
                del group[:count]
        return batches

    async def _settle(self, batch: list[_Waiting[_Q, _R]]) -> None:
        """Run a batch, in parts where it must be, and give every request its result."""
        parts = [batch[i : i + self.max_batch] for i in range(0, len(batch), self.max_batch)]
        while parts:
            part = [waiting for waiting in parts.pop(0) if not waiting.result.done()]
            if not part:
                continue
            try:
                requests = [waiting.job.request for waiting in part]
                loop = asyncio.get_running_loop()
                results = await loop.run_in_executor(self._thread, self._run, requests)
            except TooLargeError as error:
                half = len(part) // 2
                if half:
                    self.max_batch = min(self.max_batch, half)
                    parts[:0] = [part[i : i + half] for i in range(0, len(part), half)]
                else:
                    _raise_to(part, error)
                continue
            except Exception as error:  # noqa: BLE001 # the callers raise it
                _raise_to(part, error)
                continue
            for waiting, result in zip(part, results, strict=True):
                if not waiting.result.done():
                    waiting.result.set_result(result)


def _raise_to(part: list[_Waiting[_Q, _R]], error: Exception) -> None:
    for waiting in part:
        if not waiting.result.done():
            waiting.result.set_exception(error)
