"""When to ask again, when everybody waits, and when to stop asking."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from opensafemlrm.models.clock import Clock

FIRST_WAIT: Final = 1.0
"""Seconds before the first retry; each further one waits twice as long, up to MAX_WAIT."""
MAX_WAIT: Final = 60.0
MAX_RETRY_AFTER: Final = 120.0
"""Most seconds that a server's Retry-After is obeyed for."""
REFUSED_FOR_LONG: Final = 600.0
"""Seconds of refused connections after which a server counts as down, however few they were."""
_SPREAD: Final = 0.25


def backoff(tries: int, jitter: float) -> float:
    """Return the seconds to wait after ``tries`` failed tries: doubled each time, half random."""
    wait = min(MAX_WAIT, FIRST_WAIT * 2.0 ** min(tries - 1, 16))
    return wait * (0.5 + 0.5 * jitter)


def retry_after(headers: Mapping[str, str], wall: float) -> float | None:
    """Return for how many seconds a server asks to be left alone, ``None`` where it does not.

    Reads ``Retry-After-Ms`` and ``Retry-After`` (seconds or an HTTP date); nonsense is ignored.
    """
    milliseconds = _number(headers.get("Retry-After-Ms"))
    if milliseconds is not None:
        return _bounded(milliseconds / 1000)
    text = headers.get("Retry-After")
    seconds = _number(text)
    if seconds is not None:
        return _bounded(seconds)
    if not text:
        return None
    try:
        date = parsedate_to_datetime(text)
        # A date whose zone is unknown is read without one; HTTP dates are in GMT.
        moment = date if date.tzinfo else date.replace(tzinfo=UTC)
        return _bounded(moment.timestamp() - wall)
    except (ValueError, OverflowError, OSError):
        return None


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return None if math.isnan(number) else number


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)


class Gate:
    """One door for all requests of a client: when the server says wait, everybody waits."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._shut_until = -math.inf
        self._spread = 0.0

    def shut(self, seconds: float) -> None:
        """Hold all requests for ``seconds``; a shorter wait does not open it sooner."""
        until = self._clock.now() + seconds
        if until > self._shut_until:
            self._shut_until, self._spread = until, seconds * _SPREAD

    @property
    def is_shut(self) -> bool:
        """Whether there is anything to wait for now."""
        return self._shut_until > self._clock.now()

    async def wait(self) -> None:
        """Return when the gate is open, spread over a moment to avoid a rush."""
        while (wait := self._shut_until - self._clock.now()) > 0:
            await self._clock.sleep(wait + self._spread * self._clock.jitter())


class Breaker:
    """Counts requests that failed in a row, over a whole client, to say when a server is down."""

    def __init__(self, limit: int, clock: Clock) -> None:
        self._limit, self._clock = limit, clock
        self.streak = 0
        self.last_error = ""
        self._since = 0.0
        self._refused_since: float | None = None

    def answered(self) -> None:
        """Note that the server replied."""
        if self.streak or self._refused_since is not None:
            self.streak, self._refused_since = 0, None

    def failed(self, error: str) -> None:
        """Note a request that failed after all its retries."""
        if self.streak == 0:
            self._since = self._clock.now()
        self.streak += 1
        self.last_error = error

    def refused(self, error: str) -> None:
        """Note a try for which no connection could be made."""
        self.last_error = error
        if self._refused_since is None:
            self._refused_since = self._clock.now()

    @property
    def down(self) -> bool:
        """Whether going on would only wait."""
        refused = self._refused_since
        long = refused is not None and self._clock.now() - refused > REFUSED_FOR_LONG
        return self.streak >= self._limit or long

    @property
    def seconds(self) -> float:
        """For how long nothing has succeeded."""
        starts = [self._since] if self.streak else []
        starts += [] if self._refused_since is None else [self._refused_since]
        return self._clock.now() - min(starts) if starts else 0.0
