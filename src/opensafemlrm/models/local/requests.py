"""What goes into a loaded checkpoint, and what comes out. Needs neither torch nor vLLM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from opensafemlrm.types import Response, Sampling, Turn

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
