"""When to ask again, when everybody waits, and when to stop asking."""

from __future__ import annotations

import math
from collections import deque
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
_RECENT: Final = 8
"""Requests by which it is told whether a rate limit is everybody's."""
_NO_CHANCE: Final = 0.001
"""Probability below which it is no chance that one request is turned away and others are not."""


def backoff(tries: int, jitter: float) -> float:
    """Return the seconds to wait after ``tries`` failed tries: doubled each time, half random."""
    wait = min(MAX_WAIT, FIRST_WAIT * 2.0 ** min(tries - 1, 16))
    return wait * (0.5 + 0.5 * jitter)


def spread(seconds: float, jitter: float) -> float:
    """Return a wait that a server asked for, a little longer at random, to avoid a rush."""
    return seconds * (1 + _SPREAD * jitter)


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


class Queue:
    """Who was served and who was turned away: whether a rate limit is everybody's or one request's.

    A request that is turned away again and again, while nearly all others are served, is turned
    away on its own account: it has a budget of its own, and nobody waits for it.
    """

    def __init__(self) -> None:
        self.served = 0
        self.turned_away = 0
        self._recent: deque[object] = deque(maxlen=_RECENT)
        """Who was turned away of late; ``None`` for one that was served."""

    def serve(self) -> None:
        """Note a request that was answered."""
        self.served += 1
        self._recent.append(None)

    def turn_away(self, place: Place) -> bool:
        """Note a request that is to wait, and say whether all others should wait with it.

        That is where several were turned away of late, and not fewer than were served.
        """
        self.turned_away += 1
        place.turned_away += 1
        self._recent.append(place)
        waiting = [one for one in self._recent if one is not None]
        everybody = len(set(map(id, waiting))) > 1 and 2 * len(waiting) >= len(self._recent)
        if everybody:
            self._recent.clear()
        return everybody


class Place:
    """The place of one request in a :class:`Queue`."""

    def __init__(self, queue: Queue, max_retries: int) -> None:
        self._queue, self._max_retries = queue, max_retries
        self._served, self._others = queue.served, queue.turned_away
        self._served_before = queue.served
        self.turned_away = 0

    @property
    def moves(self) -> bool:
        """Whether others were served since it was last turned away: then it waits for its turn."""
        before, self._served_before = self._served_before, self._queue.served
        return before != self._queue.served and not self.is_left_out

    @property
    def is_left_out(self) -> bool:
        """Whether so many rejections in a row are no chance, by how the others fared."""
        served = self._queue.served - self._served
        away = self._queue.turned_away - self._others - self.turned_away
        if self.turned_away <= self._max_retries or not served:
            return False
        return (away / (served + away)) ** self.turned_away < _NO_CHANCE


class Breaker:
    """Counts requests that failed in a row, over a whole client, to say when a server is down."""

    def __init__(self, limit: int, clock: Clock) -> None:
        self._limit, self._clock = limit, clock
        self._next_check = limit
        self.streak = 0
        self.last_error = ""
        self.given_up = False
        self._since = 0.0
        self._refused_since: float | None = None

    def answered(self) -> None:
        """Note that the server answered a request."""
        if self.streak or self._refused_since is not None or self.given_up:
            self.streak, self._refused_since, self.given_up = 0, None, False
            self._next_check = self._limit

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

    def checked(self) -> None:
        """Note that the server answers other requests: what fails is about what is asked."""
        self._next_check = self.streak + self._limit

    @property
    def is_long(self) -> bool:
        """Whether so many failed in a row that one try each is enough."""
        return self.streak >= self._limit

    @property
    def is_due(self) -> bool:
        """Whether it has to be found out if the server is there at all."""
        return self.streak >= self._next_check

    @property
    def down(self) -> bool:
        """Whether going on would only wait."""
        refused = self._refused_since
        long = refused is not None and self._clock.now() - refused > REFUSED_FOR_LONG
        return self.given_up or long

    @property
    def seconds(self) -> float:
        """For how long nothing has succeeded."""
        starts = [self._since] if self.streak else []
        starts += [] if self._refused_since is None else [self._refused_since]
        return self._clock.now() - min(starts) if starts else 0.0
