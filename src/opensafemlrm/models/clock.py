"""Where time and chance come from, so that tests need no real waiting."""

from __future__ import annotations

import asyncio
import time
from random import SystemRandom


class Clock:
    """The system's time and chance; a test puts a clock of its own in its place."""

    def __init__(self) -> None:
        self._random = SystemRandom()

    def now(self) -> float:
        """Return seconds that only ever grow."""
        return time.monotonic()

    def wall(self) -> float:
        """Return seconds since 1970, for HTTP dates."""
        return time.time()

    def jitter(self) -> float:
        """Return a random number from 0 up to 1."""
        return self._random.random()

    async def sleep(self, seconds: float) -> None:
        """Wait, letting other tasks run."""
        await asyncio.sleep(seconds)
