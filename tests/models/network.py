"""Servers and proxies on this machine that do what a test says, byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trustme
from yarl import URL

from opensafemlrm.models.http.transport import Reply, Transport

BODY = b'{"choices": []}'
MAX = 10_000
HOST = "api.example.test"
KEY = "sk-planted-7f3a9b2c"
USER, PASSWORD = "planted-user", "planted-password"  # of nobody
LOGIN = f"{USER}:{PASSWORD}"


def tls(authority: trustme.CA, *names: str, **more: object) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names, **more).configure_cert(context)  # type: ignore[arg-type]
    return context


async def post(via: Transport, url: str, data: bytes = b"{}") -> Reply:
    return await via.request("POST", URL(url), data, max_bytes=MAX)


def reply(body: bytes = BODY, status: str = "200 OK", *fields: bytes) -> bytes:
    """A whole reply with its length."""
    lines = [b"HTTP/1.1 " + status.encode(), b"Content-Length: %d" % len(body), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


Answer = Callable[[asyncio.StreamWriter, int], Awaitable[bool | None]]
"""Answers the n-th request of a connection; true ends the connection."""


async def answer_well(writer: asyncio.StreamWriter, number: int) -> None:
    del number
    writer.write(reply())


@dataclass
class Seen:
    """What a server or a proxy was sent."""

    port: int = 0
    connections: int = 0
    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)

    @property
    def everything(self) -> str:
        return "\n".join((*self.heads, *(" ".join(login) for login in self.logins)))


@asynccontextmanager
async def server(answer: Answer = answer_well, tls: ssl.SSLContext | None = None):
    """A server that gives each request to ``answer``."""
    seen = Seen()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.connections += 1
        number, ends = 0, None
        while not ends:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            length = head.lower().partition("content-length: ")[2].partition("\r\n")[0]
            seen.bodies.append(await reader.readexactly(int(length or 0)))
            seen.heads.append(head)
            number += 1
            ends = await answer(writer, number)
            await writer.drain()

    async with _listening(serve, seen, tls):
        yield seen


@asynccontextmanager
async def http_proxy(
    target: int, status: int = 200, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Seen]:
    """A proxy that leads everything to one port of this machine, or turns it down."""
    seen = Seen()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.connections += 1
        head = await reader.readuntil(b"\r\n\r\n")
        seen.heads.append(head.decode("latin-1"))
        if status != 200:
            writer.write(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status)
            return
        if head.startswith(b"CONNECT"):
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            head = b""
        await _tunnel(reader, writer, target, head)

    async with _listening(serve, seen, tls):
        yield seen


@asynccontextmanager
async def socks_proxy(
    target: int, login: tuple[str, str] | None = None, refusal: int = 0
) -> AsyncIterator[Seen]:
    """A SOCKS5 proxy (RFC 1928, 1929) that leads everything to one port of this machine."""
    seen = Seen()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def text() -> str:
            return (await reader.readexactly((await reader.readexactly(1))[0])).decode()

        _, methods = await reader.readexactly(2)
        await reader.readexactly(methods)
        writer.write(b"\5\2" if login else b"\5\0")
        if login:
            await reader.readexactly(1)
            seen.logins.append((await text(), await text()))
            writer.write(b"\1\0" if seen.logins[-1] == login else b"\1\1")
            if seen.logins[-1] != login:
                return
        kind = (await reader.readexactly(4))[3]
        host = await text() if kind == 3 else socket.inet_ntoa(await reader.readexactly(4))
        await reader.readexactly(2)
        seen.heads.append(host)
        writer.write(b"\5%c\0\1\0\0\0\0\0\0" % refusal)
        if not refusal:
            await _tunnel(reader, writer, target)

    async with _listening(serve, seen):
        yield seen


@asynccontextmanager
async def _listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    seen: Seen,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[None]:
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with contextlib.suppress(
                asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError, ssl.SSLError
            ):
                await serve(reader, writer)
                await writer.drain()
        finally:
            writer.close()

    listening = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    seen.port = listening.sockets[0].getsockname()[1]
    try:
        yield
    finally:
        listening.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _tunnel(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, first: bytes = b""
) -> None:
    far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
    far_writer.write(first)

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        finally:
            sink.close()

    await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))
