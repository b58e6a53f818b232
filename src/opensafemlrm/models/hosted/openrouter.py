"""Models behind OpenRouter: ``openrouter/VENDOR/NAME``.

Its shape is Chat Completions; reasoning comes as ``reasoning`` and ``reasoning_details``, which
say whether it is text, a summary or encrypted. Source: OpenRouter's API reference, "Chat
completion" and "Reasoning tokens".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from opensafemlrm.models.hosted.chat import ChatCodec
from opensafemlrm.models.hosted.openai_compatible import ChatModel
from opensafemlrm.models.names import is_closed


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
