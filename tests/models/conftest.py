"""Fixtures of the model tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from opensafemlrm.models.hosted.openai_compatible import OpenAICompatible
from tests.models.scripted import FakeClock, ScriptedServer


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    scripted = ScriptedServer()
    app = web.Application(client_max_size=2**26)
    app.router.add_post("/v1/chat/completions", scripted.handle)
    async with TestServer(app) as running:
        scripted.base_url = str(running.make_url("/v1"))
        yield scripted


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def connect(
    server: ScriptedServer, clock: FakeClock
) -> AsyncIterator[Callable[..., OpenAICompatible]]:
    """Make models on the scripted server, and close them when the test is over."""
    made: list[OpenAICompatible] = []
    server.clock = clock

    def make(**options: Any) -> OpenAICompatible:
        options = {"model": "m", "base_url": server.base_url, "clock": clock, **options}
        made.append(OpenAICompatible(**options))
        return made[-1]

    yield make
    for model in made:
        await model.aclose()
