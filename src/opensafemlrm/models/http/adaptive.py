"""How many requests run at once, found out while they run.

Additive increase, multiplicative decrease (as congestion control has it since D. Chiu and R. Jain,
"Analysis of the increase and decrease algorithms for congestion avoidance in computer networks",
1989), over rounds of as many replies as may run at once:

- throughput grew by at least half of what the number did since the best round before: more
  requests; twice as many until the first back-off, a step (a sixteenth of the maximum, at most a
  quarter of the number) from then on;
- the server turns a request away (429, 503, 529) or leaves it unanswered: half as many, once for
  all the requests that were under way, and steps lead back to just below what was too many;
- replies take half as long again as in the best round, and throughput did not grow: a quarter less,
  and again until throughput falls by it, which is then taken back; later rounds are compared with
  what is seen now;
- otherwise the number stays; after some such rounds one step more is tried, and taken back if it
  brings nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType
from typing import Final

from opensafemlrm.models.clock import Clock
from opensafemlrm.models.http.error_words import UNFINISHED
from opensafemlrm.types import Response, ResponseStatus

INITIAL_SIZE: Final = 4
"""Requests at once in the first round."""
_MIN_A_ROUND: Final = 8
"""Replies below which a change of throughput may be chance."""
_LEAST_GROWTH: Final = 0.05
_SHARE: Final = 0.5
_SLOWER: Final = 1.5
_STEPS: Final = 16
"""Steps from nothing to the maximum."""
_PATIENCE: Final = 8
"""Rounds at one number until one step more is tried."""
_OVERLOAD: Final = frozenset({"http_429", "http_503", "http_529", "timeout", UNFINISHED})


class Slots:
    """A semaphore of one event loop: ``size`` requests at once, the others in their turn.

    asyncio's looks at each end of a request through all those whose turn has just come.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def __aenter__(self) -> int:
        if self._waiting or self._in_flight >= self.size:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if not turn.cancelled():  # its turn had come, and is the next one's now
                    self._in_flight -= 1
                    self._let_in()
                raise
        else:
            self._in_flight += 1
        return 0

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._in_flight -= 1
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting and self._in_flight < self.size:
            turn = self._waiting.popleft()
            if not turn.done():
                self._in_flight += 1
                turn.set_result(None)


class Window(Slots):
    """Slots whose number follows what the server can take, from 1 to ``max_size``.

    Entering it gives a number that :meth:`note` wants back with the outcome.
    """

    def __init__(self, max_size: int, clock: Clock) -> None:
        super().__init__(min(INITIAL_SIZE, max_size))
        self._max_size, self._clock = max_size, clock
        self._age = 0
        """How often the size was cut: what began before a cut does not cut again."""
        self._doubling = True
        self._before_probe: int | None = None
        self._before_cut: int | None = None
        self._held = 0
        self._too_many = 2 * max_size
        """The size at which a request was last rejected."""
        self._best_size, self._best_rate, self._best_latency = 1, 0.0, 0.0
        self._start = clock.now()
        self._replies, self._seconds, self._full = 0, 0.0, False

    async def __aenter__(self) -> int:
        await super().__aenter__()
        self._full = self._full or self._in_flight >= self.size
        return self._age

    def note(self, age: int, response: Response) -> None:
        """Note how a request ended that entered at ``age``."""
        if response.status is not ResponseStatus.FAILED:
            self._replies += 1
            self._seconds += response.latency
            if self._replies >= max(self.size, _MIN_A_ROUND):
                self._end_round()
        elif response.code in _OVERLOAD and age == self._age:
            # The next full round is the best one of the smaller size, so that growth begins anew.
            self._best_rate = 0.0
            self._too_many = self.size
            self._cut(self.size // 2)

    def _begin_round(self) -> None:
        self._start = self._clock.now()
        self._replies, self._seconds, self._full = 0, 0.0, False

    def _end_round(self) -> None:
        elapsed = self._clock.now() - self._start
        rate = self._replies / elapsed if elapsed > 0 else 0.0
        latency = self._seconds / self._replies
        # A round that did not use all that it might says nothing of the size.
        if self._full and rate:
            self._judge(rate, latency)
        self._begin_round()

    def _judge(self, rate: float, latency: float) -> None:
        step = max(1, min(self._max_size // _STEPS, self.size // 4))
        if self.size + step >= self._too_many:
            step = 1
        before, self._before_probe = self._before_probe, None
        larger, self._before_cut = self._before_cut, None
        slower = latency >= self._best_latency * _SLOWER
        recovering = self.size + step < self._too_many <= self._max_size and not slower
        if rate >= self._best_rate * (1 + self._needed_growth()) or recovering:
            self._remember(rate, latency)
            self._held = 0
            self._resize(2 * self.size if self._doubling else self.size + step)
        elif larger is not None and rate < self._best_rate * (1 - _LEAST_GROWTH):
            self._resize(larger)
        elif larger is not None or slower:
            size = self.size
            self._remember(rate, latency)
            self._cut(size * 3 // 4)
            self._before_cut = size if size > 1 else None
        elif before is not None:
            # Nothing was rejected at one step more: the server may take more than it did.
            self._too_many += step
            self._resize(before)
        else:
            self._held += 1
            if self._held >= _PATIENCE:
                self._held, self._before_probe = 0, self.size
                self._resize(self.size + step)

    def _needed_growth(self) -> float:
        return max(_LEAST_GROWTH, _SHARE * (self.size / self._best_size - 1))

    def _remember(self, rate: float, latency: float) -> None:
        self._best_size, self._best_rate, self._best_latency = self.size, rate, latency

    def _cut(self, size: int) -> None:
        self._age += 1
        self._doubling, self._held = False, 0
        self._before_probe = self._before_cut = None
        self._resize(size)
        self._begin_round()

    def _resize(self, size: int) -> None:
        self.size = min(max(size, 1), self._max_size)
        self._let_in()
