"""The model organisms behind HTTP, as an OpenAI-compatible server, for other tools to try.

See :mod:`._chat_server` for what it takes. Models are called ``organism-NAME``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from aiohttp import web

from opensafemlrm.models.demo import chat_server as _chat_server
from opensafemlrm.models.demo.chat_server import ChatServer
from opensafemlrm.models.demo.organism import NAMES, Organism

PREFIX: Final = "organism-"
"""What the names of the served models begin with."""


def build_app(weights: Path | None = None, *, reasoning_parser: bool = False) -> web.Application:
    """Build the application, with the organisms that are bundled or that ``weights`` holds.

    With ``reasoning_parser``, reasoning comes in ``message.reasoning_content``, as from a server
    that splits it off.
    """
    models = {PREFIX + name: Organism(name, weights=weights) for name in NAMES}
    return ChatServer(models, "organism", reasoning_parser=reasoning_parser).app()


def serve(
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    weights: Path | None = None,
    reasoning_parser: bool = False,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve as :func:`._chat_server.serve` does."""
    app = build_app(weights, reasoning_parser=reasoning_parser)
    _chat_server.serve(app, host, port, on_ready=on_ready)
