"""Models that speak Chat Completions: ``openai/NAME``, and ``openrouter/VENDOR/NAME``.

OpenRouter gives reasoning as ``reasoning`` and ``reasoning_details``, which say whether it is text,
a summary or encrypted. Source: OpenRouter's API reference, "Chat completion" and "Reasoning
tokens".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from opensafemlrm.components import Model
from opensafemlrm.models.hosted.chat import ChatCodec, ImageDetail, MaxTokensField
from opensafemlrm.models.hosted.model import HostedModel
from opensafemlrm.models.http.batches import Batches
from opensafemlrm.models.http.client import Client, Limits
from opensafemlrm.models.http.endpoint import Endpoint
from opensafemlrm.models.names import is_closed
from opensafemlrm.types import JSON, Capability


@dataclass(frozen=True, slots=True)
class ChatModel(HostedModel):
    """A model that speaks Chat Completions."""

    capabilities = frozenset({Capability.JSON_SCHEMA})

    max_tokens_field: MaxTokensField = "max_tokens"
    image_detail: ImageDetail | None = None

    @property
    def codec(self) -> ChatCodec:
        """How the vendor's requests are written and its replies read."""
        return ChatCodec(self.max_tokens_field, self.image_detail)

    def with_json_schema(self, response_format: Mapping[str, JSON]) -> Model:
        """Return the model with a ``response_format`` in every request, where it is taken."""
        model = replace(self, extra_body={**self.extra_body, "response_format": response_format})
        object.__setattr__(model, "_is_schema_asked", True)
        return model


@dataclass(frozen=True, slots=True)
class OpenAICompatible(ChatModel):
    """A model on an OpenAI-compatible server: ``openai/NAME``.

    ``base_url`` is the server's address up to and with ``/v1``; without it ``OPENAI_BASE_URL`` is
    used, and after that OpenAI's own. The key is in ``OPENAI_API_KEY``.
    """

    name = "openai"
    vendor_key_env: ClassVar[str] = "OPENAI_API_KEY"
    default_url: ClassVar[str] = "https://api.openai.com/v1"
    url_env: ClassVar[str | None] = "OPENAI_BASE_URL"

    batch: bool = field(default=False, compare=False)
    """Send requests in batches, which are answered within a day and cost less; ``concurrency`` is
    how many may be in one."""
    batch_folder: Path | None = field(default=None, compare=False)
    """Where batches under way are noted; in your state folder if not given."""

    def unbatched(self) -> Model:
        """Return the model without batches."""
        return replace(self, batch=False) if self.batch else self

    def _client(self, endpoints: Sequence[Endpoint], limits: Limits) -> Client | Batches:
        if not self.batch:
            return HostedModel._client(self, endpoints, limits)
        self._state.parameters.expect(self.model, self.codec, self.extra_body)
        return Batches(endpoints, limits, self._state.clock, self.codec, self.batch_folder)


@dataclass(frozen=True, slots=True)
class OpenRouter(ChatModel):
    """A model that OpenRouter passes requests on to: ``openrouter/VENDOR/NAME``.

    The key is in ``OPENROUTER_API_KEY``. Who serves the model may change between requests; pin it
    with ``extra_body: {provider: {order: [NAME], allow_fallbacks: false}}``.
    """

    name = "openrouter"
    vendor_key_env: ClassVar[str] = "OPENROUTER_API_KEY"
    default_url: ClassVar[str] = "https://openrouter.ai/api/v1"

    @property
    def codec(self) -> ChatCodec:
        """How requests are written and replies read: closed vendors' traces are summaries."""
        return ChatCodec(self.max_tokens_field, self.image_detail, is_closed(self.model))
