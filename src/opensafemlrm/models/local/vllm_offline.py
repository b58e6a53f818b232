"""Checkpoints run in this process by vLLM's batch engine: ``vllm-offline/PATH``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from pydantic import Field

from opensafemlrm import images
from opensafemlrm.errors import ImageError, ModelError, is_installed
from opensafemlrm.models.local.in_process import Conversation, Engine, InProcessModel
from opensafemlrm.types import Image, Prompt, Response, Sampling, Turn

_OWN: Final = ("model", "revision", "limit_mm_per_prompt")
"""Arguments of the engine that have an option of their own here."""


@dataclass(frozen=True, slots=True)
class VLLMOffline(InProcessModel):
    """A checkpoint in this process, run by vLLM: ``vllm-offline/PATH``, by hub id or folder.

    It needs the package ``vllm`` in this environment, and no server. Requests that wait are handed
    over together, at most ``max_batch``; vLLM schedules them, and pads nothing. What the study does
    not set is vLLM's default: of the checkpoint's generation settings only the end tokens hold.
    """

    name = "vllm-offline"

    template: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """More arguments of the chat template."""
    engine: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Arguments of vLLM's engine, such as ``{max_model_len: 32768, tensor_parallel_size: 2}``."""
    images_per_prompt: Annotated[int, Field(ge=0)] | None = field(default=None, compare=False)
    """The most images that a prompt may have, where the study cannot tell (an attack searches)."""
    max_batch: Annotated[int, Field(ge=1)] = field(default=256, compare=False)

    def __post_init__(self) -> None:
        InProcessModel.__post_init__(self)
        if taken := [name for name in _OWN if name in self.engine]:
            raise ValueError(f"engine may not set {', '.join(taken)}")

    def set_image_limit(self, max_images: int | None) -> None:
        """Note how many images a prompt has at most, before the engine is loaded."""
        self._state.max_images = max_images

    def check_ready(self) -> None:
        """Raise ModelError without vLLM."""
        if not is_installed("vllm"):
            raise self._no_package()

    def _no_package(self, why: str = "") -> ModelError:
        return ModelError(
            f"{self.label} needs the package vllm in this environment: pip install vllm, or start "
            f"a server with vllm/ and `serve: true`{why}"
        )

    async def _ask(self, prompt: Prompt, sampling: Sampling) -> Response:
        try:
            messages = [_message(turn) for turn in self._turns(prompt)]
        except ImageError as error:
            return Response.failed("image_unreadable", str(error), transient=True)
        request = Conversation(messages, sampling, prompt.is_prefilled)
        # vLLM takes one way of ending the prompt for a batch.
        return await self._reply(request, 1, prompt.is_prefilled)

    def _load(self) -> Engine:
        try:
            # vLLM takes many seconds to import, and is not always there
            from opensafemlrm.models.local.vllm_engine import VLLMEngine  # noqa: PLC0415 # see above
        except ImportError as error:
            raise self._no_package(f" ({error})") from error
        template = {**(self._setup.template or {}), **self.template}
        keep = self.reasoning_format.special  # the marks would be stripped with the others
        return VLLMEngine(self.label, self._arguments(), template, keep_special_tokens=keep)

    def _arguments(self) -> dict[str, Any]:
        limit = self.images_per_prompt
        limit = self._state.max_images if limit is None else limit
        limits = {} if limit is None else {"limit_mm_per_prompt": {"image": limit}}
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
