"""A Chat Completions server that misbehaves as a test tells it to, and a clock without waiting."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import web

from opensafemlrm.components import Model
from opensafemlrm.models.clock import Clock
from opensafemlrm.types import Prompt, Response, Sampling

HELLO = Prompt.user("hello")


def completion(
    message: Any = None, finish: Any = "stop", usage: Any = None, **more: Any
) -> dict[str, Any]:
    """A whole reply, as OpenAI documents it."""
    message = {"role": "assistant", "content": "hello"} if message is None else message
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return {"object": "chat.completion", "choices": [choice], "usage": usage, **more}


def error(message: str = "no", **more: Any) -> dict[str, Any]:
    """An error body, as OpenAI documents it."""
    return {"error": {"message": message, **more}}


async def ask(model: Model) -> Response:
    return await model.generate(HELLO, Sampling())


class ScriptedServer:
    """Plays ``script`` one entry a request, then answers well. Keeps what it was sent."""

    def __init__(self) -> None:
        self.script: list[Any] = []
        self.always: Any = None
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.clock: FakeClock | None = None
        self.base_url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(json.loads(await request.read()))
        self.headers.append(dict(request.headers))
        if self.clock is not None:
            self.times.append(self.clock.time)
        act = self.script.pop(0) if self.script else self.always
        if act is None:
            act = completion()
        if callable(act):
            response: web.StreamResponse = await act(request)
            return response
        status, body, headers = act if isinstance(act, tuple) else (200, act, {})
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **headers}
        return web.Response(status=status, body=body, headers=headers)


class FakeClock(Clock):
    """Time that passes only when somebody waits for it."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.slept: list[float] = []
        self.chance = 0.5

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return self.time

    def jitter(self) -> float:
        return self.chance

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        wake = self.time + seconds
        await asyncio.sleep(0)  # let the others say how long they wait
        self.time = max(self.time, wake)
