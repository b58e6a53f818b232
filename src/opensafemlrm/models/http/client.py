"""The connection to one server: sends, retries, respects rate limits, and gives up in good time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from yarl import URL

from opensafemlrm.errors import EndpointDownError, ModelError
from opensafemlrm.models.clock import Clock
from opensafemlrm.models.http.adaptive import Window
from opensafemlrm.models.http.codec import Codec
from opensafemlrm.models.http.endpoint import Endpoint
from opensafemlrm.models.http.replies import Reader, Timing
from opensafemlrm.models.http.retry import Breaker, Gate, backoff, retry_after
from opensafemlrm.models.http.transport import (
    MAX_REPLY_BYTES,
    ConnectError,
    Timeouts,
    Transport,
    TransportError,
)
from opensafemlrm.types import Response, ResponseStatus

_HOPELESS: Final = frozenset(
    {"http_401", "http_402", "http_407", "insufficient_quota", "certificate"}
)
"""Failures after which no further request can succeed."""
_HOPELESS_AT_FIRST: Final = frozenset({"http_403", "http_404", "http_405"})
"""The same, unless a request has succeeded: then they are about that one request."""
_NOT_THE_API: Final = frozenset({"redirect", "bad_shape", "no_message"})
"""Replies that are about the server, not about the request: many in a row mean it is the wrong one,
though asking one of them again changes nothing."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many requests run at once, how long each may take, and how often it is retried."""

    concurrency: int
    timeout: float
    max_retries: int
    give_up_after: int
    adaptive: bool = False
    """Whether ``concurrency`` is only the most: how many requests the server takes is found out."""


@dataclass(frozen=True, slots=True)
class _LoopState:
    """What belongs to one event loop."""

    transport: Transport
    slots: asyncio.Semaphore | Window


class _Outcome(NamedTuple):
    response: Response
    wait: float | None = None
    """Seconds that the server asks everybody to wait."""
    refused: bool = False


class Client:
    """Sends bodies to an endpoint and returns how each ended. Usable from any event loop."""

    def __init__(self, endpoint: Endpoint, limits: Limits, clock: Clock, codec: Codec) -> None:
        self._endpoint, self._limits, self._clock = endpoint, limits, clock
        self._reader = Reader(codec, *endpoint.secrets())
        self._gate = Gate(clock)
        self._breaker = Breaker(limits.give_up_after, clock)
        self._answers = 0
        self._turned_down = 0
        self._loops: dict[asyncio.AbstractEventLoop, _LoopState] = {}

    async def ask(self, body: bytes, max_tokens: int) -> Response:
        """Send ``body``, with retries, and return how it ended.

        Raises ModelError where no further request can succeed, and EndpointDownError where the
        server has stopped answering.
        """
        left, tries, answers = self._limits.max_retries, 0, self._answers
        while True:
            if self._gate.is_shut:
                await self._gate.wait()
            if tries:
                self._raise_if_down()
            outcome = await self._try(body, max_tokens, tries)
            response = outcome.response
            if not self._wants_retry(outcome):
                return response
            tries += 1
            if response.code == "http_429" and answers != self._answers:
                # Others are being served, so this request only waits for its turn.
                answers = self._answers
            elif left and not self._breaker.down:
                left -= 1
            else:
                return self._gave_up(response)
            if not outcome.wait:
                await self._clock.sleep(backoff(tries, self._clock.jitter()))

    async def aclose(self) -> None:
        """Close the connections of this event loop. May be called twice."""
        state = self._loops.pop(asyncio.get_running_loop(), None)
        if state is not None:
            await state.transport.aclose()

    def _wants_retry(self, outcome: _Outcome) -> bool:
        """Note how a try ended, and say whether it is worth another. Raises ModelError."""
        response = outcome.response
        if response.status is not ResponseStatus.FAILED:
            self._answers += 1
            self._breaker.answered()
            return False
        code = response.code
        if code in _HOPELESS or (code in _HOPELESS_AT_FIRST and not self._answers):
            raise ModelError(_hopeless(self._endpoint, response))
        if outcome.wait is not None:
            self._gate.shut(outcome.wait)
        if outcome.refused:
            self._breaker.refused(f"{code}: {response.detail}")
        if code in _NOT_THE_API:
            self._gave_up(response)
        elif not response.transient:
            self._breaker.answered()
            self._note_turned_down(response)
        return response.transient

    def _note_turned_down(self, response: Response) -> None:
        self._turned_down += 1
        if not self._answers and self._turned_down >= self._limits.give_up_after:
            raise ModelError(
                f"{self._endpoint.label}: {self._endpoint.address} rejected all of the first "
                f"{self._turned_down} requests: check whether it takes images and the options "
                f"set. The server's error ({response.code}): {response.detail}"
            )

    def _gave_up(self, response: Response) -> Response:
        self._breaker.failed(f"{response.code}: {response.detail}")
        if response.code == "connection" and not self._answers:
            # Nobody was ever there: a wrong port, or a server not started. Say so at once.
            raise self._down_error()
        self._raise_if_down()
        return response

    def _raise_if_down(self) -> None:
        if self._breaker.down:
            raise self._down_error()

    def _down_error(self) -> EndpointDownError:
        breaker = self._breaker
        state = "has stopped answering" if self._answers else "does not answer"
        return EndpointDownError(
            f"{self._endpoint.label}: {self._endpoint.address} {state}: nothing succeeded for "
            f"{breaker.seconds:.0f} s, requests that failed in a row after their retries: "
            f"{breaker.streak}. Last error: {breaker.last_error}. "
            "Check that the server runs, then run again: finished work is kept"
        )

    async def _try(self, body: bytes, max_tokens: int, tries: int) -> _Outcome:
        state = self._loops.get(asyncio.get_running_loop()) or self._open()
        slots = state.slots
        if isinstance(slots, Window):
            async with slots as age:
                outcome = await self._send(state.transport, body, max_tokens, tries)
                slots.note(age, outcome.response)
            return outcome
        async with slots:
            return await self._send(state.transport, body, max_tokens, tries)

    async def _send(
        self, transport: Transport, body: bytes, max_tokens: int, tries: int
    ) -> _Outcome:
        loop = asyncio.get_running_loop()
        start = loop.time()
        try:
            reply = await transport.request("POST", self._endpoint.url, body)
        except TransportError as error:
            detail = self._reader.clip(str(error))
            timing = Timing(loop.time() - start, tries)
            response = _failed(error.code, detail, timing, transient=error.transient)
            return _Outcome(response, refused=isinstance(error, ConnectError))
        timing = Timing(loop.time() - start, tries)
        if reply.body is None:
            return _Outcome(_failed("too_large", f"over {MAX_REPLY_BYTES:,} bytes", timing))
        if reply.status == 200:
            return _Outcome(self._reader.reply(reply.body, max_tokens, timing))
        if 300 <= reply.status < 400:
            return _Outcome(_failed("redirect", self._redirect(reply.headers), timing))
        response = self._reader.error(reply.status, reply.body, timing)
        wait = retry_after(reply.headers, self._clock.wall()) if response.transient else None
        return _Outcome(response, wait)

    def _redirect(self, headers: Mapping[str, str]) -> str:
        try:
            host = URL(headers.get("Location", "")).host or "another path"
        except ValueError:
            host = "an unreadable address"
        return self._reader.clip(
            f"the server redirects to {host}; keys do not follow redirects: set base_url to the "
            "address that answers"
        )

    def _open(self) -> _LoopState:
        limits = self._limits
        transport = self._endpoint.open(Timeouts(total=limits.timeout))
        slots = (
            Window(limits.concurrency, self._clock)
            if limits.adaptive
            else asyncio.Semaphore(limits.concurrency)
        )
        state = self._loops[asyncio.get_running_loop()] = _LoopState(transport, slots)
        return state


def _failed(code: str, detail: str, timing: Timing, *, transient: bool = False) -> Response:
    return Response(
        ResponseStatus.FAILED,
        code=code,
        detail=detail,
        transient=transient,
        latency=timing.latency,
        retries=timing.retries,
    )


def _hopeless(endpoint: Endpoint, response: Response) -> str:
    todo = {
        "http_401": f"the key in {endpoint.key_env} is missing or wrong",
        "http_402": "the account has no credit left",
        "http_403": f"the key in {endpoint.key_env} may not use this model",
        "http_404": "the server does not have this model, or base_url is wrong (it mostly ends "
        "in /v1); GET /v1/models lists what there is",
        "http_405": "base_url is wrong; it mostly ends in /v1",
        "http_407": "the proxy wants a user and a password: set HTTPS_PROXY (or HTTP_PROXY, "
        "ALL_PROXY) to http://USER:PASSWORD@HOST:PORT",
        "insufficient_quota": "the account's quota is used up",
        "certificate": "the server's certificate cannot be trusted",
    }
    code = response.code or ""
    return (
        f"{endpoint.label} cannot be used at {endpoint.address}: {todo[code]}. "
        f"The server's error ({code}): {response.detail}"
    )
