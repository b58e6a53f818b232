"""A Chat Completions server for the command line's tests: what it answers is a function."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.loopback import LoopbackServer

Body = dict[str, Any]
Answer = Callable[[Body], tuple[int, Any]]
"""Returns the status and the JSON, or a text as it is, for the body of a request."""


def said(text: str, model: str | None = None, finish: str = "stop", **more: Any) -> tuple[int, Any]:
    """A whole reply, of the model that answers if it is given."""
    message = {"role": "assistant", "content": text}
    named = {} if model is None else {"model": model}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return 200, {"choices": [choice], **named, **more}


def refused(message: str, status: int = 400, **more: Any) -> tuple[int, Any]:
    """An error, as OpenAI documents it."""
    return status, {"error": {"message": message, **more}}


def words_of(body: Body) -> str:
    """All texts of a request."""
    texts = [turn["content"] for turn in body["messages"]]
    parts = [text if isinstance(text, list) else [{"text": text}] for text in texts]
    return "\n".join(part.get("text", "") for some in parts for part in some)


def has_image(body: Body) -> bool:
    return "image_url" in json.dumps(body["messages"])


@contextmanager
def serving(answer: Answer) -> Iterator[tuple[str, list[Body]]]:
    """Serve on a port of this machine; the bodies are kept."""
    bodies: list[Body] = []
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                bodies.append(body)
            status, payload = answer(body)
            data = (payload if isinstance(payload, str) else json.dumps(payload)).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    with LoopbackServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", bodies
        server.shutdown()
