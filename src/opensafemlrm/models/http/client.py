"""The connection to a model: sends, retries, respects rate limits, and gives up in good time."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, TypeAlias

from yarl import URL

from opensafemlrm.errors import EndpointDownError, ModelError
from opensafemlrm.models.billing import failed_try
from opensafemlrm.models.clock import Clock
from opensafemlrm.models.http.adaptive import Slots, Window
from opensafemlrm.models.http.codec import Codec
from opensafemlrm.models.http.endpoint import Endpoint, secrets_of
from opensafemlrm.models.http.error_words import (
    ACCOUNT,
    FORBIDDEN,
    INVALID_KEY,
    MODEL_NOT_FOUND,
    NO_CREDIT,
    NOT_AT_ONCE,
    STOPPING,
    STOPPING_AT_FIRST,
    UNFINISHED,
    WRONG_ADDRESS,
    is_of_world,
)
from opensafemlrm.models.http.pool import Outage, Pool
from opensafemlrm.models.http.replies import Reader, Timing
from opensafemlrm.models.http.retry import (
    Breaker,
    Gate,
    Place,
    Queue,
    backoff,
    retry_after,
    spread,
)
from opensafemlrm.models.http.transport import (
    MAX_REPLY_BYTES,
    ConnectError,
    Timeouts,
    TransportError,
)
from opensafemlrm.types import Response, ResponseStatus


@dataclass(frozen=True, slots=True)
class Limits:
    """How many requests run at once, how long each may take, and how often it is retried."""

    concurrency: int
    timeout: float
    max_retries: int
    give_up_after: int
    adaptive: bool = False
    """Whether ``concurrency`` is only the most: how many requests the server takes is found out."""


_NOT_MODIFIED: Final = 304
_PROBE_RETRIES: Final = 2
"""Retries of a probe that tells whose fault one failure was; after many in a row it has none."""


class Probe(NamedTuple):
    """A short harmless request of the same form as another one: what a server that is well answers.

    Of two forms with other roles or numbers of images, a server may take one and not the other.
    """

    form: Hashable
    body: Callable[[], bytes]


Revise: TypeAlias = Callable[[Sequence[str]], bytes | None]
"""Makes a body without a parameter that was refused; ``None`` if the request cannot do without."""


@dataclass(frozen=True, slots=True)
class _LoopState:
    """What belongs to one event loop."""

    pool: Pool
    slots: Slots
    probing: asyncio.Lock


@dataclass(slots=True)
class _Form:
    """The last requests of a form that told whether the server takes it, by their numbers."""

    answered: int = 0
    doubted: int = 0


class _Outcome(NamedTuple):
    response: Response
    wait: float | None = None
    """Seconds that the server asks to be left alone."""
    refused: bool = False
    number: int = 0
    """Which request of the client's it was."""


class Client:
    """Sends bodies to an endpoint, or to several that serve the same model, and returns how each
    ended. Usable from any event loop.

    No failure is final by its code alone. A request that was turned down may be asked again later,
    unless the server answers others of its form, and the error has no word of the account, the
    server or the model: a server that is down, has another model or no credit looks like that too.
    ``give_up_after`` failures in a row, and a probe that fails as well, end the run of this model;
    where the probe is answered, the requests are to blame.
    """

    def __init__(
        self, endpoints: Sequence[Endpoint], limits: Limits, clock: Clock, codec: Codec
    ) -> None:
        self._endpoints, self._limits, self._clock = tuple(endpoints), limits, clock
        self._reader = Reader(codec, *secrets_of(endpoints))
        self._gate = Gate(clock)
        self._queue = Queue()
        self._breaker = Breaker(limits.give_up_after, clock)
        self._sent = 0
        self._forms: defaultdict[Hashable, _Form] = defaultdict(_Form)
        self._loops: dict[asyncio.AbstractEventLoop, _LoopState] = {}
        self._outages = [Outage() for _ in endpoints]

    async def ask(self, body: bytes, max_tokens: int, probe: Probe, revise: Revise) -> Response:
        """Send ``body``, with retries, and return how it ended.

        Where the server names a parameter that it does not take, ``revise`` may give another body.

        Raises ModelError where no further request can succeed, and EndpointDownError where the
        server has stopped answering.
        """
        tries, left = 0, self._limits.max_retries
        place = Place(self._queue, left)
        while True:
            if self._gate.is_shut:
                await self._gate.wait()
            if tries:
                self._raise_if_down()
            outcome = await self._try(body, max_tokens, probe.form, tries)
            response = outcome.response
            if response.status is not ResponseStatus.FAILED:
                self._queue.serve()
                self._breaker.answered()
                return response
            revised = revise(response.refused) if response.refused else None
            if revised is not None:
                body = revised
                continue
            self._note(outcome, place)
            may_retry = failed_try(response.code or "")
            if not response.transient or response.code in NOT_AT_ONCE:
                return await self._settle(response, max_tokens, probe)
            if not may_retry:
                return replace(response, transient=True)  # there is no money for another try
            if not (response.code == "http_429" and place.moves):
                if not left or place.is_left_out or self._breaker.down or self._breaker.is_long:
                    return await self._settle(response, max_tokens, probe)
                left -= 1
            tries += 1
            jitter = self._clock.jitter()
            wait = outcome.wait
            await self._clock.sleep(spread(wait, jitter) if wait else backoff(tries, jitter))

    def outages(self) -> list[str]:
        """Return a sentence for each of several servers that was out while others answered."""
        seen = zip(self._endpoints, self._outages, strict=True)
        return [
            self._reader.clip(f"{server.label}: {outage.words(server.address)}")
            for server, outage in seen
            if outage.elsewhere
        ]

    async def aclose(self) -> None:
        """Close the connections of this event loop. May be called twice."""
        state = self._loops.pop(asyncio.get_running_loop(), None)
        if state is not None:
            await state.pool.aclose()

    def _note(self, outcome: _Outcome, place: Place) -> None:
        """Note how a try failed. Raises ModelError where it ends all others."""
        response, at_first = outcome.response, not self._queue.served
        code, passes = response.code, response.transient and response.code not in NOT_AT_ONCE
        stops_at_first = code in ACCOUNT or (code in STOPPING_AT_FIRST and not passes)
        if code in STOPPING or (at_first and stops_at_first):
            raise ModelError(_hopeless(self._endpoints, response))
        if passes and (outcome.wait is not None or code == "http_429"):
            everybody = self._queue.turn_away(place)
            if everybody and outcome.wait is not None:
                self._gate.shut(outcome.wait)
        if outcome.refused:
            self._breaker.refused(f"{code}: {response.detail}")

    async def _settle(self, response: Response, max_tokens: int, probe: Probe) -> Response:
        """Return a failure, final where it is the request's own. Raises ModelError."""
        breaker, at_first = self._breaker, not self._queue.served
        breaker.failed(f"{response.code}: {response.detail}")
        if breaker.down or (response.code == "connection" and at_first):
            # Nobody was ever there: a wrong port, or a server not started. Say so at once.
            raise self._down_error()
        code, is_due = response.code, breaker.is_due
        turned_down = not response.transient or (code in NOT_AT_ONCE and code != UNFINISHED)
        hopeless = code in ACCOUNT or (at_first and turned_down and code == FORBIDDEN)
        own = not response.transient and not at_first and not _is_of_world(response)
        if is_due or own or hopeless:
            is_well = await self._answers(max_tokens, probe, again=is_due)
            if hopeless and not is_well:
                raise ModelError(_hopeless(self._endpoints, response))
            if is_due and not is_well:
                raise self._rejected_all(response) if turned_down and at_first else self._give_up()
            if is_due:
                breaker.checked()
            own = own and is_well
        return response if own else replace(response, transient=True)

    async def _answers(self, max_tokens: int, probe: Probe, *, again: bool = True) -> bool:
        """Whether the server answers requests of this form now.

        Another request that was sent since says so as well as a probe; where a probe failed, and
        nothing was answered since, a new one is only sent ``again`` if that is asked for.
        """
        form, before = self._forms[probe.form], self._sent
        async with self._loop_state().probing:
            if form.answered > before or form.doubted > before:
                return form.answered > form.doubted
            if self._breaker.given_up or (form.doubted > form.answered and not again):
                return False
            tries, left = 0, 0 if again else min(self._limits.max_retries, _PROBE_RETRIES)
            while True:
                outcome = await self._try(probe.body(), max_tokens, probe.form, tries)
                response = outcome.response
                if response.status is not ResponseStatus.FAILED:
                    return True
                passes = response.transient and response.code not in ("timeout", *NOT_AT_ONCE)
                if tries == left or not passes:
                    break
                tries += 1
                await self._clock.sleep(backoff(tries, self._clock.jitter()))
            form.doubted = outcome.number
            if response.code in STOPPING or response.code in ACCOUNT:
                raise ModelError(_hopeless(self._endpoints, response))
            return False

    def _raise_if_down(self) -> None:
        if self._breaker.down:
            raise self._down_error()

    def _rejected_all(self, response: Response) -> ModelError:
        return ModelError(
            f"{_named(self._endpoints, ': ')} rejected all of the first "
            f"{self._breaker.streak} requests: check whether it takes images and the options set. "
            f"The server's error ({response.code}): {response.detail}"
        )

    def _give_up(self) -> EndpointDownError:
        self._breaker.given_up = True
        return self._down_error()

    def _down_error(self) -> EndpointDownError:
        breaker = self._breaker
        state = "has stopped answering" if self._queue.served else "does not answer"
        if breaker.last_error.startswith(("http_", "provider_error")):
            state = "answers with errors alone"
        return EndpointDownError(
            f"{_named(self._endpoints, ': ')} {state}: nothing succeeded for "
            f"{breaker.seconds:.0f} s, requests that failed in a row after their retries: "
            f"{breaker.streak}. Last error: {breaker.last_error}. "
            "Check that the server runs, then run again: finished work is kept"
        )

    async def _try(self, body: bytes, max_tokens: int, form: Hashable, tries: int) -> _Outcome:
        state = self._loop_state()
        async with state.slots as age:
            self._sent = number = self._sent + 1
            outcome = await self._send(state.pool, body, max_tokens, tries)
            # A request that is turned away again may be so on its own account.
            again = tries > 0 and outcome.response.code == "http_429"
            if isinstance(state.slots, Window) and not again:
                state.slots.note(age, outcome.response)
        if outcome.response.status is not ResponseStatus.FAILED:
            same = self._forms[form]
            same.answered = max(same.answered, number)
        return _Outcome(outcome.response, outcome.wait, outcome.refused, number)

    async def _send(self, pool: Pool, body: bytes, max_tokens: int, tries: int) -> _Outcome:
        loop = asyncio.get_running_loop()
        start = loop.time()
        try:
            reply = await pool.post(body)
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
        if 300 <= reply.status < 400 and reply.status != _NOT_MODIFIED:
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

    def _loop_state(self) -> _LoopState:
        state = self._loops.get(asyncio.get_running_loop())
        if state is not None:
            return state
        limits = self._limits
        pool = Pool(self._endpoints, Timeouts(total=limits.timeout), self._clock, self._outages)
        most = limits.concurrency
        slots = Window(most, self._clock) if limits.adaptive else Slots(most)
        state = _LoopState(pool, slots, asyncio.Lock())
        self._loops[asyncio.get_running_loop()] = state
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


def _is_of_world(response: Response) -> bool:
    """Whether the server's own words say that a failure is nothing of the request's."""
    return (response.code or "").startswith("http_") and is_of_world(response.detail or "")


def _named(endpoints: Sequence[Endpoint], joined: str) -> str:
    """Return the model and the addresses it is asked at."""
    return f"{endpoints[0].label}{joined}{' or '.join(server.address for server in endpoints)}"


def _hopeless(endpoints: Sequence[Endpoint], response: Response) -> str:
    endpoint = endpoints[0]
    key = f"the key in {endpoint.key_env}" if endpoint.key_env else "the key"
    unnamed = "" if endpoint.key_env else "; name its environment variable in `api_key_env`"
    wrong_key = f"{key} is missing or wrong{unnamed}"
    wrong_address = "base_url is wrong; it mostly ends in /v1"
    no_model = (
        "the server does not have this model, or base_url is wrong (it mostly ends in /v1); GET "
        "/v1/models lists what there is"
    )
    todo = {
        "http_401": wrong_key,
        INVALID_KEY: wrong_key,
        "http_402": "the account has no credit left",
        NO_CREDIT: "the account's credit, budget or quota is used up",
        "http_403": f"{key} may not use this model{unnamed}, or the account may not be used so",
        "http_404": no_model,
        MODEL_NOT_FOUND: no_model,
        "http_405": wrong_address,
        WRONG_ADDRESS: wrong_address,
        "http_407": "the proxy wants a user and a password: set HTTPS_PROXY (or HTTP_PROXY, "
        "ALL_PROXY) to http://USER:PASSWORD@HOST:PORT",
        "certificate": "the server's certificate cannot be trusted",
    }
    code = response.code or ""
    return (
        f"{_named(endpoints, ' cannot be used at ')}: {todo[code]}. "
        f"The server's error ({code}): {response.detail}"
    )
