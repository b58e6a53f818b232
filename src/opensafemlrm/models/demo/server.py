"""The simulated models and the organisms behind an OpenAI-compatible server, for demos and tests.

``POST /v1/chat/completions`` takes text and ``image_url`` parts (data URIs only: nothing is ever
fetched) and answers with what the model gives in the same process. ``stop`` is kept to, and as in
vLLM a prefilled reply is continued with ``continue_final_message`` (and ``add_generation_prompt``
false). ``GET /v1/models`` lists the models, ``GET /stats`` counts requests.

Models are called ``simulated-NAME`` and ``organism-NAME``: no table shows them as the models
that they imitate.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
from aiohttp import web
from pydantic import Field
from yarl import URL

from opensafemlrm.components import Model
from opensafemlrm.models.demo import chat_api, organism, sim
from opensafemlrm.models.demo.chat_api import RequestError
from opensafemlrm.models.http.proxies import is_loopback

SIMULATED: Final = "simulated-"
ORGANISM: Final = "organism-"
MAX_BODY_BYTES: Final = 64 * 1024 * 1024
_SHUTDOWN_SECONDS: Final = 5.0
_FORMS: Final = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data")
"""What browsers let any page send."""
_DRAW_BITS: Final = 64

Rate = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How the server behaves, faults included.

    ``latency`` is in seconds. ``error_rate`` and ``rate_limited_rate`` are the shares of requests
    answered with HTTP 500 and 429: by the count of requests, so that a repeated request can
    succeed. ``blocked_rate``, ``truncated_rate`` and ``judge_malformed_rate`` are those of
    :class:`~opensafemlrm.models.demo.sim.Simulated`. More than ``max_in_flight`` requests at once
    get HTTP 429. With ``reasoning_parser``, reasoning between ``<think>`` tags comes in
    ``message.reasoning_content``, as from a server that splits it off.
    """

    latency: Annotated[float, Field(ge=0)] = 0.0
    error_rate: Rate = 0.0
    rate_limited_rate: Rate = 0.0
    blocked_rate: Rate = 0.0
    truncated_rate: Rate = 0.0
    judge_malformed_rate: Rate = 0.0
    max_in_flight: Annotated[int, Field(ge=1)] | None = None
    reasoning_parser: bool = False


def simulated(options: ServerOptions | None = None) -> web.Application:
    """Build the application with all simulated models and the simulated judge."""
    options = options or ServerOptions()
    models = {
        SIMULATED + name: sim.Simulated(
            name,
            latency=options.latency,
            blocked_rate=options.blocked_rate,
            truncated_rate=options.truncated_rate,
            judge_malformed_rate=options.judge_malformed_rate,
        )
        for name in (*sim.NAMES, sim.JUDGE)
    }
    return _Server(models, "simulated", options).app()


def organisms(weights: Path | None = None, *, reasoning_parser: bool = False) -> web.Application:
    """Build the application with the organisms that are bundled, or that ``weights`` holds."""
    models = {ORGANISM + name: organism.Organism(name, weights=weights) for name in organism.NAMES}
    return _Server(models, "organism", ServerOptions(reasoning_parser=reasoning_parser)).app()


async def start(
    app: web.Application, host: str = "127.0.0.1", port: int = 0
) -> tuple[web.AppRunner, int]:
    """Start serving and return the runner and the port (a free one for ``port=0``).

    Stop with ``await runner.cleanup()``. Raises OSError where the port is taken.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError:
        await runner.cleanup()
        raise
    return runner, int(runner.addresses[0][1])


def serve(
    app: web.Application,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM, then finish what is in flight and return.

    ``on_ready`` is called with the base URL for clients once requests are taken. Raises OSError
    where the port is taken.
    """

    async def run() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        # Where loops have no signal handlers, an interrupt ends asyncio.run instead.
        with contextlib.suppress(NotImplementedError):
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, stop.set)
        runner, bound = await start(app, host, port)
        try:
            if on_ready is not None:
                on_ready(f"http://{f'[{host}]' if ':' in host else host}:{bound}/v1")
            await stop.wait()
        finally:
            await runner.cleanup()

    asyncio.run(run())


@dataclass(slots=True)
class _Server:
    """The handlers, and what they count."""

    models: Mapping[str, Model]
    owner: str
    options: ServerOptions
    requests: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    received: int = 0
    in_flight: int = 0
    in_flight_peak: int = 0

    def app(self) -> web.Application:
        app = web.Application(
            client_max_size=MAX_BODY_BYTES, middlewares=[_errors_as_json, _own_pages_alone]
        )
        app.router.add_get("/v1/models", self.list_models)
        app.router.add_post("/v1/chat/completions", self.complete)
        app.router.add_get("/stats", self.stats)
        app.on_cleanup.append(self.close)
        return app

    async def list_models(self, _: web.Request) -> web.Response:
        owned = {"object": "model", "owned_by": self.owner}
        return _json({"object": "list", "data": [{"id": name, **owned} for name in self.models]})

    async def stats(self, _: web.Request) -> web.Response:
        return _json(
            {
                "received": self.received,
                "requests": self.requests,
                "errors": self.errors,
                "in_flight": self.in_flight,
                "in_flight_peak": self.in_flight_peak,
            }
        )

    async def complete(self, request: web.Request) -> web.Response:
        self.received += 1
        self.in_flight += 1
        self.in_flight_peak = max(self.in_flight_peak, self.in_flight)
        try:
            self.disturb()
            body = chat_api.read_body(await request.read())
            name, model = self.find(body.get("model"))
            self.requests[name.removeprefix(SIMULATED)] += 1
            prompt, sampling = chat_api.read_prompt(body, model), chat_api.read_sampling(body)
            response = await model.generate(prompt, sampling)
            parse = self.options.reasoning_parser
            message = chat_api.message(response.text, prompt, parse_reasoning=parse)
            return _json(chat_api.completion(name, response, message))
        except RequestError as error:
            self.errors[error.code] += 1
            raise
        finally:
            self.in_flight -= 1

    def find(self, name: Any) -> tuple[str, Model]:
        if not isinstance(name, str):
            raise RequestError(400, "invalid_request", "the field 'model' must be a string")
        if name not in self.models:
            known = ", ".join(self.models)
            raise RequestError(
                404, "model_not_found", f"there is no model {name[:100]!r}; known: {known}"
            )
        return name, self.models[name]

    def disturb(self) -> None:
        """Fail where the options say so, spread over the requests in a fixed, even way."""
        options, limit = self.options, self.options.max_in_flight
        if limit is not None and self.in_flight > limit:
            raise RequestError(429, "rate_limit_exceeded", f"more than {limit} requests at once")
        digest = hashlib.blake2b(self.received.to_bytes(8), digest_size=_DRAW_BITS // 8).digest()
        draw = int.from_bytes(digest) / 2**_DRAW_BITS
        if draw < options.error_rate:
            raise RequestError(500, "simulated_error", "a simulated error of the server")
        if draw < options.error_rate + options.rate_limited_rate:
            raise RequestError(429, "rate_limit_exceeded", "a simulated rate limit")

    async def close(self, _: web.Application) -> None:
        for model in self.models.values():
            await model.aclose()


@web.middleware
async def _errors_as_json(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except RequestError as error:
        return _error(error.status, error.code, error.message)
    except web.HTTPException as error:
        return _error(error.status, "invalid_request", error.reason)


@web.middleware
async def _own_pages_alone(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Turn away what a page of another site sends with a browser of this machine.

    Such a page is told by its origin, by the form that it has to send without leave, and, where it
    made its own name lead here, by the host that it asks for.
    """
    named = _url(f"http://{request.host}")
    origin = request.headers.get("Origin")
    if origin is not None and _url(origin).authority != named.authority:
        raise RequestError(403, "forbidden", "this server answers no page of another site")
    transport = request.transport
    here = transport.get_extra_info("sockname") if transport is not None else None
    if here and is_loopback(URL.build(scheme="http", host=here[0])) and not is_loopback(named):
        raise RequestError(403, "forbidden", "this server is called localhost or 127.0.0.1")
    if request.method == "POST" and request.headers.get("Content-Type", "").startswith(_FORMS):
        raise RequestError(415, "invalid_request", "send the body as application/json")
    return await handler(request)


def _url(text: str) -> URL:
    try:
        return URL(text)
    except ValueError:
        return URL()


def _error(status: int, code: str, message: str) -> web.Response:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    response = _json({"error": {"message": message, "type": kind, "code": code, "param": None}})
    response.set_status(status)
    if status == 429:
        response.headers["Retry-After"] = "0"
    return response


def _json(value: Any) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json")
