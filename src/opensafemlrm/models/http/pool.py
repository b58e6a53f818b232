"""The servers of one model: each request goes to the one with the least under way.

A server that cannot be reached, that fails again and again, or that asks to be left alone, rests;
its requests go to the others. After its rest it gets one request, and its share once it answers.
What went to others because a server was out is counted: see :class:`Outage`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from opensafemlrm.models.billing import failed_try
from opensafemlrm.models.clock import Clock
from opensafemlrm.models.http.endpoint import Endpoint
from opensafemlrm.models.http.retry import retry_after
from opensafemlrm.models.http.transport import (
    ConnectError,
    Reply,
    Timeouts,
    Transport,
    TransportError,
)

FIRST_REST: Final = 5.0
"""Seconds that a server rests for at first; each further rest is twice as long, up to MAX_REST."""
MAX_REST: Final = 60.0
MAX_FAILURES: Final = 3
"""Requests in a row that a server may fail before it rests."""
_TURNED_AWAY: Final = (429, 503)


@dataclass(slots=True)
class Outage:
    """What a client knows of the times at which one of its servers did not answer."""

    times: int = 0
    first: float = 0.0
    """When the first began, and when the last ended, by the wall clock."""
    ended: float | None = None
    elsewhere: int = 0
    """Requests that other servers took meanwhile."""
    error: str = ""

    def words(self, address: str) -> str:
        """Return a sentence on it."""
        first = _hour(self.first)
        when = f"has not answered since {first}"
        if self.ended is not None:
            when = f"did not answer from {first} to {_hour(self.ended)}"
        if self.times > 1:
            still = "is out now" if self.ended is None else f"answers since {_hour(self.ended)}"
            when = f"was out {self.times:,} times since {first}, and {still}"
        went = "request went" if self.elsewhere == 1 else "requests went"
        return f"{address} {when}: {self.elsewhere:,} {went} to other servers ({self.error})"


def _hour(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).strftime("%H:%M:%S UTC")


@dataclass(slots=True, eq=False)
class _Member:
    endpoint: Endpoint
    transport: Transport
    outage: Outage
    under_way: int = 0
    failures: int = 0
    """Requests that failed in a row."""
    rests: int = 0
    """Rests since it last answered."""
    rests_until: float = -math.inf


class Pool:
    """Connections to the servers of one model, of one event loop."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        timeouts: Timeouts,
        clock: Clock,
        outages: Sequence[Outage],
    ) -> None:
        """Note in ``outages``, one a server, when it is out.

        Raises ModelError for a proxy that cannot be used, or that would see a key.
        """
        self._members = [
            _Member(server, server.open(timeouts), outage)
            for server, outage in zip(endpoints, outages, strict=True)
        ]
        self._clock = clock

    async def post(self, body: bytes) -> Reply:
        """Send ``body``. Raises TransportError where no server can be reached, or one broke off.

        What no server has begun to answer is sent to the next one at once.
        """
        left = list(self._members)
        while True:
            member = self._next(left)
            left.remove(member)
            member.under_way += 1
            try:
                reply = await member.transport.request("POST", member.endpoint.url, body)
            except ConnectError as error:
                self._rest(member, str(error))
                if not left:
                    raise
                continue
            except TransportError as error:
                self._failed(member, str(error))
                raise
            finally:
                member.under_way -= 1
            wait = self._wait(reply.status, reply.headers)
            if wait is not None and any(map(self._is_ready, left)):
                member.rests_until = self._clock.now() + wait
                failed_try(f"http_{reply.status}")  # it may be billed, though another answers
                continue
            if reply.status >= 500:
                self._failed(member, f"it answers with errors alone, the last {reply.status}")
            else:
                self._answered(member)
            return reply

    async def aclose(self) -> None:
        """Close all connections."""
        for member in self._members:
            await member.transport.aclose()

    def _next(self, members: Sequence[_Member]) -> _Member:
        """Return the server to ask: of those that are ready, the one with the least under way."""
        if len(members) == 1:
            return members[0]
        ready = [member for member in members if self._is_ready(member)]
        if ready:
            return min(ready, key=lambda member: member.under_way)
        return min(members, key=lambda member: member.rests_until)

    def _is_ready(self, member: _Member) -> bool:
        """Whether it may be asked: after a rest it answers one request before it gets more."""
        rested = member.rests_until <= self._clock.now()
        return rested and not (member.rests and member.under_way)

    def _wait(self, status: int, headers: Mapping[str, str]) -> float | None:
        """Return for how long a server wants to be left alone, ``None`` where it does not."""
        return retry_after(headers, self._clock.wall()) if status in _TURNED_AWAY else None

    def _answered(self, member: _Member) -> None:
        if member.rests:
            member.outage.ended = self._clock.wall()
        member.failures = member.rests = 0
        for other in self._members:
            other.outage.elsewhere += bool(other.rests)

    def _failed(self, member: _Member, error: str) -> None:
        member.failures += 1
        if member.failures >= MAX_FAILURES:
            self._rest(member, error)

    def _rest(self, member: _Member, error: str) -> None:
        if self._is_ready(member) or not member.rests:
            outage = member.outage
            if not member.rests:
                outage.times += 1
                outage.first = outage.first or self._clock.wall()
            outage.ended, outage.error = None, error
            rest = min(MAX_REST, FIRST_REST * 2.0**member.rests)
            member.rests_until = self._clock.now() + rest
            member.rests += 1
