"""Requests gathered into batches, each sent as one file and answered within a day.

A batch belongs to the server: when the run is stopped, it continues there, and the next run
collects its replies (see ``batch_files.py``).

Source: OpenAI's guide "Batch API".
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import orjson

from opensafemlrm.errors import EndpointDownError, ModelError
from opensafemlrm.models.clock import Clock
from opensafemlrm.models.http import batch_files
from opensafemlrm.models.http.batch_api import BatchAPI
from opensafemlrm.models.http.batch_files import BatchFile, BatchReplies
from opensafemlrm.models.http.client import Limits, Probe, Revise
from opensafemlrm.models.http.codec import Codec
from opensafemlrm.models.http.endpoint import Endpoint, secrets_of
from opensafemlrm.models.http.error_words import is_of_world
from opensafemlrm.models.http.replies import MAX_CODE_LENGTH, Reader, Timing
from opensafemlrm.types import Response, ResponseStatus, content_key

QUIET: Final = 5.0
"""Seconds without a new request after which a batch is sent."""
POLL: Final = 30.0
_MAX_REQUESTS: Final = 50_000
_MAX_BYTES: Final = 150_000_000
"""Below the 200 MB that a file may have."""
_UNDER_WAY: Final = frozenset({"validating", "in_progress", "finalizing", "cancelling"})
_MAX_UNKNOWN: Final = 10
"""Looks at a batch in a state that is none of OpenAI's, before it is given up."""
_ENDED: Final = frozenset({"completed", "expired", "cancelled"})
_PASSING: Final = frozenset({"batch_expired", "batch_cancelled"})
"""Codes of requests that were not run and may be sent again."""


@dataclass(slots=True)
class _Waiting:
    body: bytes
    max_tokens: int
    since: float
    reply: asyncio.Future[Response]


@dataclass(slots=True)
class _Batch:
    """A batch on the server. ``replies`` are those that no caller has collected yet."""

    file: BatchFile
    wanted: dict[str, _Waiting] = field(default_factory=dict)
    replies: BatchReplies | None = None
    watching: bool = False


class Batches:
    """Gives back how each request ended, as the client of single requests does.

    It belongs to one event loop.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        limits: Limits,
        clock: Clock,
        codec: Codec,
        folder: Path | None,
    ) -> None:
        if len(endpoints) > 1:
            raise ModelError(
                f"{endpoints[0].label}: a batch is kept by one server, so `batch` takes one "
                "`base_url`, not a list"
            )
        (endpoint,) = endpoints
        self._label, self._clock = endpoint.label, clock
        self._folder = folder or batch_files.default_folder()
        self._reader = Reader(codec, *secrets_of(endpoints))
        self._api = BatchAPI(endpoint, codec.path(""), limits, clock, self._reader)
        self._batches: list[_Batch] | None = None
        self._loading = asyncio.Lock()
        self._gathering: dict[str, _Waiting] = {}
        self._busy: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, body: bytes, max_tokens: int, probe: Probe, revise: Revise) -> Response:
        """Return what the body is answered with, in hours. Raises ModelError, EndpointDownError."""
        del probe  # the other requests of its batch tell whether the server is well
        response = await self._ask(body, max_tokens)
        while response.refused and (revised := revise(response.refused)) is not None:
            response = await self._ask(revised, max_tokens)
        return response

    async def _ask(self, body: bytes, max_tokens: int) -> Response:
        async with self._loading:
            if self._batches is None:
                self._batches = await self._load()
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
            elif batch.replies is not None:
                self._deliver(batch, batch.replies, key, waiting)
            else:
                self._await(batch, {key: waiting})
            return await future
        finally:
            self._busy.discard(key)
            self._gathering.pop(key, None)

    async def aclose(self) -> None:
        """Stop waiting; the server continues its batches. May be called twice."""
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._api.aclose()
        # Only now: the callers have had the time to store the replies.
        batches, self._batches = self._batches or [], None
        for batch in batches:
            for waiting in batch.wanted.values():
                waiting.reply.cancel()
            if batch.replies is not None:
                batch.file.settle(batch.file.keys & batch.replies.keys())
                batch.replies.close()

    async def _load(self) -> list[_Batch]:
        """Return the batches that earlier runs sent, those among them whose id was never noted."""
        batches = []
        for file in batch_files.load(self._folder):
            if not file.id:
                file.id = await self._api.find(file.token) or ""
                if not file.id:  # it was never made
                    file.settle(set())
                    continue
                file.save()
            batches.append(_Batch(file))
        return batches

    def _key(self, body: bytes) -> str:
        """Return the name of a request: its content, and which of several equal ones it is."""
        number = 0
        while (key := content_key(str(self._api.root), body, number).hex()) in self._busy:
            number += 1
        return key

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _gather(self) -> None:
        """Wait until no more requests come, then send all of them."""
        seen = 0
        while seen != len(self._gathering) < _MAX_REQUESTS:
            seen = len(self._gathering)
            await self._clock.sleep(QUIET)
        requests, self._gathering = self._gathering, {}
        while requests:
            chosen = _take_one_file(requests)
            try:
                batch = await self._send(chosen)
            except Exception as error:  # noqa: BLE001 # the callers raise it
                _raise_to({**chosen, **requests}, error)
                return
            self._await(batch, chosen)

    async def _send(self, requests: dict[str, _Waiting]) -> _Batch:
        file = BatchFile("", self._folder / f"{uuid.uuid4().hex}.json", set(requests))
        self._save(file, "so nothing was sent")
        try:
            bodies = {key: waiting.body for key, waiting in requests.items()}
            file.id = await self._api.create(bodies, file.token)
        except EndpointDownError:
            raise  # it may have been made: the next run looks for it
        except ModelError:
            file.settle(set())
            raise
        self._save(file, f"which the server has as {file.id}; the next run looks for it there")
        batch = _Batch(file)
        if self._batches is not None:
            self._batches.append(batch)
        return batch

    def _save(self, file: BatchFile, so: str) -> None:
        try:
            file.save()
        except OSError as error:
            raise ModelError(
                f"{self._label}: the batch cannot be noted in {self._folder}, {so}: {error}"
            ) from error

    def _await(self, batch: _Batch, requests: dict[str, _Waiting]) -> None:
        batch.wanted.update(requests)
        if not batch.watching:
            batch.watching = True
            self._spawn(self._watch(batch))

    async def _watch(self, batch: _Batch) -> None:
        """Poll until the batch has ended, and give each caller its reply."""
        try:
            state = await self._ended(batch)
            batch.replies = await self._api.replies(state, frozenset(batch.file.keys))
            for key, waiting in batch.wanted.items():
                self._deliver(batch, batch.replies, key, waiting)
        except ModelError as error:
            hint = f"; delete {batch.file.path} to send its requests again"
            with_hint = type(error)(f"{error}{hint if batch.file.path.exists() else ''}")
            _raise_to(batch.wanted, with_hint)
            return
        except Exception as error:  # noqa: BLE001 # as above
            _raise_to(batch.wanted, error)
            return
        batch.wanted.clear()

    async def _ended(self, batch: _Batch) -> dict[str, Any]:
        """Return the state of a batch once it has ended. Raises ModelError if it was refused."""
        unknown = 0
        while True:
            state = await self._api.state(batch.file.id)
            status = str(state.get("status"))
            if status in _ENDED:
                return state
            if status == "failed":
                batch.file.settle(set())
                raise ModelError(
                    f"{self._label}: the server rejected the batch {batch.file.id}: "
                    f"{self._reader.clip(_reason(state))}"
                )
            unknown = 0 if status in _UNDER_WAY else unknown + 1
            if unknown == _MAX_UNKNOWN:
                raise ModelError(
                    f"{self._label}: the server says of the batch {batch.file.id} that it is "
                    f"{self._reader.clip(status)!r}, which the Batch API does not know"
                )
            await self._clock.sleep(POLL)

    def _deliver(self, batch: _Batch, replies: BatchReplies, key: str, waiting: _Waiting) -> None:
        if waiting.reply.done():
            return  # its caller is gone; the next run collects it
        line = replies.take(key)
        batch.file.keys.discard(key)
        timing = Timing(self._clock.now() - waiting.since, 0)
        response = self._read(line, waiting.max_tokens, timing)
        of_world = is_of_world(f"{response.code} {response.detail}") or not replies.answered
        if response.status is ResponseStatus.FAILED and of_world:
            response = replace(response, transient=True)  # it may be the server, or the account
        waiting.reply.set_result(response)

    def _read(self, line: Any, max_tokens: int, timing: Timing) -> Response:
        if line is None:
            return Response.failed(
                "batch_incomplete", "the batch ended without a reply to it", transient=True
            )
        response, error = line.get("response"), line.get("error")
        if not isinstance(response, dict):
            error = error if isinstance(error, dict) else {}
            code = str(error.get("code") or "batch_error")
            detail = self._reader.clip(str(error.get("message") or "no message"))
            transient = code in _PASSING
            code = self._reader.clip(code, MAX_CODE_LENGTH)
            return Response.failed(code, detail, transient=transient)
        status, body = response.get("status_code"), orjson.dumps(response.get("body"))
        if status == 200:
            return self._reader.reply(body, max_tokens, timing)
        return self._reader.error(status if isinstance(status, int) else 500, body, timing)


def _take_one_file(requests: dict[str, _Waiting]) -> dict[str, _Waiting]:
    """Take out as many requests as one file may hold."""
    chosen: dict[str, _Waiting] = {}
    size = 0
    for key in list(requests):
        size += len(requests[key].body) + 200
        if chosen and (size > _MAX_BYTES or len(chosen) == _MAX_REQUESTS):
            break
        chosen[key] = requests.pop(key)
    return chosen


def _reason(state: Mapping[str, Any]) -> str:
    """Return why a batch failed; whatever the server sends as its errors."""
    errors = state.get("errors")
    entries = errors.get("data") if isinstance(errors, dict) else None
    reasons = [
        str(entry.get("message") or entry.get("code"))
        for entry in (entries if isinstance(entries, list) else [])[:3]
        if isinstance(entry, dict)
    ]
    return "; ".join(reasons) or "it did not say why"


def _raise_to(requests: dict[str, _Waiting], error: Exception) -> None:
    for waiting in requests.values():
        if not waiting.reply.done():
            waiting.reply.set_exception(error)
