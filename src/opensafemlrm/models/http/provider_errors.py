"""Error bodies of providers: what they say, in whatever shape, and what follows from it.

The shapes are OpenAI's ``{"error": {"message", "type", "code"}}`` and its relatives: the error as a
string or a list, or JSON once more inside of a string (gateways); the outer object left out (vLLM,
Mistral); ``detail`` (FastAPI), ``errors`` (Cloudflare), ``innererror`` (Azure), ``metadata``
(OpenRouter), ``base_resp`` (MiniMax), ``Response.Error`` (Tencent), a list around all of it
(Gemini), and each of them with status 200 as well. What a body repeats of the request is not read:
it may be harmful, and its words would be taken for the server's.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Final

from opensafemlrm.models.http import error_words

_MAY_PASS: Final = frozenset({408, 409, 413, 420, 423, 424, 425, 429, 449, 499})
"""Statuses below 500 that say that the same request may succeed, in a moment or on a server that
takes larger ones."""
_BLOCKING_STATUSES: Final = frozenset({200, 400, 403, 406, 422, 446, 451})
"""Statuses whose message alone may say that a content filter turned the prompt down."""
_TEXTS: Final = frozenset(
    {"message", "msg", "detail", "error", "errors", "error_msg", "errormsg", "errormessage",
     "error_message", "error_description", "status_msg", "statusmessage", "description", "reason",
     "title", "faultstring", "raw", "details"}
)  # fmt: skip
"""Fields that hold what is said to people; names are compared in lower case."""
_CODES: Final = frozenset(
    {"code", "type", "status", "error_code", "errorcode", "err_code", "status_code", "statuscode",
     "__type", "reason", "error_type", "quotaid", "stop_reason", "stopreason"}
)  # fmt: skip
_AROUND: Final = frozenset(
    {"error", "errors", "detail", "details", "innererror", "inner_error", "metadata", "base_resp",
     "response", "fault", "body", "raw", "cause", "violations", "header", "message"}
)  # fmt: skip
"""Fields that hold more of the error."""
_MAX_DEPTH: Final = 8
_MAX_TEXTS: Final = 6
_MAX_LENGTH: Final = 2000
"""Characters of a message that are read; more of it is the request, repeated."""
_REPEATED: Final = re.compile(r"(\binput_(value|type)\s*=|['\"]input['\"]\s*:).*", re.DOTALL)
"""Where pydantic's messages begin to repeat the request."""
_TAG: Final = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>", re.DOTALL | re.IGNORECASE)
_LIMIT: Final = re.compile(r"limit:?\s*(\d[\d,]*).{0,60}?requested:?\s*(\d[\d,]*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ProviderError:
    """What an error body says."""

    code: str
    message: str
    transient: bool
    """Whether asking again can help. Where it is false, the client decides by what others of the
    same form get: what is wrong with the account, the server or its flags can be fixed."""
    blocked_by: str | None = None
    """The filter's code, where the provider's content filter turned the prompt down."""


@dataclass(slots=True)
class _Parts:
    """What was read of a body, the outermost first."""

    texts: list[str] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    flagged: bool = False


def read(payload: Any, status: int) -> ProviderError:
    """Read the parsed body, or the text, of an error that came with the HTTP status ``status``."""
    parts = _Parts()
    _read(payload, parts, 0)
    message = ": ".join(parts.texts)
    if status == 200:
        status = _status_meant(parts.codes)
    if blocked_by := _blocked_by(parts, message, status):
        return ProviderError("blocked", message, transient=False, blocked_by=blocked_by)
    words = " ".join([*parts.codes, message])
    if status == 429 and _is_larger_than_allowed(message):
        return ProviderError(error_words.TOO_LARGE, message, transient=True)
    if code := error_words.cause(words, status):
        return ProviderError(code, message, transient=True)
    if (code := error_words.named(parts.codes)) and code.casefold() not in message.casefold():
        message = f"{message} ({code})" if message else code
    if status == 200:
        return ProviderError("provider_error", message, transient=True)
    passes = status in _MAY_PASS or status >= 500 or error_words.is_overload(words)
    return ProviderError(f"http_{status}", message, transient=passes)


def says_error(payload: Any) -> bool:
    """Whether a body that came with status 200, and holds no reply, says that something failed."""
    parts = _Parts()
    _read(payload, parts, 0)
    return bool(parts.texts)


def _read(value: Any, parts: _Parts, depth: int) -> None:
    """Gather messages and codes from a body or a part of one."""
    if depth > _MAX_DEPTH or len(parts.texts) >= _MAX_TEXTS:
        return
    if isinstance(value, str):
        _read_text(value, parts, depth)
    elif isinstance(value, list):
        for inner in value[:10]:
            _read(inner, parts, depth + 1)
    elif isinstance(value, dict):
        _read_fields(value, parts, depth)


def _read_fields(fields: dict[str, Any], parts: _Parts, depth: int) -> None:
    parts.flagged = parts.flagged or bool(fields.get("flagged_input"))  # OpenRouter; not kept
    ordered = sorted(fields.items(), key=lambda pair: isinstance(pair[1], dict | list))
    for name, value in ordered:
        key = str(name).casefold()
        if key in _CODES and isinstance(value, str | int) and not isinstance(value, bool):
            parts.codes.append(str(value)[:_MAX_LENGTH])
        elif isinstance(value, dict | list):
            if key in _AROUND:
                _read(value, parts, depth + 1)
        elif key in _TEXTS:
            _read(value, parts, depth + 1)


def _read_text(text: str, parts: _Parts, depth: int) -> None:
    """Gather a message; one that holds JSON is read as that, with the words before it."""
    text = _REPEATED.sub("", text[: 4 * _MAX_LENGTH])
    before, inner = _json_within(text)
    if inner is not None:
        text = before
    if "<" in text:
        text = _TAG.sub(" ", text)
    text = " ".join(text[:_MAX_LENGTH].split()).rstrip(" -:,;")
    if text and not any(text in known for known in parts.texts):
        parts.texts.append(text)
    if inner is not None:
        _read(inner, parts, depth + 1)


def _json_within(text: str) -> tuple[str, Any]:
    """Return what stands before JSON in ``text``, and the JSON, ``None`` where there is none."""
    for start in (text.find("{"), text.find("[{")):
        if start < 0:
            continue
        for decode in (json.JSONDecoder().raw_decode, _python_literal):
            try:
                value, _ = decode(text[start:])
            except (ValueError, RecursionError):
                continue
            if isinstance(value, dict | list) and value:
                return text[:start], value
    return text, None


def _python_literal(text: str) -> tuple[Any, int]:
    """Read a dictionary as Python prints it, which gateways pass on: quotes changed, no more."""
    plain = re.sub(r"\bNone\b", "null", text).replace("True", "true").replace("False", "false")
    return json.JSONDecoder().raw_decode(plain.replace("'", '"'))


def _status_meant(codes: list[str]) -> int:
    """Return the status that a body with status 200 names, 200 where it names none."""
    for code in codes:
        if code.isascii() and code.isdigit() and len(code) == 3 and 400 <= int(code) < 600:
            return int(code)
    return 200


def _blocked_by(parts: _Parts, message: str, status: int) -> str | None:
    passes = status == 429 or status >= 500
    for code in parts.codes:
        if error_words.is_filter_code(code) and not (passes and error_words.is_overload(message)):
            return code
    if status not in _BLOCKING_STATUSES:
        return None
    if parts.flagged:
        return "moderation"
    return error_words.filter_in(message, parts.codes)


def _is_larger_than_allowed(message: str) -> bool:
    """Whether a rate limit is one that this request alone is over: it can never succeed."""
    numbers = _LIMIT.search(message)
    if numbers is not None:
        limit, requested = (int(number.replace(",", "")) for number in numbers.groups())
        return requested > limit
    return error_words.is_too_large(message)
