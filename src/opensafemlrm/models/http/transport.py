"""HTTP to one server, over aiohttp: a body out, a whole reply in, or an error that says what broke.

What a server sends is not trusted: a reply is bounded in size, however it is framed or compressed,
and redirects are not followed. docs/models.md says why aiohttp does the work.
"""

from __future__ import annotations

import asyncio
import io
import os
import ssl
from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any, ClassVar, Final, NamedTuple
from weakref import WeakSet

import aiohttp
import aiohttp_socks
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from yarl import URL

from opensafemlrm.models.http.error_words import UNFINISHED

CONNECT_TIMEOUT: Final = 15.0
"""Seconds until a connection must stand, with name lookup, proxy and TLS."""
MAX_REPLY_BYTES: Final = 10 * 2**20 + 2**16
"""Read as JSON, text beyond the basic plane takes six times as much: 64 MB in all."""
_MAX_IDLE: Final = 15.0
"""Seconds after which an idle connection is not trusted to be open any more."""
_MAX_PLAIN_BODY: Final = 2**20
"""Bytes up to which aiohttp takes a body in one piece."""
_UNKNOWN_AUTHORITY: Final = (18, 19, 20, 21)
"""OpenSSL's verification codes for a certificate that no known authority has signed."""
_TLS_HINT: Final = "if the port speaks TLS, base_url begins with https://"
_TRANSFERS: Final = ("", "chunked", "identity", "identity,chunked")
"""Transfer codings that are read: no request asks for another (RFC 9112, section 7.4)."""
_SOCKS_ERRORS: Final = (
    aiohttp_socks.ProxyError,
    aiohttp_socks.ProxyConnectionError,
    aiohttp_socks.ProxyTimeoutError,
)
_ERRORS: Final = (aiohttp.ClientError, OSError, UnicodeError, *_SOCKS_ERRORS)
"""What a request may end with; UnicodeError for a host that no name lookup takes."""


class TransportError(Exception):
    """A request that brought no reply."""

    code: ClassVar[str]
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


_IS_REUSED: Final[ContextVar[bool]] = ContextVar("_IS_REUSED")
"""Whether the connection that this task was given last had served a request before.

aiohttp's tracing tells this as well, and costs every request a tenth of its CPU time.
"""


class _Connector(aiohttp.TCPConnector):
    """A pool that reuses no connection on which unrequested data has arrived.

    aiohttp would take it for the reply to the next request. It notes which connections it reuses.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._used: WeakSet[object] = WeakSet()

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 # the base's parameter
    ) -> Connection:
        """Return a connection for ``req``, of the pool or new."""
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol = connection.protocol
            if protocol is None or not protocol.should_close:
                is_reused = protocol in self._used
                if not is_reused:
                    self._used.add(protocol)
                _IS_REUSED.set(is_reused)
                return connection
            connection.close()


class _SocksConnector(_Connector, aiohttp_socks.ProxyConnector):
    """The same, through a SOCKS proxy."""


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
        self._patience = timeouts.total or timeouts.read or 0.0
        self._connect_timeout = min(CONNECT_TIMEOUT, timeouts.total or CONNECT_TIMEOUT)
        self._session: aiohttp.ClientSession | None = None
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
            _IS_REUSED.set(False)
            try:
                return await self._send(method, url, data, max_bytes, into)
            except _ERRORS as error:
                failure = self._failure(error)
                if url.scheme == "http" and _may_be_tls(error):
                    failure = type(failure)(f"{failure}; {_TLS_HINT}")
                dropped = isinstance(failure, DisconnectedError) and _IS_REUSED.get()
                if not (can_repeat and dropped):
                    raise failure from error
            can_repeat = False

    async def aclose(self) -> None:
        """Close the connections. May be called twice."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
            await asyncio.sleep(0)  # aiohttp's transports close in the loop's next round

    async def _send(
        self,
        method: str,
        url: URL,
        data: bytes | aiohttp.FormData | None,
        max_bytes: int,
        into: IO[bytes] | None,
    ) -> Reply:
        session = self._session or self._open()
        if self._tls is None and url.scheme == "https":
            # Not aiohttp's own, which knows the SSL_CERT_FILE of the moment of its import.
            self._tls = ssl.create_default_context()
        headers = self._headers
        body: object = data
        if isinstance(data, bytes):
            headers = self._json_headers
            body = data if len(data) <= _MAX_PLAIN_BODY else io.BytesIO(data)
        async with session.request(
            method,
            url,
            data=body,
            headers=headers,
            allow_redirects=False,
            ssl=self._tls or True,
        ) as reply:
            _IS_REUSED.set(False)  # the reply has begun: it may be paid for
            coding = reply.headers.get("Transfer-Encoding", "")
            if coding.lower().replace(" ", "") not in _TRANSFERS:
                reply.close()
                raise BadHTTPError(
                    f"the reply is transferred as {coding!r}, which nobody asked for"
                )
            try:
                body = await _read(reply, max_bytes, into if reply.status == 200 else None)
            except TimeoutError as error:
                raise UnfinishedError(
                    f"a reply with status {reply.status} began, and did not end within "
                    f"{self._patience:g} s ({reply.content.total_bytes:,} bytes came); if the "
                    "model is slow, give it a longer `timeout`"
                ) from error
            return Reply(reply.status, body, reply.headers)

    def _open(self) -> aiohttp.ClientSession:
        proxy, timeouts = self._proxy, self._timeouts
        socks = proxy is not None and proxy.scheme.startswith("socks")
        if proxy is not None and socks:
            connector: aiohttp.TCPConnector = _SocksConnector.from_url(
                str(proxy.with_scheme(proxy.scheme.removesuffix("h"))),
                rdns=proxy.scheme == "socks5h",
                limit=0,
                keepalive_timeout=_MAX_IDLE,
            )
        else:
            connector = _Connector(limit=0, keepalive_timeout=_MAX_IDLE)
        connect = self._connect_timeout
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            proxy=None if socks else proxy,
            timeout=aiohttp.ClientTimeout(
                timeouts.total, connect=connect, sock_connect=connect, sock_read=timeouts.read
            ),
        )
        return self._session

    def _failure(self, error: Exception) -> TransportError:
        """Return what an error means, in words that hold no password of a proxy and no key."""
        cause = error.__cause__
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
            case aiohttp.ClientResponseError(message=message):
                kind, reason = BadHTTPError, message  # alone: the rest holds the address
            case _:
                kind, reason = BadHTTPError, f"{type(error).__name__}: {error}"
        return kind(reason)


async def _read(
    reply: aiohttp.ClientResponse, max_bytes: int, into: IO[bytes] | None
) -> bytes | None:
    """Return the body, or ``None`` if it is too large; then the connection is given up."""
    if (reply.content_length or 0) > max_bytes:
        reply.close()
        return None
    pieces, size = [], 0
    while piece := await reply.content.readany():
        size += len(piece)
        if size > max_bytes:
            reply.close()
            return None
        if into is None:
            pieces.append(piece)
        else:
            into.write(piece)
    return b"".join(pieces)


def _may_be_tls(error: Exception) -> bool:
    """Whether plain HTTP ended as it does at a port that speaks TLS: closed, or with an alert."""
    if isinstance(error, aiohttp.ClientResponseError):
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
