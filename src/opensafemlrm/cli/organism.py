"""``safemlrm serve-organism``: the model organisms behind an OpenAI-compatible server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from opensafemlrm.cli._console import say


def serve_organism(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 8000,
    weights: Annotated[
        Path | None, typer.Option(help="A folder with organisms of your own training.")
    ] = None,
    reasoning_parser: Annotated[
        bool, typer.Option(help="Send reasoning apart, as vLLM's reasoning parser does.")
    ] = False,
) -> None:
    """Serve the model organisms over HTTP.

    They take images too. Ctrl-C stops it.
    """
    from opensafemlrm.models.demo.server import organisms, serve

    def announce(url: str) -> None:
        say(
            f"model organisms at {url}, for a study: {{model: openai/organism-reasoner, "
            f"base_url: '{url}'}}"
        )

    app = organisms(weights, reasoning_parser=reasoning_parser)
    serve(app, host, port, on_ready=announce)
