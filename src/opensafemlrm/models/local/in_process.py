"""What models in this process share: requests, one loaded engine, and the batches that it runs.

Needs neither torch nor vLLM.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol, TypeAlias

from pydantic import Field

from opensafemlrm.errors import SafeMLRMError
from opensafemlrm.models.base import CatalogModel
from opensafemlrm.models.batching import Batcher, Job, TooLargeError
from opensafemlrm.types import Capability, Response, Sampling, Turn

Result: TypeAlias = "Response | tuple[float, ...]"
"""A reply, or the log-probabilities of the given tokens."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to load and ask a checkpoint; see :class:`~opensafemlrm.models.local.hf.HuggingFace`."""

    path: str
    label: str
    revision: str | None
    dtype: str
    quantization: str | None
    template: Mapping[str, Any]
    processor: Mapping[str, Any]
    raw: bool
    trust_remote_code: bool
    device: str
    attention: str | None


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt. With ``tokens``, the result is their log-probabilities in place of a reply."""

    turns: tuple[Turn, ...]
    sampling: Sampling
    tokens: tuple[str, ...] = ()
    is_prefilled: bool = False
    """Whether the last turn begins the reply."""

    @property
    def has_images(self) -> bool:
        """Whether any part is an image."""
        return any(not isinstance(part, str) for turn in self.turns for part in turn.parts)


@dataclass(frozen=True, slots=True)
class Conversation:
    """One prompt for vLLM, in the shape of Chat Completions."""

    messages: list[dict[str, Any]]
    sampling: Sampling
    is_prefilled: bool


class Engine(Protocol):
    """A loaded checkpoint."""

    def run(self, requests: list[Any]) -> Sequence[Result]:
        """Run a batch. Raises TooLargeError if it does not fit into memory."""
        ...

    def stop(self) -> None:
        """End the batch that runs as soon as that can be; may be called from any thread."""
        ...

    def free(self) -> None:
        """Let go of the weights."""
        ...


class State:
    """What changes while a model is in use."""

    def __init__(self) -> None:
        self.engine: Engine | None = None
        self.batcher: Batcher[Any, Result] | None = None
        self.loading: asyncio.Lock | None = None
        self.failure: SafeMLRMError | None = None
        self.max_images: int | None = None


@dataclass(frozen=True, slots=True)
class InProcessModel(CatalogModel):
    """A checkpoint, loaded at the first request; requests come one by one and run in batches."""

    capabilities = frozenset({Capability.PREFILL, Capability.STOP})
    billed = False
    in_process = True

    max_batch: Annotated[int, Field(ge=1)] = field(default=16, compare=False)
    """Requests in a batch."""
    _state: State = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        CatalogModel.__post_init__(self)
        object.__setattr__(self, "_state", State())

    @property
    def concurrency(self) -> int:
        """Two batches: while one runs, the next one gathers."""
        return 2 * self.max_batch

    async def aclose(self) -> None:
        """Stop the batch that runs, and free the memory. May be called twice."""
        state = self._state
        if state.engine is not None:
            state.engine.stop()
        if state.batcher is not None:
            await state.batcher.aclose()
        if state.engine is not None:
            state.engine.free()
        state.engine = state.batcher = state.loading = state.failure = None

    async def _run(self, request: Any, size: int, group: Hashable) -> Result:
        """Return what came of one request; see :class:`~opensafemlrm.models.batching.Job`."""
        batcher = self._state.batcher or await self._open()
        try:
            return await batcher.ask(Job(request, size, group))
        except TooLargeError as error:
            return Response.failed("out_of_memory", str(error), transient=True)

    async def _reply(self, request: Any, size: int, group: Hashable) -> Response:
        result = await self._run(request, size, group)
        if not isinstance(result, Response):
            raise TypeError("the engine returned scores in place of a reply")
        return result

    async def _open(self) -> Batcher[Any, Result]:
        state = self._state
        state.loading = state.loading or asyncio.Lock()
        async with state.loading:
            if state.failure is not None:  # requests that waited do not each try to load it
                raise state.failure
            if state.batcher is None:
                try:
                    state.engine = engine = await asyncio.to_thread(self._load)
                except SafeMLRMError as error:
                    state.failure = error
                    raise
                state.batcher = Batcher(engine.run, self.max_batch, self._batch_budget)
            return state.batcher

    @abstractmethod
    def _load(self) -> Engine:
        """Load the checkpoint. Raises MissingExtraError, ModelError."""

    @property
    def _batch_budget(self) -> int:
        """What a batch may cost: the size of its largest request for each of them."""
        return self.max_batch
