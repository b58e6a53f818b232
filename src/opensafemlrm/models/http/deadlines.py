"""When the requests to a server are to end."""

from __future__ import annotations

import asyncio

from aiohttp.helpers import TimerContext


class Deadlines:
    """Ends requests that take too long: one timer for all, as each of their own costs CPU time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._open: dict[TimerContext, float] = {}
        """When those under way are to end, the first to end first."""
        self._next: asyncio.TimerHandle | None = None

    def start(self) -> TimerContext:
        """Return a context for a request that begins now; its block raises TimeoutError."""
        loop = asyncio.get_running_loop()
        timer = TimerContext(loop)
        self._open[timer] = when = loop.time() + self._seconds
        self._next = self._next or loop.call_at(when, self._look, loop)
        return timer

    def end(self, timer: TimerContext) -> None:
        """Forget a request that has ended."""
        del self._open[timer]

    def close(self) -> None:
        """Stop the timer."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._next = None
        for timer, when in self._open.items():
            if when > loop.time():
                self._next = loop.call_at(when, self._look, loop)
                return
            timer.timeout()
