"""HTTP/1.1 to one address: whole requests out, whole replies in, connections kept open.

A general HTTP client spends most of a request's CPU time on what is not needed here: streams,
redirects, cookies, middleware. ``make bench`` shows what a bare loop over one costs beside all that
the engine does. What a server sends is not trusted: :class:`Incoming` either gives a reply, or
raises one of the errors below, and takes time linear in what came.

Source: RFC 9112 (message syntax and framing), RFC 9110 section 15.2 (1xx).
"""

from __future__ import annotations

import asyncio
import re
import ssl
import zlib
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from multidict import CIMultiDict
from yarl import URL

KEPT_IDLE: Final = 15.0
"""Seconds after which an idle connection is not trusted to be open any more."""
_MAX_HEAD: Final = 64 * 1024
"""Most bytes of a status line with its fields, of a chunk's size line, and of trailers."""
_STATUS: Final = re.compile(rb"HTTP/1\.([01]) (\d\d\d)(?:[ \r]|$)")
_BEGINS: Final = b"HTTP/1."
# The fields that say where a body ends and what it is; a line that goes on another is refused.
_FRAMING: Final = re.compile(
    rb"\r\n(content-length|transfer-encoding|content-encoding|connection)[ \t]*:[ \t]*([^\r\n]*)",
    re.IGNORECASE,
)
_FOLDED: Final = re.compile(rb"\r\n[ \t]")
_CHUNK_SIZE: Final = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;|$)")
_GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS


class WireError(Exception):
    """A request that brought no reply."""


class UnreachableError(WireError):
    """No connection could be made."""


class DisconnectedError(WireError):
    """The connection ended before the reply did."""


class BadHTTPError(WireError):
    """What came is not a reply in HTTP/1.1."""


class Reply(NamedTuple):
    """What a server sent."""

    status: int
    body: bytes | None
    """``None`` where it is larger than allowed: then it was not read."""
    head: bytes

    @property
    def headers(self) -> Mapping[str, str]:
        """The fields of the head, by their names in any case."""
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        fields = (line.partition(":") for line in lines)
        return CIMultiDict((name.strip(), value.strip()) for name, _, value in fields)


class Incoming:
    """Puts one reply together from the bytes of a connection, in whatever pieces they come."""

    def __init__(self, most: int) -> None:
        """``most`` bytes of body are read; a larger one ends the reply with ``body=None``."""
        self._most = most
        self._data: bytes | bytearray = b""
        """What came. Mostly the whole reply at once, which is then never copied."""
        self._at = 0
        """Where what comes next begins: a head, the body, or a chunk."""
        self._chunks: list[bytes] = []
        self._size = 0
        self._head = b""
        self._status = 0
        self._length: int | None = None
        self._chunked = False
        self._encoding = b""
        self.reusable = False
        """Whether the connection can take another request after this reply."""

    def feed(self, data: bytes) -> Reply | None:
        """Take in what came; return the reply once it is whole. Raises BadHTTPError."""
        if not self._data:
            self._data = data
        elif isinstance(self._data, bytearray):
            self._data += data
        else:
            self._data = bytearray(self._data + data)
        if not self._head and not self._read_head():
            return None
        if self._chunked:
            return self._read_chunks()
        came, length = len(self._data) - self._at, self._length
        if length is None:
            return self._too_large() if came > self._most else None
        if length > self._most:
            return self._too_large()
        if came < length:
            return None
        if came > length:
            self.reusable = False  # nobody asked for what is there besides
        return self._whole(bytes(self._data[self._at : self._at + length]))

    def end(self) -> Reply:
        """Return the reply that ends with its connection. Raises DisconnectedError if none does."""
        if self._head and not self._chunked and self._length is None:
            return self._whole(bytes(self._data[self._at :]))
        when = "within the reply" if self._head or self._data else "before it replied"
        raise DisconnectedError(f"the server closed the connection {when}")

    def _read_head(self) -> bool:
        """Read the head, past interim replies. Returns whether it is all there."""
        data = self._data
        while True:
            start = self._at
            if data[start : start + 7] != _BEGINS[: len(data) - start]:
                raise BadHTTPError("the reply does not begin as HTTP/1.1 does")
            end = data.find(b"\r\n\r\n", start)
            if (len(data) if end < 0 else end) - start > _MAX_HEAD:
                raise BadHTTPError(f"the reply's head is longer than {_MAX_HEAD:,} bytes")
            if end < 0:
                return False
            head = bytes(data[start:end])
            self._at = end + 4
            found = _STATUS.match(head)
            if found is None:
                raise BadHTTPError("the reply's status line cannot be read")
            self._status = int(found[2])
            if self._status >= 200:
                break
            if self._status == 101:
                raise BadHTTPError("the server switches to another protocol")
        self._read_framing(head, persistent=found[1] == b"1")
        self._head = head
        return True

    def _read_framing(self, head: bytes, *, persistent: bool) -> None:
        """Find where the body ends (RFC 9112, section 6.3)."""
        if _FOLDED.search(head):
            raise BadHTTPError("a field of the reply's head goes over several lines")
        fields: dict[bytes, bytes] = {}
        for field, said in _FRAMING.findall(head):
            name, value = field.lower(), said.strip().lower()
            known = fields.get(name)
            if known is None or (name == b"content-length" and known == value):
                fields[name] = value
            else:
                fields[name] = known + b", " + value
        coding = fields.get(b"transfer-encoding")
        length = fields.get(b"content-length")
        if coding is not None and coding != b"chunked":
            raise BadHTTPError("the reply has a transfer encoding other than chunked")
        if length is not None and not (length.isdigit() and len(length) < 19):
            raise BadHTTPError("the reply's length is not a number")
        self._chunked = coding is not None
        if self._status in (204, 304):
            length = b"0"
            self._chunked = False
        self._length = None if self._chunked or length is None else int(length)
        self._encoding = fields.get(b"content-encoding", b"")
        ends = self._length is not None or (self._chunked and length is None)
        self.reusable = persistent and ends and b"close" not in fields.get(b"connection", b"")

    def _read_chunks(self) -> Reply | None:
        data = self._data
        while (end := data.find(b"\r\n", self._at, self._at + _MAX_HEAD)) >= 0:
            found = _CHUNK_SIZE.match(data[self._at : end])
            if found is None:
                raise BadHTTPError("the size of a chunk cannot be read")
            size, start = int(found[1], 16), end + 2
            if size == 0:
                return self._end_of_chunks(end)
            if self._size + size > self._most:
                return self._too_large()
            if len(data) < start + size + 2:
                return None
            if data[start + size : start + size + 2] != b"\r\n":
                raise BadHTTPError("a chunk is not as long as it says")
            self._chunks.append(bytes(data[start : start + size]))
            self._size += size
            self._at = start + size + 2
        if len(data) - self._at > _MAX_HEAD:
            raise BadHTTPError("the size of a chunk cannot be read")
        return None

    def _end_of_chunks(self, end: int) -> Reply | None:
        """Return the reply if its trailers, which are not looked at, are there too."""
        last = self._data.find(b"\r\n\r\n", end)
        if last < 0:
            if len(self._data) - end > _MAX_HEAD:
                raise BadHTTPError("the reply's trailers never end")
            return None
        if len(self._data) > last + 4:
            self.reusable = False
        return self._whole(b"".join(self._chunks))

    def _too_large(self) -> Reply:
        self.reusable = False
        return Reply(self._status, None, self._head)

    def _whole(self, body: bytes) -> Reply:
        if self._encoding not in (b"", b"identity"):
            unpacked = _unpacked(body, self._encoding, self._most)
            return self._too_large() if unpacked is None else self._reply(unpacked)
        return self._reply(body)

    def _reply(self, body: bytes) -> Reply:
        return Reply(self._status, body, self._head)


def _unpacked(body: bytes, encoding: bytes, most: int) -> bytes | None:
    """Return a compressed body as it was, ``None`` if it unfolds to more than ``most`` bytes."""
    if encoding not in (b"gzip", b"x-gzip", b"deflate"):
        raise BadHTTPError(f"the reply is compressed in a way nobody asked for: {encoding!r}")
    unpacker = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        unpacked = unpacker.decompress(body, most + 1)
    except zlib.error as error:
        raise BadHTTPError("the compressed reply cannot be unpacked") from error
    if len(unpacked) > most:
        return None
    if not unpacker.eof:
        raise BadHTTPError("the compressed reply is cut short")
    return unpacked


class _Connection(asyncio.Protocol):
    """One connection, for one request at a time."""

    def __init__(self, most: int) -> None:
        loop = asyncio.get_running_loop()
        self._most = most
        self._transport: asyncio.Transport | None = None
        self._incoming: Incoming | None = None
        self._waiter: asyncio.Future[Reply] | None = None
        self.gone: asyncio.Future[None] = loop.create_future()
        """Done when the connection is closed."""
        self.idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment] # of a stream, it is one

    def data_received(self, data: bytes) -> None:
        if self._incoming is None or self._waiter is None or self._waiter.done():
            self.abort()  # nobody asked for anything
            return
        try:
            reply = self._incoming.feed(data)
        except BadHTTPError as error:
            self._waiter.set_exception(error)
            return
        if reply is not None:
            self._waiter.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.gone.done():
            self.gone.set_result(None)
        if self._incoming is None or self._waiter is None or self._waiter.done():
            return
        if exc is not None:
            self._waiter.set_exception(DisconnectedError(f"{type(exc).__name__}: {exc}"))
            return
        try:
            self._waiter.set_result(self._incoming.end())
        except (DisconnectedError, BadHTTPError) as error:
            self._waiter.set_exception(error)

    async def exchange(self, request: Sequence[bytes], deadline: float) -> Reply:
        """Send a request and return its reply. Raises TimeoutError at ``deadline`` (loop time)."""
        if self._transport is None or self._transport.is_closing():
            raise DisconnectedError("the connection was closed before the request was sent")
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Reply] = loop.create_future()
        self._waiter = waiter
        self._incoming = Incoming(self._most)
        timer = loop.call_at(deadline, self._expire)
        try:
            self._transport.writelines(request)
            return await waiter
        except BaseException:
            self.abort()
            raise
        finally:
            timer.cancel()
            self._waiter = None

    @property
    def is_open(self) -> bool:
        """Whether it can take a request."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def is_reusable(self) -> bool:
        """Whether it can take another request after the reply that came last."""
        return self._incoming is not None and self._incoming.reusable and self.is_open

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def _expire(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(TimeoutError())


class Wire:
    """Posts bodies to one address, over as many connections as requests are under way.

    Belongs to one event loop. ``most`` is the largest reply that is read, in bytes; ``timeout`` the
    seconds from the first byte sent to the last byte read, connecting included.
    """

    def __init__(self, url: URL, headers: Mapping[str, str], timeout: float, most: int) -> None:
        self._host, self._port = url.raw_host or "", url.port or 0
        self._timeout, self._most = timeout, most
        fields = {"Host": url.host_port_subcomponent or "", **headers}
        lines = [f"POST {url.raw_path_qs} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items())]
        self._head = "\r\n".join((*lines, "Content-Length: ")).encode("latin-1")
        self._tls = _tls() if url.scheme == "https" else None
        self._idle: list[_Connection] = []

    async def post(self, *pieces: bytes) -> Reply:
        """Send a body, which may come in pieces, and return what came.

        Raises UnreachableError, ssl.SSLCertVerificationError, DisconnectedError, BadHTTPError, or
        TimeoutError.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        deadline = now + self._timeout
        connection = self._take(now) or await self._connect(deadline)
        head = b"%b%d\r\n\r\n" % (self._head, sum(map(len, pieces)))
        reply = await connection.exchange((head, *pieces), deadline)
        if connection.is_reusable:
            connection.idle_since = loop.time()
            self._idle.append(connection)
        else:
            connection.abort()
        return reply

    async def aclose(self) -> None:
        """Close the connections that are idle. May be called twice."""
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.abort()
        if idle:
            await asyncio.wait([connection.gone for connection in idle], timeout=1)

    def _take(self, now: float) -> _Connection | None:
        """Return the connection used last, so that those too many for the load go stale."""
        oldest = now - KEPT_IDLE
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open and connection.idle_since >= oldest:
                return connection
            connection.abort()
        return None

    async def _connect(self, deadline: float) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(deadline):
                _, connection = await loop.create_connection(
                    lambda: _Connection(self._most), self._host, self._port, ssl=self._tls
                )
        except ssl.SSLCertVerificationError:
            raise
        except OSError as error:
            if isinstance(error, TimeoutError) and error.errno is None:
                raise  # ours; the system's own says that nobody answered there
            raise UnreachableError(f"{type(error).__name__}: {error}") from error
        return connection


def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
