"""The four calls of OpenAI's Batch API: upload a file, make a batch, look at it, fetch a file.

Source: OpenAI API reference, "Batch" and "Files".
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import aiohttp
import orjson

from opensafemlrm.errors import EndpointDownError, ModelError
from opensafemlrm.models.clock import Clock
from opensafemlrm.models.http.client import Limits
from opensafemlrm.models.http.endpoint import Endpoint
from opensafemlrm.models.http.replies import Reader, Timing
from opensafemlrm.models.http.retry import backoff, retry_after
from opensafemlrm.models.http.transport import MAX_REPLY_BYTES, Timeouts, TransportError
from opensafemlrm.types import Response

_MAX_LINE: Final = 2**20
"""Bytes that a batch's replies may have for each of its requests."""

_Data: TypeAlias = Callable[[], bytes | aiohttp.FormData | None]
"""Makes what is sent, anew for each try: a form can be sent once."""


class BatchAPI:
    """Calls a server's Batch API, again where that can help. It belongs to one event loop.

    Every method raises ModelError where the server turns the call down or answers with something
    else, and EndpointDownError where it does not answer.
    """

    def __init__(
        self, endpoint: Endpoint, path: str, limits: Limits, clock: Clock, reader: Reader
    ) -> None:
        root = endpoint.url.path.removesuffix(path)
        self.root = endpoint.url.with_path(root, keep_query=True)
        self._label, self._path = endpoint.label, f"/v1{path}"
        self._limits, self._clock, self._reader = limits, clock, reader
        # A file of replies takes its time; only silence is a timeout.
        self._transport = endpoint.open(Timeouts(read=limits.timeout))

    async def create(self, requests: Mapping[str, bytes]) -> str:
        """Send requests, given as bodies by their keys, as one batch, and return its id."""
        lines = b"\n".join(
            b'{"custom_id":"%b","method":"POST","url":"%b","body":%b}'
            % (key.encode(), self._path.encode(), body)
            for key, body in requests.items()
        )

        def form() -> aiohttp.FormData:
            data = aiohttp.FormData({"purpose": "batch"})
            file = io.BytesIO(lines)
            jsonl = "application/jsonl"
            data.add_field("file", file, filename="requests.jsonl", content_type=jsonl)
            return data

        uploaded = await self._call("POST", "files", form)
        batch = {
            "input_file_id": self._id(uploaded),
            "endpoint": self._path,
            "completion_window": "24h",
        }
        return self._id(await self._call("POST", "batches", lambda: orjson.dumps(batch)))

    async def state(self, batch: str) -> dict[str, Any]:
        """Return what the server says of a batch."""
        return self._object(await self._call("GET", f"batches/{batch}"))

    async def lines(self, state: Mapping[str, Any], requests: int) -> dict[str, dict[str, Any]]:
        """Return the replies of a batch that has ended, by the keys of its requests."""
        lines: dict[str, dict[str, Any]] = {}
        for name in ("output_file_id", "error_file_id"):
            if state.get(name):
                path, max_bytes = f"files/{state[name]}/content", _MAX_LINE * (1 + requests)
                content = await self._call("GET", path, max_bytes=max_bytes)
                entries = (self._object(line) for line in content.splitlines() if line.strip())
                lines |= {str(entry.get("custom_id")): entry for entry in entries}
        return lines

    async def aclose(self) -> None:
        """Close the connections. May be called twice."""
        await self._transport.aclose()

    def _id(self, body: bytes) -> str:
        number = self._object(body).get("id")
        if not isinstance(number, str) or not number:
            raise self._not_the_api(body)
        return number

    def _object(self, body: bytes) -> dict[str, Any]:
        try:
            value = orjson.loads(body)
        except orjson.JSONDecodeError:
            value = None
        if not isinstance(value, dict):
            raise self._not_the_api(body)
        return value

    def _not_the_api(self, body: bytes) -> ModelError:
        return ModelError(
            f"{self._label}: {self.root.with_query(None)} does not speak the Batch API; it sent: "
            f"{self._reader.clip(body[:500].decode('utf-8', 'replace'))}"
        )

    async def _call(
        self,
        method: str,
        path: str,
        data: _Data = lambda: None,
        *,
        max_bytes: int = MAX_REPLY_BYTES,
    ) -> bytes:
        """Return the body of a reply with status 200, asking again where that can help."""
        url = self.root.with_path(f"{self.root.path.rstrip('/')}/{path}", keep_query=True)
        tries = 0
        while True:
            headers: Mapping[str, str] = {}
            try:
                reply = await self._transport.request(method, url, data(), max_bytes=max_bytes)
            except TransportError as error:
                detail = self._reader.clip(str(error))
                response = Response.failed(error.code, detail, transient=error.transient)
            else:
                if reply.status == 200 and reply.body is not None:
                    return reply.body
                headers = reply.headers
                body = reply.body or b"the reply is too large"
                response = self._reader.error(reply.status, body, Timing(0.0, tries))
            why = (
                f"{self._label}: {method} {url.with_query(None)}: {response.code}: "
                f"{response.detail}"
            )
            if not response.transient:
                raise ModelError(why)
            tries += 1
            if tries > self._limits.max_retries:
                raise EndpointDownError(f"{why}. Run again later: batches under way are kept")
            wait = retry_after(headers, self._clock.wall())
            await self._clock.sleep(wait or backoff(tries, self._clock.jitter()))
