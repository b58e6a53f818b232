"""A browser without a network: requests to the application itself."""

from __future__ import annotations

import html
import re
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from opensafemlrm.view.pages import Pages
from opensafemlrm.view.server import application

HOST = "127.0.0.1:8123"


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    text: str


class Visitor:
    """One browser, with its cookie."""

    def __init__(self, store: Path, token: str = "the-token") -> None:
        self.pages = Pages(store)
        self.app = application(self.pages, frozenset({HOST}), token)
        self.cookie = ""

    async def enter(self) -> Visitor:
        """Open the address that was printed, and go past the note."""
        await self.ask("/?token=the-token")
        await self.post("/session", next="/")
        return self

    async def ask(
        self, address: str, method: str = "GET", body: bytes = b"", **headers: str
    ) -> Reply:
        path, _, query = address.partition("?")
        sent = {"host": HOST, "cookie": self.cookie, **headers}
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(k.encode(), v.encode()) for k, v in sent.items() if v],
            "scheme": "http",
            "server": ("127.0.0.1", 8123),
            "http_version": "1.1",
        }
        messages: list[MutableMapping[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            messages.append(message)

        await self.app(scope, receive, send)
        headers_in = {k.decode(): v.decode() for k, v in messages[0]["headers"]}
        if "set-cookie" in headers_in:
            self.cookie = headers_in["set-cookie"].partition(";")[0]
        text = b"".join(message.get("body", b"") for message in messages[1:])
        return Reply(messages[0]["status"], headers_in, text.decode("utf-8", "replace"))

    async def post(self, address: str, **form: str) -> Reply:
        return await self.ask(address, "POST", urlencode(form).encode(), origin=f"http://{HOST}")


def found(pattern: str, page: str) -> str:
    """Return what a page says in the place that a pattern describes."""
    match = re.search(pattern, page)
    assert match is not None
    return html.unescape(match[1])
