"""The simulated models behind HTTP, as an OpenAI-compatible server, for demos, tests and load.

See :mod:`._chat_server` for what it takes. It answers with the text that the same simulated model
gives in the same process. Models are called ``simulated-NAME``, so that no table shows them as the
models they imitate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final

from aiohttp import web
from pydantic import Field

from opensafemlrm.models.demo import chat_server as _chat_server
from opensafemlrm.models.demo.chat_server import ChatServer, RequestError, start
from opensafemlrm.models.demo.sim import JUDGE, NAMES, Simulated

__all__ = ["PREFIX", "ServerOptions", "build_app", "serve", "start"]

PREFIX: Final = "simulated-"
"""What the names of the served models begin with: tables show it, whoever asks over HTTP."""
_DRAW_BITS: Final = 64

Rate = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How the server behaves, for good and for ill.

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


def build_app(options: ServerOptions | None = None) -> web.Application:
    """Build the application, with all simulated models and the simulated judge."""
    options = options or ServerOptions()
    models = {
        PREFIX + name: Simulated(
            name,
            latency=options.latency,
            blocked_rate=options.blocked_rate,
            truncated_rate=options.truncated_rate,
            judge_malformed_rate=options.judge_malformed_rate,
        )
        for name in (*NAMES, JUDGE)
    }
    return ChatServer(
        models,
        "simulated",
        counted=lambda name: name.removeprefix(PREFIX),
        disturb=lambda server: _disturb(server, options),
        reasoning_parser=options.reasoning_parser,
    ).app()


def serve(
    host: str = "127.0.0.1",
    port: int = 8000,
    options: ServerOptions | None = None,
    *,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve as :func:`._chat_server.serve` does."""
    _chat_server.serve(build_app(options), host, port, on_ready=on_ready)


def _disturb(server: ChatServer, options: ServerOptions) -> None:
    """Fail where the options say so, spread over the requests in a fixed, even way."""
    limit = options.max_in_flight
    if limit is not None and server.in_flight > limit:
        raise RequestError(429, "rate_limit_exceeded", f"more than {limit} requests at once")
    digest = hashlib.blake2b(server.received.to_bytes(8), digest_size=_DRAW_BITS // 8).digest()
    drawn = int.from_bytes(digest) / 2**_DRAW_BITS
    if drawn < options.error_rate:
        raise RequestError(500, "simulated_error", "a simulated error of the server")
    if drawn < options.error_rate + options.rate_limited_rate:
        raise RequestError(429, "rate_limit_exceeded", "a simulated rate limit")
