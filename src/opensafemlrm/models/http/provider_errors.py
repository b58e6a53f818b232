"""Error bodies of providers: what they say, and whether a content filter wrote them.

The shapes are OpenAI's ``{"error": {"message", "type", "code"}}`` and its relatives: Azure puts
the filter's name in ``innererror``, vLLM and FastAPI leave the outer object out, xAI makes
``error`` a string, OpenRouter reports moderation in ``metadata`` of a 403 and sends some errors
with status 200.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

_RETRIED: Final = frozenset({408, 409, 429})
_BLOCKING_CODES: Final = (
    "contentfilter",  # OpenAI, Azure, Moonshot
    "contentpolicy",  # OpenAI
    "contentmoderation",
    "moderationblocked",  # OpenAI, images
    "responsibleaipolicy",  # Azure, in innererror
    "datainspection",  # DashScope
    "sensitivecontent",  # Volcengine
)
_BLOCKING_MESSAGES: Final = {
    "content exists risk": "content_exists_risk",  # DeepSeek
    "content violates usage guidelines": "usage_guidelines",  # xAI
    "violating our usage policy": "usage_policy",  # OpenAI's reasoning models
    "content management policy": "content_management_policy",  # Azure
    "blocked by content filtering policy": "content_filtering_policy",  # Anthropic
    "datainspectionfailed": "data_inspection_failed",  # DashScope
}
_BLOCKING_STATUSES: Final = frozenset({200, 400, 403, 422, 451})


@dataclass(frozen=True, slots=True)
class ProviderError:
    """What an error body says."""

    code: str
    message: str
    transient: bool
    blocked_by: str | None = None
    """The filter's code, where the provider's content filter turned the prompt down."""


def read(payload: Any, status: int) -> ProviderError:
    """Read the parsed body of an error that came with the HTTP status ``status``."""
    error = payload.get("error", payload) if isinstance(payload, dict) else payload
    outer = payload if isinstance(payload, dict) else {}
    inner = error if isinstance(error, dict) else {}
    message = _message(error)
    codes = [
        value
        for source in (inner.get("innererror"), inner, outer)
        if isinstance(source, dict)
        for value in (source.get("code"), source.get("type"))
        if isinstance(value, str) and value
    ]
    if status == 200:
        # The status that the provider meant is in the body, if anywhere.
        meant = inner.get("code")
        status = meant if type(meant) is int and 400 <= meant < 600 else status
    blocked_by = _blocked_by(codes, message, inner.get("metadata"), status)
    if blocked_by:
        return ProviderError("blocked", message, transient=False, blocked_by=blocked_by)
    if "insufficient_quota" in codes:
        return ProviderError("insufficient_quota", message, transient=False)
    if status == 200:
        return ProviderError("provider_error", message, transient=True)
    return ProviderError(f"http_{status}", message, transient=status in _RETRIED or status >= 500)


def _message(error: Any) -> str:
    if isinstance(error, str):
        return error
    if not isinstance(error, dict):
        return ""
    for key in ("message", "detail", "msg"):
        value = error.get(key)
        if isinstance(value, str):
            return value
        if isinstance(value, list):  # FastAPI lists what is wrong with each field
            reasons = [entry.get("msg") for entry in value if isinstance(entry, dict)]
            return "; ".join(reason for reason in reasons if isinstance(reason, str))
    return ""


def _blocked_by(codes: list[str], message: str, metadata: Any, status: int) -> str | None:
    for code in codes:
        plain = "".join(letter for letter in code.casefold() if letter.isalnum())
        if any(marker in plain for marker in _BLOCKING_CODES):
            return code
    if status not in _BLOCKING_STATUSES:
        return None
    if isinstance(metadata, dict) and metadata.get("flagged_input"):
        return "moderation"  # OpenRouter; the flagged text itself is not kept
    folded = message.casefold()
    return next((code for words, code in _BLOCKING_MESSAGES.items() if words in folded), None)
