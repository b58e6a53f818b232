"""The four calls of OpenAI's Batch API: upload a file, make a batch, look at it, fetch a file.

Source: OpenAI API reference, "Batch" and "Files".
"""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable, Mapping, Set
from typing import IO, Any, Final, TypeAlias

import aiohttp
import orjson

from opensafemlrm.errors import EndpointDownError, ModelError
from opensafemlrm.models.clock import Clock
from opensafemlrm.models.http.batch_files import BatchReplies, NotALineError
from opensafemlrm.models.http.client import Limits
from opensafemlrm.models.http.endpoint import Endpoint
from opensafemlrm.models.http.json_bodies import parse_object
from opensafemlrm.models.http.replies import Reader, Timing
from opensafemlrm.models.http.retry import backoff, retry_after
from opensafemlrm.models.http.transport import MAX_REPLY_BYTES, Timeouts, TransportError
from opensafemlrm.types import Response

_MARK: Final = "opensafemlrm"
"""The mark of a batch's metadata by which it is found again."""
_PAGE: Final = 100
_MAX_PAGES: Final = 20
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

    async def create(self, requests: Mapping[str, bytes], token: str) -> str:
        """Send requests, given as bodies by their keys, as one batch, and return its id.

        The batch carries ``token``. Where the server may have made it though its answer was lost,
        it is looked for before another one is made.
        """
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
            "metadata": {_MARK: token},
        }

        async def made() -> bytes | None:
            number = await self.find(token)
            return None if number is None else orjson.dumps({"id": number})

        return self._id(await self._call("POST", "batches", lambda: orjson.dumps(batch), made=made))

    async def find(self, token: str) -> str | None:
        """Return the id of the batch that carries ``token``, ``None`` where the server has none."""
        query = {"limit": str(_PAGE)}
        for _ in range(_MAX_PAGES):
            listed = self._object(await self._call("GET", "batches", query=query)).get("data")
            batches = [one for one in listed or () if isinstance(one, dict)]
            for batch in batches:
                marks = batch.get("metadata")
                if isinstance(marks, dict) and marks.get(_MARK) == token:
                    return self._id(orjson.dumps(batch))
            if len(batches) < _PAGE:
                break
            query["after"] = str(batches[-1].get("id"))
        return None

    async def state(self, batch: str) -> dict[str, Any]:
        """Return what the server says of a batch."""
        return self._object(await self._call("GET", f"batches/{batch}"))

    async def replies(self, state: Mapping[str, Any], requests: Set[str]) -> BatchReplies:
        """Return the replies of a batch that has ended, by the keys of its requests."""
        replies = BatchReplies(requests)
        try:
            for name in ("output_file_id", "error_file_id"):
                if state.get(name):
                    path, max_bytes = (
                        f"files/{state[name]}/content",
                        _MAX_LINE * (1 + len(requests)),
                    )
                    draft = replies.draft()
                    start = draft.tell()
                    await self._call("GET", path, max_bytes=max_bytes, into=draft)
                    replies.index(start)
        except NotALineError as error:
            replies.close()
            raise self._not_the_api(str(error).encode()) from error
        except BaseException:
            replies.close()
            raise
        return replies

    async def aclose(self) -> None:
        """Close the connections. May be called twice."""
        await self._transport.aclose()

    def _id(self, body: bytes) -> str:
        number = self._object(body).get("id")
        # It is noted on disk: what holds a secret, or is cut, is no id.
        if not isinstance(number, str) or not number or self._reader.clip(number) != number:
            raise self._not_the_api(body)
        return number

    def _object(self, body: bytes) -> dict[str, Any]:
        value = parse_object(body)
        if value is None:
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
        query: Mapping[str, str] | None = None,
        max_bytes: int = MAX_REPLY_BYTES,
        into: IO[bytes] | None = None,
        made: Callable[[], Awaitable[bytes | None]] | None = None,
    ) -> bytes:
        """Return the body of a reply with status 200, asking again where that can help.

        What makes something on the server says how to look for it: it is not ``made`` twice.
        """
        url = self.root.with_path(f"{self.root.path.rstrip('/')}/{path}", keep_query=True)
        url = url.update_query(query or {})
        start = 0 if into is None else into.tell()
        tries = 0
        while True:
            headers: Mapping[str, str] = {}
            if into is not None:
                into.seek(start)
                into.truncate()
            if tries and made is not None and (body := await made()) is not None:
                return body
            try:
                reply = await self._transport.request(
                    method, url, data(), max_bytes=max_bytes, into=into, once=made is not None
                )
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
