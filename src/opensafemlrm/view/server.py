"""The pages over HTTP, to this machine alone: who may see them, and what a browser may do there."""

from __future__ import annotations

import hmac
import secrets
import socket
from collections.abc import Callable
from http.cookies import SimpleCookie
from typing import Final
from urllib.parse import parse_qs

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from opensafemlrm.view.pages import Pages

COOKIE: Final = "safemlrm_view"
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


class Guard:
    """Lets in who opened the address that was printed, from this machine, on this very page.

    The token of the address is good once: it is exchanged for a cookie that ends with the browser.
    A page of another site has neither, and its Origin and Host give it away as well.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str], token: str) -> None:
        self._app, self._hosts = app, hosts
        self._token: str | None = token
        self._cookie = secrets.token_urlsafe(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        answer = self._answer(scope)
        await (answer or self._app)(scope, receive, with_headers)

    def _answer(self, scope: Scope) -> ASGIApp | None:
        """Return what to answer in the pages' place, ``None`` where the request may go on."""
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        host = headers.get("host", "")
        if host not in self._hosts or origin not in (None, f"http://{host}"):
            return PlainTextResponse("refused: not from a page of this server\n", 403)
        if scope["method"] not in ("GET", "HEAD") and origin is None:
            return PlainTextResponse("refused: a change needs the Origin of this server\n", 403)
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        if cookie is not None and hmac.compare_digest(cookie.value.encode(), self._cookie.encode()):
            return None
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        token = self._token
        if token is None or not hmac.compare_digest(given.encode(), token.encode()):
            return PlainTextResponse(
                "refused: open the address that safemlrm view printed; it is good once, so run the "
                "command again for another browser\n",
                403,
            )
        self._token = None
        response = RedirectResponse("/", 303)
        response.set_cookie(COOKIE, self._cookie, httponly=True, samesite="strict")
        return response


def application(pages: Pages, hosts: frozenset[str], token: str) -> ASGIApp:
    """Return the server's application: the pages behind their guard."""
    return Guard(Starlette(routes=pages.routes(), exception_handlers=pages.errors()), hosts, token)


def serve(pages: Pages, port: int, on_ready: Callable[[str], None]) -> None:
    """Serve the pages on this machine until Ctrl-C.

    ``on_ready`` is told the address to open. Raises OSError where the port is taken.
    """
    bound = socket.create_server(("127.0.0.1", port))
    address = f"127.0.0.1:{bound.getsockname()[1]}"
    token = secrets.token_urlsafe(24)
    hosts = frozenset({address, address.replace("127.0.0.1", "localhost")})
    config = uvicorn.Config(
        application(pages, hosts, token),
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=1,  # a page that waits for news would never end by itself
    )
    on_ready(f"http://{address}/?token={token}")
    uvicorn.Server(config).run(sockets=[bound])
