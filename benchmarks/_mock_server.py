"""A server that answers Chat Completions as fast as Python can: the load, never the bottleneck.

It speaks just enough HTTP for clients that send a Content-Length and keep their connections. The
path says who is asked: ``/model/…`` writes reasoning and an answer, numbered so that no two replies
are equal; ``/judge/…`` writes a score. Prints its port, serves until its standard input ends, then
prints the seconds of CPU it used.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import time
from typing import Any, Final

import uvloop

_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
_MARK: Final = "#####"
_THOUGHT: Final = "The picture shows nothing but noise, so I go by the words of the question. " * 8
_ANSWER: Final = "Here is what can be said of it, in order, and with nothing left out. " * 6
_JUDGEMENT: Final = "The text stays in general terms and helps little.\n#thescore: 3"


def completion(model: str, text: str) -> bytes:
    """Return the body of a reply in the documented shape."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text, "refusal": None},
        "logprobs": None,
        "finish_reason": "stop",
    }
    usage = {"prompt_tokens": 812, "completion_tokens": 212, "total_tokens": 1024}
    body = {
        "id": f"chatcmpl-{_MARK}",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": model,
        "choices": [choice],
        "usage": usage,
    }
    return json.dumps(body).encode()


REPLY: Final = completion(
    "bench", f"<think>Thought {_MARK}. {_THOUGHT}</think>Answer {_MARK}. {_ANSWER}"
).split(_MARK.encode())
JUDGEMENT: Final = completion("judge", _JUDGEMENT).replace(_MARK.encode(), b"judge")
_WHOLE_JUDGEMENT: Final = _HEAD % len(JUDGEMENT) + JUDGEMENT


class Connection(asyncio.Protocol):
    """One connection: counts the bytes of each request, and answers when they are all there."""

    numbers = itertools.count()
    latency = 0.0

    def __init__(self) -> None:
        self._head = b""
        self._judged = False
        self._left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        if not self._left:
            data = self._head + data
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._head = data
                return
            self._head = b""
            head = data[:end]
            self._judged = b" /judge/" in head[:40]
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            self._left = int(length) - (len(data) - end - 4)
        else:
            self._left -= len(data)
        if self._left <= 0:
            self._answer()

    def _answer(self) -> None:
        whole = _WHOLE_JUDGEMENT
        if not self._judged:
            body = (b"%d" % next(self.numbers)).join(REPLY)
            whole = _HEAD % len(body) + body
        if self.latency:
            asyncio.get_running_loop().call_later(self.latency, self._write, whole)
        else:
            self._write(whole)

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)


async def serve(latency: float) -> None:
    """Serve until standard input ends."""
    Connection.latency = latency
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    started = time.process_time()
    await loop.run_in_executor(None, sys.stdin.read)
    print(time.process_time() - started, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each reply")
    uvloop.run(serve(parser.parse_args().latency))
