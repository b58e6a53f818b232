"""The connection to one server: sends, retries, waits when told to, and gives up in good time."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote, unquote_plus
from urllib.request import getproxies, proxy_bypass

from yarl import URL

from opensafemlrm.errors import EndpointDownError, ModelError
from opensafemlrm.models.http.adaptive import Window
from opensafemlrm.models.http.replies import Reader, Timing
from opensafemlrm.models.http.retry import Breaker, Clock, Gate, backoff, retry_after
from opensafemlrm.models.http.wire import BadHTTPError, UnreachableError, Wire, WireError
from opensafemlrm.types import Response, ResponseStatus

if TYPE_CHECKING:
    from opensafemlrm.models.http.proxied import Proxied

MAX_REPLY_BYTES: Final = 32 * 1024 * 1024
_KEY_NAMES: Final = re.compile("key|token|code|secret|sig|auth|pass", re.IGNORECASE)
"""Names of query parameters that hold keys."""
_SHORTEST_KEY: Final = 8
"""Characters from which on a key cannot be a word of a model's own."""
_SHORTEST_VALUE: Final = 4
"""Characters from which on any value of a query is struck out of messages: shorter ones, such as
the version in ``?v=4``, stand in codes such as ``http_404``, and are no secret."""
_HOPELESS: Final = frozenset({"http_401", "http_402", "insufficient_quota", "certificate"})
"""Failures after which no further request can succeed."""
_HOPELESS_AT_FIRST: Final = frozenset({"http_403", "http_404", "http_405"})
"""The same, unless a request has succeeded: then they are about that one request."""
_NOT_THE_API: Final = frozenset({"redirect", "bad_shape", "no_message"})
"""Replies that are about the server, not about the request: many in a row mean it is the wrong one,
though asking one of them again changes nothing."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where requests go."""

    url: URL
    key: str | None = field(repr=False)
    what: str
    """The model, as tables call it."""
    key_env: str
    key_header: str = "Authorization"
    """Where the key goes: as a bearer token, or alone in a header of the vendor's own."""
    headers: tuple[tuple[str, str], ...] = ()
    """More headers of every request."""

    @property
    def shown(self) -> str:
        """The address without credentials or query."""
        return str(self.url.with_user(None).with_query(None))


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is asked at once, for how long, and how often again."""

    concurrency: int
    timeout: float
    max_retries: int
    give_up_after: int
    adaptive: bool = False
    """Whether ``concurrency`` is only the most, and how much is asked at once is found out."""


@dataclass(frozen=True, slots=True)
class _Line:
    """What belongs to one event loop."""

    wire: Wire | Proxied
    slots: asyncio.Semaphore | Window


class _Outcome(NamedTuple):
    response: Response
    wait: float | None = None
    """Seconds that the server asks everybody to wait."""
    refused: bool = False


class Client:
    """Sends bodies to an endpoint and gives back how each ended. Usable from any event loop."""

    def __init__(
        self, endpoint: Endpoint, limits: Limits, clock: Clock, reader: type[Reader] = Reader
    ) -> None:
        self._endpoint, self._limits, self._clock = endpoint, limits, clock
        self._reader = reader(*secrets(endpoint))
        self._gate = Gate(clock)
        self._breaker = Breaker(limits.give_up_after, clock)
        self._answers = 0
        self._turned_down = 0
        self._lines: dict[asyncio.AbstractEventLoop, _Line] = {}

    async def ask(self, body: Sequence[bytes], max_tokens: int) -> Response:
        """Send ``body``, given in pieces, until it is answered or has failed for good.

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
        line = self._lines.pop(asyncio.get_running_loop(), None)
        if line is not None:
            await line.wire.aclose()

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
                f"{self._endpoint.what}: {self._endpoint.shown} turned down every one of the first "
                f"{self._turned_down} requests; see whether it takes images and the options set. "
                f"The server said ({response.code}): {response.detail}"
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
            f"{self._endpoint.what}: {self._endpoint.shown} {state}: nothing succeeded for "
            f"{breaker.seconds:.0f} s, requests that failed in a row after their retries: "
            f"{breaker.streak}. Last error: {breaker.last_error}. "
            "See whether the server runs, then run again: what is done is kept"
        )

    async def _try(self, body: Sequence[bytes], max_tokens: int, tries: int) -> _Outcome:
        loop = asyncio.get_running_loop()
        line = self._lines.get(loop) or self._open_line(loop)
        slots = line.slots
        if isinstance(slots, Window):
            async with slots as age:
                outcome = await self._send(line.wire, body, max_tokens, tries)
                slots.note(age, outcome.response)
            return outcome
        await slots.acquire()
        try:
            return await self._send(line.wire, body, max_tokens, tries)
        finally:
            slots.release()

    async def _send(
        self, wire: Wire | Proxied, body: Sequence[bytes], max_tokens: int, tries: int
    ) -> _Outcome:
        loop = asyncio.get_running_loop()
        start = loop.time()
        try:
            reply = await wire.post(*body)
        except (WireError, OSError) as error:
            return self._broken(error, Timing(loop.time() - start, tries))
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

    def _broken(self, error: WireError | OSError, timing: Timing) -> _Outcome:
        if isinstance(error, TimeoutError):
            said = f"no reply within {self._limits.timeout:g} s"
            return _Outcome(_failed("timeout", said, timing, transient=True))
        said = self._reader.clip(str(error))
        if isinstance(error, ssl.SSLCertVerificationError):
            return _Outcome(_failed("certificate", said, timing))
        if isinstance(error, UnreachableError):
            failed = _failed("connection", said, timing, transient=True)
            return _Outcome(failed, refused=True)
        code = "bad_http" if isinstance(error, BadHTTPError) else "disconnected"
        return _Outcome(_failed(code, said, timing, transient=True))

    def _redirect(self, headers: Mapping[str, str]) -> str:
        try:
            host = URL(headers.get("Location", "")).host or "another path"
        except ValueError:
            host = "an unreadable address"
        return self._reader.clip(
            f"the server redirects to {host}; keys do not follow redirects: set base_url to the "
            "address that answers"
        )

    def _open_line(self, loop: asyncio.AbstractEventLoop) -> _Line:
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            # Replies are small, and a compressed one could unfold to anything.
            "Accept-Encoding": "identity",
            "User-Agent": "opensafemlrm",
            **dict(self._endpoint.headers),
        }
        if key := self._endpoint.key:
            header = self._endpoint.key_header
            headers[header] = f"Bearer {key}" if header == "Authorization" else key
        url, limits = self._endpoint.url, self._limits
        proxy = proxy_for(url)
        if proxy is None:
            wire: Wire | Proxied = Wire(url, headers, limits.timeout, MAX_REPLY_BYTES)
        else:
            from opensafemlrm.models.http.proxied import Proxied  # noqa: PLC0415 # few need it

            wire = Proxied(url, headers, limits.timeout, MAX_REPLY_BYTES, proxy)
        most = limits.concurrency
        slots = Window(most, self._clock) if limits.adaptive else asyncio.Semaphore(most)
        line = self._lines[loop] = _Line(wire, slots)
        return line


def proxy_for(url: URL) -> str | None:
    """Return the proxy that the environment names for ``url`` (HTTPS_PROXY, NO_PROXY)."""
    if is_loopback(url) or proxy_bypass(url.host or ""):
        return None
    proxy = getproxies().get(url.scheme, "")
    return proxy if proxy.startswith(("http://", "https://")) else None


def is_loopback(url: URL) -> bool:
    """Return whether ``url`` stays on this machine."""
    host = url.host or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def secrets(endpoint: Endpoint) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what is struck out of messages, and what is struck out of the model's text too.

    In messages, the key and every value of the address's query that could be a secret, in each form
    in which a server may repeat it. In text, only what is a key by its name and its length: values
    such as a version, or the key EMPTY that local servers are given, stand in innocent text as
    well.
    """
    values: set[str] = set()
    keys = {endpoint.key} if endpoint.key else set()
    for part in re.split("[&;]", endpoint.url.raw_query_string):
        name, _, value = part.partition("=")
        if _KEY_NAMES.search(name):
            keys.update((value, unquote(value), unquote_plus(value)))
        elif len(value) >= _SHORTEST_VALUE:
            values.update((value, unquote(value), unquote_plus(value)))
    # The longest first, so that no piece of a longer one is left.
    found = sorted({*keys, *values} - {""}, key=len, reverse=True)
    long = (key for key in found if key in keys and len(key) >= _SHORTEST_KEY)
    return tuple(found), tuple(long)


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
        "insufficient_quota": "the account's quota is used up",
        "certificate": "the server's certificate cannot be trusted",
    }
    code = response.code or ""
    return (
        f"{endpoint.what} cannot be used at {endpoint.shown}: {todo[code]}. "
        f"The server said ({code}): {response.detail}"
    )
