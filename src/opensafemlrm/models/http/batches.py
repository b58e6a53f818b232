"""OpenAI's Batch API: requests are gathered, sent as one file, and answered within a day.

A batch belongs to the server: when the run is stopped, it goes on there, and the next run, which
asks the same, takes its replies from it (see ``batch_files.py``).

Source: OpenAI API reference, "Batch" and "Files"; guide "Batch API".
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import aiohttp
import orjson

from opensafemlrm.errors import EndpointDownError, ModelError
from opensafemlrm.models.http import batch_files
from opensafemlrm.models.http.batch_files import BatchFile
from opensafemlrm.models.http.client import Limits
from opensafemlrm.models.http.endpoint import Endpoint
from opensafemlrm.models.http.replies import Reader, Timing
from opensafemlrm.models.http.retry import Clock, backoff, retry_after
from opensafemlrm.models.http.transport import (
    MAX_REPLY_BYTES,
    Timeouts,
    Transport,
    TransportError,
)
from opensafemlrm.types import Response, content_key

QUIET: Final = 5.0
"""Seconds without a new request after which a batch is sent."""
POLL: Final = 30.0
_MAX_REQUESTS: Final = 50_000
_MAX_BYTES: Final = 150_000_000
"""Below the 200 MB that a file may have."""
_MAX_LINE: Final = 2**20
"""Bytes that a batch's replies may have for each of its requests."""
_ENDED: Final = frozenset({"completed", "expired", "cancelled"})
_PASSING: Final = frozenset({"batch_expired", "batch_cancelled"})
"""Codes of requests that were not run and may be sent again."""


_Data: TypeAlias = Callable[[], bytes | aiohttp.FormData | None]
"""Makes what is sent, anew for each try: a form can be sent once."""


@dataclass(slots=True)
class _Waiting:
    body: bytes
    max_tokens: int
    since: float
    reply: asyncio.Future[Response]


@dataclass(slots=True)
class _Batch:
    """A batch on the server. ``lines`` are its replies that nobody has asked for yet."""

    file: BatchFile
    wanted: dict[str, _Waiting] = field(default_factory=dict)
    lines: dict[str, Any] | None = None
    watching: bool = False


class Batches:
    """Gives back how each request ended, as the client of single requests does.

    It belongs to one event loop.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        path: str,
        folder: Path,
        limits: Limits,
        clock: Clock,
        reader: type[Reader],
    ) -> None:
        self._endpoint, self._path, self._limits = endpoint, path, limits
        root = endpoint.url.path.removesuffix(path)
        self._root = endpoint.url.with_path(root, keep_query=True)
        self._folder, self._clock = folder, clock
        self._reader = reader(*endpoint.secrets())
        self._batches: list[_Batch] | None = None
        self._transport: Transport | None = None
        self._gathering: dict[str, _Waiting] = {}
        self._busy: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, body: bytes, max_tokens: int) -> Response:
        """Return what the body is answered with, in hours. Raises ModelError, EndpointDownError."""
        if self._batches is None:
            self._batches = [_Batch(file) for file in batch_files.load(self._folder)]
        key = self._key(body)
        self._busy.add(key)
        future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        waiting = _Waiting(body, max_tokens, self._clock.now(), future)
        try:
            batch = next((b for b in self._batches if key in b.file.keys), None)
            if batch is None:
                self._gathering[key] = waiting
                if len(self._gathering) == 1:
                    self._spawn(self._gather())
            elif batch.lines is not None:
                self._deliver(batch, key, waiting)
            else:
                self._await(batch, {key: waiting})
            return await future
        finally:
            self._busy.discard(key)
            self._gathering.pop(key, None)

    async def aclose(self) -> None:
        """Stop waiting; what the server has under way goes on there. May be called twice."""
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.aclose()
        # Only now: whoever asked has had the time to store the replies.
        batches, self._batches = self._batches or [], None
        for batch in batches:
            for waiting in batch.wanted.values():
                waiting.reply.cancel()
            if batch.lines is not None:
                batch.file.settle(batch.file.keys & batch.lines.keys())

    def _key(self, body: bytes) -> str:
        """Return the name of a request: its content, and which of several equal ones it is."""
        number = 0
        while (key := content_key(str(self._root), body, number).hex()) in self._busy:
            number += 1
        return key

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _gather(self) -> None:
        """Wait until nobody adds a request, then send all of them."""
        seen = 0
        while seen != len(self._gathering) and not self._is_full():
            seen = len(self._gathering)
            await self._clock.sleep(QUIET)
        requests, self._gathering = self._gathering, {}
        while requests:
            some = _first(requests)
            try:
                batch = await self._send(some)
            except ModelError as error:
                _raise_to({**some, **requests}, error)
                return
            self._await(batch, some)

    def _is_full(self) -> bool:
        return len(self._gathering) >= _MAX_REQUESTS

    async def _send(self, requests: dict[str, _Waiting]) -> _Batch:
        address = f"/v1{self._path}"
        lines = b"\n".join(
            b'{"custom_id":"%b","method":"POST","url":"%b","body":%b}'
            % (key.encode(), address.encode(), waiting.body)
            for key, waiting in requests.items()
        )

        def form() -> aiohttp.FormData:
            data = aiohttp.FormData({"purpose": "batch"})
            data.add_field(
                "file",
                io.BytesIO(lines),
                filename="requests.jsonl",
                content_type="application/jsonl",
            )
            return data

        uploaded = await self._json("POST", "files", form)
        asked = {
            "input_file_id": uploaded["id"],
            "endpoint": address,
            "completion_window": "24h",
        }
        created = await self._json("POST", "batches", lambda: orjson.dumps(asked))
        number = str(created["id"])
        path = self._folder / f"{content_key(str(self._root), number).hex()}.json"
        batch = _Batch(BatchFile(number, path, set(requests)))
        batch.file.save()
        if self._batches is not None:
            self._batches.append(batch)
        return batch

    def _await(self, batch: _Batch, requests: dict[str, _Waiting]) -> None:
        batch.wanted.update(requests)
        if not batch.watching:
            batch.watching = True
            self._spawn(self._watch(batch))

    async def _watch(self, batch: _Batch) -> None:
        """Look until the batch has ended, and give everybody their reply."""
        try:
            batch.lines = await self._lines(batch, await self._ended(batch))
        except ModelError as error:
            hint = f"; delete {batch.file.path} to send its requests again"
            told = type(error)(f"{error}{hint if batch.file.path.exists() else ''}")
            _raise_to(batch.wanted, told)
            return
        for key, waiting in batch.wanted.items():
            self._deliver(batch, key, waiting)
        batch.wanted.clear()

    async def _ended(self, batch: _Batch) -> dict[str, Any]:
        """Return the state of a batch once it has ended. Raises ModelError if it was refused."""
        while True:
            state = await self._json("GET", f"batches/{batch.file.id}")
            if state.get("status") in _ENDED:
                return state
            if state.get("status") == "failed":
                batch.file.settle(set())
                raise ModelError(
                    f"{self._endpoint.label}: the server turned the batch {batch.file.id} down: "
                    f"{self._reader.clip(_errors(state))}"
                )
            await self._clock.sleep(POLL)

    async def _lines(self, batch: _Batch, state: dict[str, Any]) -> dict[str, Any]:
        lines: dict[str, Any] = {}
        max_bytes = _MAX_LINE * (1 + len(batch.file.keys))
        for name in ("output_file_id", "error_file_id"):
            if state.get(name):
                content = await self._call(
                    "GET", f"files/{state[name]}/content", max_bytes=max_bytes
                )
                for line in content.splitlines():
                    if line.strip():
                        entry = self._object(line)
                        lines[str(entry.get("custom_id"))] = entry
        return lines

    def _deliver(self, batch: _Batch, key: str, waiting: _Waiting) -> None:
        if waiting.reply.done():
            return  # nobody waits any more; the next run may
        line = (batch.lines or {}).pop(key, None)
        batch.file.keys.discard(key)
        timing = Timing(self._clock.now() - waiting.since, 0)
        waiting.reply.set_result(self._read(line, waiting.max_tokens, timing))

    def _read(self, line: Any, max_tokens: int, timing: Timing) -> Response:
        if line is None:
            return Response.failed(
                "batch_incomplete", "the batch ended without a reply to it", transient=True
            )
        response, error = line.get("response"), line.get("error")
        if not isinstance(response, dict):
            error = error if isinstance(error, dict) else {}
            code = str(error.get("code") or "batch_error")
            said = self._reader.clip(str(error.get("message") or "no message"))
            passing = code in _PASSING
            return Response.failed(self._reader.clip(code, 100), said, transient=passing)
        status, body = response.get("status_code"), orjson.dumps(response.get("body"))
        if status == 200:
            return self._reader.reply(body, max_tokens, timing)
        return self._reader.error(status if isinstance(status, int) else 500, body, timing)

    async def _json(self, method: str, path: str, data: _Data = lambda: None) -> dict[str, Any]:
        return self._object(await self._call(method, path, data))

    def _object(self, body: bytes) -> dict[str, Any]:
        try:
            found = orjson.loads(body)
        except orjson.JSONDecodeError:
            found = None
        if not isinstance(found, dict):
            raise ModelError(
                f"{self._endpoint.label}: {self._root.with_query(None)} does not speak the Batch "
                f"API; it sent: {self._reader.clip(body[:500].decode('utf-8', 'replace'))}"
            )
        return found

    async def _call(
        self,
        method: str,
        path: str,
        data: _Data = lambda: None,
        *,
        max_bytes: int = MAX_REPLY_BYTES,
    ) -> bytes:
        """Return the body of a reply with status 200, asking again where that can help."""
        url = self._root.with_path(f"{self._root.path.rstrip('/')}/{path}", keep_query=True)
        # A file of replies takes its time; only silence is a timeout.
        timeouts = Timeouts(read=self._limits.timeout)
        transport = self._transport = self._transport or self._endpoint.open(timeouts)
        tries = 0
        while True:
            headers: Mapping[str, str] = {}
            try:
                reply = await transport.request(method, url, data(), max_bytes=max_bytes)
            except TransportError as error:
                detail = self._reader.clip(str(error))
                response = Response.failed(error.code, detail, transient=error.transient)
            else:
                if reply.body is None:
                    response = Response.failed(
                        "too_large", f"over {max_bytes:,} bytes", transient=False
                    )
                elif reply.status == 200:
                    return reply.body
                else:
                    response = self._reader.error(reply.status, reply.body, Timing(0.0, tries))
                    headers = reply.headers
            why = (
                f"{self._endpoint.label}: {method} {url.with_query(None)}: {response.code}: "
                f"{response.detail}"
            )
            if not response.transient:
                raise ModelError(why)
            tries += 1
            if tries > self._limits.max_retries:
                raise EndpointDownError(f"{why}. Run again later: batches under way are kept")
            wait = retry_after(headers, self._clock.wall())
            await self._clock.sleep(wait or backoff(tries, self._clock.jitter()))


def _first(requests: dict[str, _Waiting]) -> dict[str, _Waiting]:
    """Take out as many requests as one file may hold."""
    some: dict[str, _Waiting] = {}
    size = 0
    for key in list(requests):
        size += len(requests[key].body) + 200
        if some and (size > _MAX_BYTES or len(some) == _MAX_REQUESTS):
            break
        some[key] = requests.pop(key)
    return some


def _errors(state: dict[str, Any]) -> str:
    errors = (state.get("errors") or {}).get("data") or []
    said = [str(error.get("message") or error.get("code")) for error in errors[:3]]
    return "; ".join(said) or "it did not say why"


def _raise_to(requests: dict[str, _Waiting], error: ModelError) -> None:
    for waiting in requests.values():
        if not waiting.reply.done():
            waiting.reply.set_exception(error)
