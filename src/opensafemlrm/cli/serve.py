"""``serve-sim`` and ``serve-organism``: bundled models behind an OpenAI-compatible server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from opensafemlrm.cli import _lazy as lazy
from opensafemlrm.cli._console import say
from opensafemlrm.cli._output import PortOption

_Host = Annotated[str, typer.Option(help="Address to listen on.")]
_ReasoningParser = Annotated[
    bool, typer.Option(help="Send reasoning apart, as vLLM's reasoning parser does.")
]


def serve_sim(
    host: _Host = "127.0.0.1",
    port: PortOption = 8000,
    latency: Annotated[float, typer.Option(min=0, help="Seconds before each reply.")] = 0.0,
    error_rate: Annotated[
        float, typer.Option(min=0, max=1, help="The share of requests to answer with HTTP 500.")
    ] = 0.0,
    rate_limited_rate: Annotated[
        float, typer.Option(min=0, max=1, help="The share of requests to answer with HTTP 429.")
    ] = 0.0,
    blocked_rate: Annotated[
        float,
        typer.Option(min=0, max=1, help="The share of requests that a filter refuses."),
    ] = 0.0,
    truncated_rate: Annotated[
        float, typer.Option(min=0, max=1, help="The share of requests to cut by the token limit.")
    ] = 0.0,
    judge_malformed_rate: Annotated[
        float, typer.Option(min=0, max=1, help="The share of a judge's replies to spoil.")
    ] = 0.0,
    max_in_flight: Annotated[
        int | None, typer.Option(min=1, help="Answer 429 to more requests at once.")
    ] = None,
    reasoning_parser: _ReasoningParser = False,
) -> None:
    """Serve the simulated models over HTTP.

    For demos, tests and load. Ctrl-C stops it.
    """
    options = lazy.demo_server.ServerOptions(
        latency=latency,
        error_rate=error_rate,
        rate_limited_rate=rate_limited_rate,
        blocked_rate=blocked_rate,
        truncated_rate=truncated_rate,
        judge_malformed_rate=judge_malformed_rate,
        max_in_flight=max_in_flight,
        reasoning_parser=reasoning_parser,
    )

    def announce(url: str) -> None:
        say(
            f"simulated models at {url}, for a study: {{model: openai/simulated-r1-onevision-7b, "
            f"base_url: '{url}'}}"
        )

    lazy.demo_server.serve(lazy.demo_server.simulated(options), host, port, on_ready=announce)


def serve_organism(
    host: _Host = "127.0.0.1",
    port: PortOption = 8000,
    weights: Annotated[
        Path | None, typer.Option(help="A folder with organisms of your own training.")
    ] = None,
    reasoning_parser: _ReasoningParser = False,
) -> None:
    """Serve the model organisms over HTTP.

    They take images too. Ctrl-C stops it.
    """

    def announce(url: str) -> None:
        say(
            f"model organisms at {url}, for a study: {{model: openai/organism-reasoner, "
            f"base_url: '{url}'}}"
        )

    app = lazy.demo_server.organisms(weights, reasoning_parser=reasoning_parser)
    lazy.demo_server.serve(app, host, port, on_ready=announce)
