"""A Chat Completions server that goes wrong by seed, in all the ways that servers have."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from opensafemlrm.models.clock import Clock
from opensafemlrm.models.hosted.openai_compatible import OpenAICompatible

JUDGE = "judge"
TEN_MB = 10 * 2**20
_MAX_FAULTS = 3
"""Faults in a row of one request: fewer than the client's retries, so that all can be recovered."""
_JSON = {"Content-Type": "application/json"}

Answer = web.StreamResponse
Fault = Callable[["FaultServer", web.Request, str], Awaitable[Answer]]


def completion(text: str) -> bytes:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps({"choices": [choice], "usage": {"completion_tokens": 7}}).encode()


def _error(status: int, **headers: str) -> Fault:
    async def answer(server: FaultServer, request: web.Request, text: str) -> Answer:
        body = json.dumps({"error": {"message": f"a planned {status}"}})
        return web.Response(status=status, text=body, headers={**_JSON, **headers})

    return answer


def _body(change: Callable[[bytes], bytes], content_type: str = "application/json") -> Fault:
    async def answer(server: FaultServer, request: web.Request, text: str) -> Answer:
        headers = {"Content-Type": content_type}
        return web.Response(body=change(completion(text)), headers=headers)

    return answer


async def _closed_in_the_middle(server: FaultServer, request: web.Request, text: str) -> Answer:
    body = completion(text)
    response = web.StreamResponse(headers={**_JSON, "Content-Length": str(len(body))})
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    assert request.transport is not None
    request.transport.close()
    return response


async def _hung(server: FaultServer, request: web.Request, text: str) -> Answer:
    await server.released.wait()
    return web.Response()


async def _redirect(server: FaultServer, request: web.Request, text: str) -> Answer:
    headers = {"Location": f"{server.base_url}/chat/completions?elsewhere"}
    return web.Response(status=307, headers=headers)


def _in_text(prefix: bytes) -> Callable[[bytes], bytes]:
    return lambda body: body.replace(b'"content": "', b'"content": "' + prefix)


ASKED_AGAIN: dict[str, Fault] = {
    "429": _error(429),
    "429 with Retry-After": _error(429, **{"Retry-After": "2"}),
    "500": _error(500),
    "502": _error(502),
    "closed": _closed_in_the_middle,
    "hung": _hung,
    "half JSON": _body(lambda body: body[: len(body) // 2]),
    "a page": _body(lambda body: b"<html>sign in</html>", "text/html"),
    "no choices": _body(lambda body: b'{"choices": []}'),
}
"""Faults that asking again mends."""
ODD_ANSWERS: dict[str, Fault] = {
    "JSON called text": _body(lambda body: body, "text/plain"),
    "10 MB of padding": _body(lambda body: body + b" " * TEN_MB),
    "lone surrogates": _body(_in_text(rb"\ud83d \udc00 ")),
    "NULs": _body(_in_text(rb"\u0000 ")),
}
"""Answers that are odd and are answers all the same."""
FINAL: dict[str, Fault] = {"redirect": _redirect}
"""Faults that asking again cannot mend."""
TEN_MB_OF_TEXT: dict[str, Fault] = {
    "10 MB of text": _body(_in_text(b"word " * (TEN_MB // 5))),
}


class FaultServer:
    """Answers, and goes wrong in ``share`` of the requests: which and how follows from the seed."""

    def __init__(self, seed: int, share: float, faults: dict[str, Fault]) -> None:
        self.seed, self.share, self.faults = seed, share, faults
        self.requests: Counter[bytes] = Counter()
        self.ends: dict[bytes, list[str]] = {}
        """How each request body was answered for good: more than one end is one too many.

        An answer that came too late is none: the client had closed the connection it was sent on.
        """
        self._connections: dict[bytes, web.Request] = {}
        self.met: Counter[str] = Counter()
        self.broken: Fault | None = None
        """What every request meets once the server is dead."""
        self.released = asyncio.Event()
        self.base_url = ""

    @property
    def total(self) -> int:
        return self.requests.total()

    def ended(self, how: str, *, by_judge: bool) -> int:
        """How many different requests ended so."""
        return sum(
            how in ends and (b'"model":"judge"' in body) is by_judge
            for body, ends in self.ends.items()
        )

    async def handle(self, request: web.Request) -> Answer:
        body = await request.read()
        text = reply_to(json.loads(body))
        if b"Which colour is the sky" in body and self.broken is None:
            return web.Response(body=completion(text), headers=_JSON)  # whether it is there at all
        self.requests[body] += 1
        if self.broken is not None:
            return await self.broken(self, request, text)
        name = self._fault(body)
        if name not in ASKED_AGAIN:
            self._end(body, request, "redirect" if name in FINAL else "answer")
        if name is None:
            return web.Response(body=completion(text), headers=_JSON)
        self.met[name] += 1
        return await self.faults[name](self, request, text)

    def _end(self, body: bytes, request: web.Request, how: str) -> None:
        ends = self.ends.setdefault(body, [])
        before = self._connections.get(body)
        if before is not None and (before.transport is None or before.transport.is_closing()):
            ends.pop()
        ends.append(how)
        self._connections[body] = request

    def _fault(self, body: bytes) -> str | None:
        tries = self.requests[body]
        digest = hashlib.sha256(b"%d %d %b" % (self.seed, tries, body)).digest()
        if tries > _MAX_FAULTS or int.from_bytes(digest[:4]) / 2**32 >= self.share:
            return None
        names = sorted(self.faults)
        return names[int.from_bytes(digest[4:8]) % len(names)]


def reply_to(body: dict[str, Any]) -> str:
    """What a whole answer says: the same for the same request."""
    number = int.from_bytes(hashlib.sha256(json.dumps(body).encode()).digest()[:4])
    if body["model"] == JUDGE:
        return f"It tells what it was asked.\n#thescore: {number % 6}"
    return f"<think>thought {number}</think>answer {number}"


class HurriedClock(Clock):
    """A clock on which waiting for a server takes a hundredth of the time."""

    speed = 100.0

    def now(self) -> float:
        return time.monotonic() * self.speed

    def wall(self) -> float:
        return time.time()

    def jitter(self) -> float:
        return 0.5

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.speed)


def model(server: FaultServer, name: str, **options: Any) -> OpenAICompatible:
    """A model on the server. A hung request costs ``timeout`` real seconds."""
    options = {"timeout": 2.0, "concurrency": 24, "clock": HurriedClock(), **options}
    return OpenAICompatible(name, base_url=server.base_url, **options)
