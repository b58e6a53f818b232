"""Checkpoints run in this process by vLLM's batch engine: ``vllm-offline/PATH``."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import Field

from opensafemlrm import images
from opensafemlrm.components import Model
from opensafemlrm.errors import ImageError, ModelError, UnknownNameError
from opensafemlrm.models import identity as _identity
from opensafemlrm.models.batching import Batcher, Job
from opensafemlrm.models.catalog import Setup
from opensafemlrm.models.stages import in_stages
from opensafemlrm.reasoning import FORMATS
from opensafemlrm.types import (
    JSON,
    Capability,
    Image,
    Prompt,
    Response,
    Sampling,
    Turn,
)

if TYPE_CHECKING:
    from opensafemlrm.models.local.vllm_engine import Engine

_OWN: Final = ("model", "revision", "limit_mm_per_prompt")
"""Arguments of the engine that have an option of their own here."""


@dataclass(frozen=True, slots=True)
class Request:
    """One conversation, in the shape of Chat Completions."""

    messages: list[dict[str, Any]]
    sampling: Sampling
    is_prefilled: bool


class _State:
    """What changes while a model is in use: the loaded engine, and its batches."""

    def __init__(self) -> None:
        self.max_images: int | None = None
        self.engine: Engine | None = None
        self.batcher: Batcher[Request, Response] | None = None
        self.loading: asyncio.Lock | None = None


@dataclass(frozen=True, slots=True)
class VLLMOffline(Model):
    """A checkpoint in this process, run by vLLM: ``vllm-offline/PATH``, by hub id or folder.

    It needs the package ``vllm`` in this environment, and no server. Requests that wait are handed
    over together, at most ``max_batch``; vLLM schedules them, and pads nothing. What the study does
    not set is vLLM's default: of the checkpoint's generation settings only the end tokens hold.
    """

    name = "vllm-offline"
    capabilities = frozenset({Capability.PREFILL, Capability.STOP})
    billed = False
    in_process = True

    model: str
    revision: str | None = None
    """A commit, a tag or a branch of the hub; part of identity and label."""
    system_prompt: str | None = None
    """Put before the prompt's own system message; replaces what the catalogue would put there."""
    thinking: bool | None = None
    """Turns the reasoning of a model on or off whose switch the catalogue knows."""
    template: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """More arguments of the chat template."""
    engine: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Arguments of vLLM's engine, such as ``{max_model_len: 32768, tensor_parallel_size: 2}``."""
    alias: str | None = field(default=None, compare=False)
    format: str = field(default="auto", compare=False)
    catalog: str | None = field(default=None, compare=False)
    """The row of the catalogue that it is, if its path does not say; ``none`` for no row."""
    images_per_prompt: Annotated[int, Field(ge=0)] | None = field(default=None, compare=False)
    """The most images that a prompt may have, where the study cannot tell (an attack searches)."""
    max_batch: Annotated[int, Field(ge=1)] = field(default=256, compare=False)
    _state: _State = field(init=False, repr=False, compare=False)
    _setup: Setup = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise UnknownNameError("reasoning format", self.format, FORMATS)
        if taken := [name for name in _OWN if name in self.engine]:
            raise ValueError(f"engine may not set {', '.join(taken)}")
        setup = Setup.of(self.model, self.catalog, thinking=self.thinking)
        object.__setattr__(self, "_setup", setup)
        object.__setattr__(self, "_state", _State())

    @property
    def label(self) -> str:
        """``vllm-offline/PATH``, with what sets it apart from the same model asked plainly."""
        return _identity.label(self) if self.alias is None else self.alias

    @property
    def concurrency(self) -> int:
        """Two batches: while one runs, the next one gathers."""
        return 2 * self.max_batch

    @property
    def reasoning_format(self) -> str:
        """The format given; else the one its name is known by; else ``auto``, detected."""
        return self._setup.format if self.format == "auto" else self.format

    def identity(self) -> Mapping[str, JSON]:
        """Return name, version, model, and those options that change replies and are set."""
        return {**_identity.identity(self), **self._setup.identity()}

    def set_image_limit(self, max_images: int | None) -> None:
        """Note how many images a prompt has at most, before the engine is loaded."""
        self._state.max_images = max_images

    async def generate(self, prompt: Prompt, sampling: Sampling) -> Response:
        """Reply to ``prompt``. A last turn of the assistant's is gone on from.

        Raises ModelError without vLLM, or where the checkpoint cannot be loaded.
        """
        if self._setup.stages:
            return await in_stages(self._ask, prompt, sampling, self._setup.stages)
        return await self._ask(prompt, sampling)

    async def aclose(self) -> None:
        """Wait for the batch that runs, and free the memory. May be called twice."""
        state = self._state
        if state.batcher is not None:
            await state.batcher.aclose()
        if state.engine is not None:
            state.engine.free()
        state.engine = state.batcher = state.loading = None

    async def _ask(self, prompt: Prompt, sampling: Sampling) -> Response:
        batcher = self._state.batcher or await self._open()
        try:
            messages = [_message(turn) for turn in self._setup.turns(prompt, self.system_prompt)]
        except ImageError as error:
            return Response.failed("image_unreadable", str(error), transient=True)
        # vLLM takes one way of ending the prompt for a batch.
        request = Request(messages, sampling, prompt.is_prefilled)
        return await batcher.ask(Job(request, 1, prompt.is_prefilled))

    async def _open(self) -> Batcher[Request, Response]:
        state = self._state
        state.loading = state.loading or asyncio.Lock()
        async with state.loading:
            if state.batcher is None:
                try:
                    # vLLM takes many seconds to import, and is not always there
                    from opensafemlrm.models.local.vllm_engine import Engine  # noqa: PLC0415 # see above
                except ImportError as error:
                    raise ModelError(
                        f"{self.label} needs the package vllm in this environment: pip install "
                        f"vllm, or start a server with vllm/ and `serve: true` ({error})"
                    ) from error
                template = {**(self._setup.template or {}), **self.template}
                engine = await asyncio.to_thread(Engine, self.label, self._arguments(), template)
                state.engine = engine
                state.batcher = Batcher(engine.run, self.max_batch, self.max_batch)
            return state.batcher

    def _arguments(self) -> dict[str, Any]:
        most = self.images_per_prompt
        most = self._state.max_images if most is None else most
        limits = {} if most is None else {"limit_mm_per_prompt": {"image": most}}
        at = {} if self.revision is None else {"revision": self.revision}
        return {"model": self.model, **at, **limits, **self.engine}


def _message(turn: Turn) -> dict[str, Any]:
    if not any(isinstance(part, Image) for part in turn.parts):
        return {"role": turn.role, "content": turn.text}
    return {"role": turn.role, "content": [_part(part) for part in turn.parts]}


def _part(part: str | Image) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    return {"type": "image_url", "image_url": {"url": images.data_uri(part)}}
