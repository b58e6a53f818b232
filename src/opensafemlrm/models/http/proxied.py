"""The same as ``_wire.py`` through a proxy, for which a general HTTP client does the work."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Mapping
from typing import Final

import aiohttp
from yarl import URL

from opensafemlrm.models.http.wire import BadHTTPError, DisconnectedError, Reply, UnreachableError

_MAX_PLAIN_BODY: Final = 2**20
"""Bodies above this are handed over as a stream: aiohttp writes them in pieces, and warns else."""


class Proxied:
    """Posts bodies to one address through a proxy. Belongs to one event loop."""

    def __init__(
        self, url: URL, headers: Mapping[str, str], timeout: float, most: int, proxy: str
    ) -> None:
        self._url, self._most = url, most
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=timeout),
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            proxy=proxy,
        )

    async def post(self, *pieces: bytes) -> Reply:
        """Send a body and return what came. Raises what Wire.post raises."""
        body = b"".join(pieces)
        data = body if len(body) <= _MAX_PLAIN_BODY else io.BytesIO(body)
        try:
            async with self._session.post(self._url, data=data, allow_redirects=False) as reply:
                return Reply(reply.status, await self._read(reply), _head(reply))
        except aiohttp.ClientConnectorCertificateError as error:
            raise error.certificate_error from error
        except TimeoutError:
            raise
        except aiohttp.ClientConnectorError as error:
            raise UnreachableError(f"{type(error).__name__}: {error}") from error
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, OSError) as error:
            raise DisconnectedError(f"{type(error).__name__}: {error}") from error
        except aiohttp.ClientError as error:
            raise BadHTTPError(f"{type(error).__name__}: {error}") from error

    async def aclose(self) -> None:
        """Close the connections. May be called twice."""
        await self._session.close()
        await asyncio.sleep(0)

    async def _read(self, reply: aiohttp.ClientResponse) -> bytes | None:
        """Return the body, or ``None`` if it is too large; then the connection is given up."""
        pieces, size = [], 0
        async for piece in reply.content.iter_any():
            pieces.append(piece)
            size += len(piece)
            if size > self._most:
                reply.close()
                return None
        return b"".join(pieces)


def _head(reply: aiohttp.ClientResponse) -> bytes:
    lines = (b"HTTP/1.1", *(b"%b: %b" % field for field in reply.raw_headers))
    return b"\r\n".join(lines)
