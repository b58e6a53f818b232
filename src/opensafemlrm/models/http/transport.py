"""HTTP to one server, over aiohttp: a body out, a whole reply in, or an error that says what broke.

What a server sends is not trusted: a reply is bounded in size, however it is framed or compressed,
and redirects are not followed. docs/models.md says why aiohttp does the work.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import IO, ClassVar, Final, NamedTuple
from weakref import WeakSet

import aiohttp
import aiohttp_socks
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.helpers import TimerNoop
from aiohttp.http import HttpProcessingError, RawResponseMessage
from yarl import URL

from opensafemlrm.models.http.deadlines import Deadlines
from opensafemlrm.models.http.error_words import UNFINISHED

CONNECT_TIMEOUT: Final = 15.0
"""Seconds until a connection must stand, with name lookup, proxy and TLS."""
MAX_REPLY_BYTES: Final = 10 * 2**20 + 2**16
"""Read as JSON, text beyond the basic plane takes six times as much: 64 MB in all."""
_MAX_IDLE: Final = 15.0
"""Seconds after which an idle connection is not trusted to be open any more."""
_UNKNOWN_AUTHORITY: Final = (18, 19, 20, 21)
"""OpenSSL's verification codes for a certificate that no known authority has signed."""
_TLS_HINT: Final = "if the port speaks TLS, base_url begins with https://"
_TRANSFERS: Final = ("chunked", "identity", "identity,chunked")
"""Transfer codings that are read: no request asks for another (RFC 9112, section 7.4)."""
_SOCKS_ERRORS: Final = (
    aiohttp_socks.ProxyError,
    aiohttp_socks.ProxyConnectionError,
    aiohttp_socks.ProxyTimeoutError,
)
_ERRORS: Final = (
    *(aiohttp.ClientError, HttpProcessingError, OSError, UnicodeError),
    *_SOCKS_ERRORS,
)
"""What a request may end with; UnicodeError for a host that no name lookup takes."""


class TransportError(Exception):
    """A request that brought no reply."""

    code: ClassVar[str]
    is_stale: bool = False
    """Whether it went out on a connection that had idled, which the server may have closed."""
    transient: ClassVar[bool] = True
    """Whether the same request may succeed later."""


class ConnectError(TransportError):
    """There is no connection to the server, or to its proxy."""

    code = "connection"


class CertificateError(ConnectError):
    """The server's certificate is not trusted; nothing was sent."""

    code = "certificate"
    transient = False


class ProxyLoginError(ConnectError):
    """The proxy wants a user and a password, or others."""

    code = "http_407"
    transient = False


class ReadTimeoutError(TransportError):
    """The connection stands, and no whole reply came in time."""

    code = "timeout"


class UnfinishedError(ReadTimeoutError):
    """A reply began, and did not end in time: it is paid for, and the next may take as long."""

    code = UNFINISHED


class DisconnectedError(TransportError):
    """The connection ended before the reply did."""

    code = "disconnected"


class BadHTTPError(TransportError):
    """What came is not a reply in HTTP."""

    code = "bad_http"


class Reply(NamedTuple):
    """What a server sent."""

    status: int
    body: bytes | None
    """``None`` where it is larger than allowed; then the connection was given up."""
    headers: Mapping[str, str]
    """Names are found in any case."""


class Timeouts(NamedTuple):
    """Seconds, beside CONNECT_TIMEOUT."""

    total: float | None = None
    """For a whole request."""
    read: float | None = None
    """Between one piece of a reply and the next."""


class Transport:
    """Sends requests to one server, over as many connections as requests are under way.

    It belongs to one event loop. ``headers`` go to the server, and never to the proxy.
    """

    def __init__(
        self, headers: Mapping[str, str], timeouts: Timeouts, proxy: URL | None = None
    ) -> None:
        # aiohttp sends a session's headers to the proxy as well, a request's to the server alone.
        self._headers, self._json_headers = headers, {**headers, "Content-Type": "application/json"}
        self._timeouts, self._proxy = timeouts, proxy
        self._is_socks = proxy is not None and proxy.scheme.startswith("socks")
        self._patience = timeouts.total or timeouts.read or 0.0
        self._deadlines = None if timeouts.total is None else Deadlines(timeouts.total)
        self._connect_timeout = connect = min(CONNECT_TIMEOUT, timeouts.total or CONNECT_TIMEOUT)
        self._connecting = aiohttp.ClientTimeout(connect=connect, sock_connect=connect)
        self._connector: aiohttp.TCPConnector | None = None
        self._used: WeakSet[object] = WeakSet()
        """Connections that have served a request."""
        self._json_request: aiohttp.ClientRequest | None = None
        """Says where requests with JSON go, and what they begin with: mostly the same for all."""
        self._head = b""
        self._tls: ssl.SSLContext | None = None

    async def request(
        self,
        method: str,
        url: URL,
        data: bytes | aiohttp.FormData | None = None,
        *,
        max_bytes: int = MAX_REPLY_BYTES,
        into: IO[bytes] | None = None,
        once: bool = False,
    ) -> Reply:
        """Send JSON, a form or nothing, and return the reply, whatever its status.

        With ``into``, the body of a reply with status 200 is written to that file, and the reply's
        own is empty. Where the server had dropped the idle connection that the request went out
        on, it is sent again, once; not a form, and not what may be sent only ``once``. Raises
        TransportError.
        """
        can_repeat = not (once or isinstance(data, aiohttp.FormData))
        while True:
            try:
                return await self._send(method, url, data, max_bytes, into)
            except TransportError as error:
                if not (can_repeat and error.is_stale):
                    raise
            can_repeat = False

    async def aclose(self) -> None:
        """Close the connections. May be called twice."""
        connector, self._connector = self._connector, None
        if connector is not None:
            if self._deadlines is not None:
                self._deadlines.close()
            await connector.close()
            await asyncio.sleep(0)  # aiohttp's transports close in the loop's next round

    async def _send(
        self,
        method: str,
        url: URL,
        data: bytes | aiohttp.FormData | None,
        max_bytes: int,
        into: IO[bytes] | None,
    ) -> Reply:
        started = None if self._deadlines is None else self._deadlines.start()
        timer = TimerNoop() if started is None else started
        connection = begun = None
        is_idle = False
        try:
            with timer:
                request = self._request(method, url, data)
                connection, protocol = await self._connect(request)
                is_idle = protocol in self._used
                self._used.add(protocol)
                begun = await self._exchange(request, connection, protocol, data)
                message, payload = begun
                coding = message.headers.get("Transfer-Encoding", "")
                if coding and coding.lower().replace(" ", "") not in _TRANSFERS:
                    raise BadHTTPError(f"it is transferred as {coding!r}, which nobody asked for")
                into = into if message.code == 200 else None
                body = await _read(message.headers, payload, max_bytes, into)
            if _is_sent(protocol, data):
                connection.release()  # which closes it unless the reply was read to its end
            return Reply(message.code, body, message.headers)
        except _ERRORS as error:
            if begun is not None and isinstance(error, TimeoutError):
                raise UnfinishedError(
                    f"a reply with status {begun[0].code} began, and did not end within "
                    f"{self._patience:g} s ({begun[1].total_bytes:,} bytes came); if the "
                    "model is slow, give it a longer `timeout`"
                ) from error
            failure = self._failure(error)
            if url.scheme == "http" and _may_be_tls(error):
                failure = type(failure)(f"{failure}; {_TLS_HINT}")
            if begun is None:  # one that has begun may be paid for
                failure.is_stale = is_idle and isinstance(failure, DisconnectedError)
            raise failure from error
        finally:
            if connection is not None:
                connection.close()  # unless it is free for others
            if self._deadlines is not None and started is not None:
                self._deadlines.end(started)

    def _request(self, method: str, url: URL, data: object) -> aiohttp.ClientRequest:
        """Return what aiohttp connects by."""
        is_json = isinstance(data, bytes)
        last = self._json_request
        if is_json and last is not None and last.url is url and last.method == method:
            return last
        if self._tls is None and url.scheme == "https":
            # Not aiohttp's own, which knows the SSL_CERT_FILE of the moment of its import.
            self._tls = ssl.create_default_context()
        request = aiohttp.ClientRequest(
            method,
            url,
            headers=self._json_headers if is_json else self._headers,
            data=None if is_json else data,
            loop=asyncio.get_running_loop(),
            proxy=None if self._is_socks else self._proxy,
            ssl=self._tls or True,
        )
        if is_json:
            self._json_request, self._head = request, b""
        return request

    async def _connect(self, request: aiohttp.ClientRequest) -> tuple[Connection, ResponseHandler]:
        """Return a connection, of the pool or new; none on which something came unasked: aiohttp
        would take it for the reply.
        """
        connector = self._connector or self._open()
        while True:
            try:
                connection = await connector.connect(request, [], self._connecting)
            except TimeoutError as error:
                raise aiohttp.ConnectionTimeoutError from error
            protocol = connection.protocol
            if protocol is not None and not protocol.should_close:
                return connection, protocol
            connection.close()

    async def _exchange(
        self,
        request: aiohttp.ClientRequest,
        connection: Connection,
        protocol: ResponseHandler,
        data: bytes | aiohttp.FormData | None,
    ) -> tuple[RawResponseMessage, aiohttp.StreamReader]:
        """Send a request, and return the head of the reply with the stream of its body.

        A session of aiohttp's does the same in twice the time, most of it for what is not used
        here: cookies, redirects, tracing, a timer and a task for each request.
        """
        protocol.set_response_params(read_until_eof=True, read_timeout=self._timeouts.read)
        if isinstance(data, aiohttp.FormData):
            await request.send(connection)
        else:
            head = (request is self._json_request and self._head) or _head_of(request)
            if request is self._json_request:
                self._head = head
            body = data or b""
            if body or request.method != "GET":
                head += b"Content-Length: %d\r\n" % len(body)
            if protocol.transport is None or protocol.transport.is_closing():
                raise aiohttp.ClientConnectionResetError("the connection is closed")
            protocol.transport.writelines((head + b"\r\n", body))
            protocol.start_timeout()
        while True:
            message, payload = await protocol.read()
            if message.code >= 200 or message.code == 101:  # those before announce another
                return message, payload

    def _open(self) -> aiohttp.TCPConnector:
        proxy = self._proxy
        if proxy is not None and self._is_socks:
            self._connector = aiohttp_socks.ProxyConnector.from_url(
                str(proxy.with_scheme(proxy.scheme.removesuffix("h"))),
                rdns=proxy.scheme == "socks5h",
                limit=0,
                keepalive_timeout=_MAX_IDLE,
            )
        else:
            self._connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_MAX_IDLE)
        return self._connector

    def _failure(self, error: Exception) -> TransportError:
        """Return what an error means, in words that hold no password of a proxy and no key."""
        cause = error.__cause__ or error
        if isinstance(cause, ssl.SSLCertVerificationError):
            return CertificateError(_certificate_advice(cause))
        address = f"the proxy {self._proxy.host}:{self._proxy.port}" if self._proxy else ""
        through = f" through {address}" if address else ""
        kind: type[TransportError]
        match error:
            case aiohttp.ClientHttpProxyError(status=407):
                kind, reason = ProxyLoginError, f"{address} answered 407"
            case aiohttp.ClientHttpProxyError(status=status):
                kind, reason = ConnectError, f"{address} answered {status}"
            case aiohttp.ConnectionTimeoutError() | aiohttp_socks.ProxyTimeoutError():
                kind = ConnectError
                reason = f"no connection within {self._connect_timeout:g} s{through}"
            case TimeoutError():
                reason = f"no reply within {self._patience:g} s; give the model a longer `timeout`"
                kind = ReadTimeoutError
            case aiohttp.ClientConnectorError(os_error=reached):
                kind, reason = ConnectError, f"{type(reached).__name__}: {reached}{through}"
            case UnicodeError() | aiohttp_socks.ProxyError() | aiohttp_socks.ProxyConnectionError():
                kind, reason = ConnectError, f"{error}{through}"
            case aiohttp.ClientConnectionError() | aiohttp.ClientPayloadError() | OSError():
                kind, reason = DisconnectedError, f"{type(error).__name__}: {error}"
            case (
                HttpProcessingError(message=message) | aiohttp.ClientResponseError(message=message)
            ):
                kind, reason = BadHTTPError, message  # alone: the rest holds the address
            case _:
                kind, reason = BadHTTPError, f"{type(error).__name__}: {error}"
        return kind(reason)


async def _read(
    headers: Mapping[str, str],
    payload: aiohttp.StreamReader,
    max_bytes: int,
    into: IO[bytes] | None,
) -> bytes | None:
    """Return the body, or ``None`` if it is too large; then the rest is left unread."""
    if int(headers.get("Content-Length", 0)) > max_bytes:
        return None
    pieces, size = [], 0
    while piece := await payload.readany():
        size += len(piece)
        if size > max_bytes:
            return None
        if into is None:
            pieces.append(piece)
        else:
            into.write(piece)
    return b"".join(pieces)


def _head_of(request: aiohttp.ClientRequest) -> bytes:
    """Return what a request begins with, less the length of its body."""
    is_whole = request.proxy is not None and not request.is_ssl()
    target = str(request.url) if is_whole else request.url.raw_path_qs
    headers = [(name, value) for name, value in request.headers.items() if name != "Content-Length"]
    lines = [f"{request.method} {target} HTTP/1.1", *map(": ".join, headers), ""]
    return "\r\n".join(lines).encode()


def _is_sent(protocol: ResponseHandler, data: object) -> bool:
    """Whether a request went out whole: a server may reply before it has read all of it."""
    transport = protocol.transport
    is_form = isinstance(data, aiohttp.FormData)
    return transport is None or not (is_form or transport.get_write_buffer_size())


def _may_be_tls(error: Exception) -> bool:
    """Whether plain HTTP ended as it does at a port that speaks TLS: closed, or with an alert."""
    if isinstance(error, HttpProcessingError | aiohttp.ClientResponseError):
        return "\\x15\\x03" in error.message
    return isinstance(error, aiohttp.ServerDisconnectedError)


def _certificate_advice(error: ssl.SSLCertVerificationError) -> str:
    reason = error.verify_message.rstrip(".")
    if error.verify_code not in _UNKNOWN_AUTHORITY:
        return reason
    path = os.environ.get("SSL_CERT_FILE")
    if path and not Path(path).is_file():
        return f"{reason}; SSL_CERT_FILE names {path}, which is not there"
    return (
        f"{reason}; if your network has a certificate authority of its own, set SSL_CERT_FILE to "
        "a file that holds its certificate (PEM)"
    )
