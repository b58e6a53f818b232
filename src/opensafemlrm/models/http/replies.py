"""What a Chat Completions server sent, read into a :class:`~opensafemlrm.types.Response`.

Servers are not trusted to keep to the documented shape: whatever they send becomes a reply, a
block or a failure with a code, never an exception, and never text that the model did not write.

Shapes read: OpenAI (``refusal``, ``completion_tokens_details``), Azure (``innererror``), vLLM and
SGLang (``reasoning``, ``reasoning_content``), DeepSeek (``reasoning_content``), OpenRouter
(``reasoning_details``, errors in a 200, moderation in a 403), Mistral (``thinking`` parts).
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

import orjson

from opensafemlrm.models.http import provider_errors as errors
from opensafemlrm.types import Response, ResponseStatus, Usage

DETAIL_LENGTH: Final = 300
"""Most characters of a server's own message that are kept."""
_CODE_LENGTH: Final = 100
_CUT: Final = frozenset({"length", "max_tokens", "model_context_window_exceeded"})
_FILTERED: Final = frozenset(
    {"content_filter", "safety", "image_safety", "recitation", "prohibited_content", "blocklist",
     "spii", "sensitive"}
)  # fmt: skip
_PLAIN_ENDS: Final = frozenset({"stop", "length"})
"""What nearly every reply ends with: looked up before anything else is asked about it."""
_BROKEN_OFF: Final = frozenset({"error", "abort", "network_error", "insufficient_system_resource"})
_NOT_STRICT: Final = "the server's JSON is not strict; U+FFFD stands for what is not Unicode"


class UnusableError(Exception):
    """A reply that holds no text of the model."""

    def __init__(self, code: str, detail: str, *, transient: bool, blocked: bool = False) -> None:
        self.code, self.detail, self.transient, self.blocked = code, detail, transient, blocked


class Timing(NamedTuple):
    """What is known of a request before its reply is read."""

    latency: float = 0.0
    retries: int = 0


class ParsedReply(NamedTuple):
    """What a whole reply says, whichever vendor's shape it had."""

    status: ResponseStatus
    text: str
    reasoning: str | None = None
    is_summary: bool = False
    is_hidden: bool = False
    finish: str | None = None
    code: str | None = None
    usage: Usage = Usage()
    left_out: tuple[str, ...] = ()
    """Parts of the reply that are no text of the model."""


class ReasoningText(NamedTuple):
    """The reasoning that a server had split off, and what it says of it."""

    text: str | None
    summary: bool = False
    hidden: bool = False


class Reader:
    """Reads bodies. ``secrets`` are struck out of everything that is not the model's own text, and
    ``keys`` out of that too: a server that echoes a key must not get it into a store.
    """

    def __init__(self, secrets: tuple[str, ...] = (), keys: tuple[str, ...] = ()) -> None:
        self._secrets = secrets
        self._keys = tuple(key.encode() for key in keys)

    def clip(self, text: str, length: int = DETAIL_LENGTH) -> str:
        """Return ``text`` on one line, without secrets, storable, at most ``length`` long."""
        for secret in self._secrets:
            text = text.replace(secret, "[secret]")
        text = " ".join(_mended(text).replace("\0", " ").split())
        return text if len(text) <= length else text[: length - 1] + "…"

    def reply(self, body: bytes, max_tokens: int, timing: Timing) -> Response:
        """Read the body of a reply with status 200."""
        try:
            return self._reply(self._without_keys(body), max_tokens, timing)
        except UnusableError as why:
            return self._without_text(why, timing)

    def error(self, status: int, body: bytes, timing: Timing) -> Response:
        """Read the body of a reply with any other status."""
        body = self._without_keys(body)
        try:
            payload, _ = parse(body)
        except UnusableError:
            payload = body[: 4 * DETAIL_LENGTH].decode("utf-8", "replace")
        return self._without_text(refused(payload, status), timing)

    def _without_keys(self, body: bytes) -> bytes:
        for key in self._keys:
            body = body.replace(key, b"[secret]")
        return body

    def _without_text(self, why: UnusableError, timing: Timing) -> Response:
        return Response(
            ResponseStatus.BLOCKED if why.blocked else ResponseStatus.FAILED,
            code=self.clip(why.code, _CODE_LENGTH) or "unknown",
            detail=self.clip(why.detail),
            transient=why.transient,
            latency=timing.latency,
            retries=timing.retries,
        )

    def _reply(self, body: bytes, max_tokens: int, timing: Timing) -> Response:
        payload, note = parse(body)
        said = self.said(payload, max_tokens)
        if said.status is ResponseStatus.FAILED:
            why = f"the server broke off: {said.finish}"
            raise UnusableError("aborted", why, transient=True)
        notes = [note] if note else []
        notes += [f"not kept: {', '.join(said.left_out)}"] if said.left_out else []
        finish = said.finish
        if finish and finish not in _PLAIN_ENDS:
            finish = self.clip(finish, _CODE_LENGTH)
        return Response(
            said.status,
            said.text,
            said.reasoning,
            said.is_summary,
            said.is_hidden,
            finish,
            said.usage,
            timing.latency,
            timing.retries,
            self.clip(said.code, _CODE_LENGTH) if said.code else None,
            self.clip("; ".join(notes)) if notes else None,
        )

    def said(self, payload: Any, max_tokens: int) -> ParsedReply:
        """Return what the parsed body says. Raises UnusableError where it says nothing usable."""
        choice, message = _first_choice(payload)
        text, thinking, left_out = _content(message.get("content"))
        usage = _usage(payload.get("usage"))
        thought = _thought(message, thinking, usage)
        refusal = message.get("refusal")
        if not text and isinstance(refusal, str):
            text = refusal  # the model's own words, which the provider put elsewhere
        finish = choice.get("finish_reason")
        finish = finish if isinstance(finish, str) and finish else None
        status, code = ending(finish, usage, max_tokens)
        if message.get("tool_calls") and not text:
            left_out = [*left_out, "tool_calls"]
        summary, hidden = thought.summary, thought.hidden
        return ParsedReply(
            status, text, thought.text, summary, hidden, finish, code, usage, tuple(left_out)
        )


def parse(body: bytes) -> tuple[Any, str | None]:
    """Return what the JSON in ``body`` says, and a note where text had to be mended."""
    try:
        return orjson.loads(body), None
    except orjson.JSONDecodeError:
        return _parse_leniently(body)


def _parse_leniently(body: bytes) -> tuple[Any, str]:
    # orjson refuses lone surrogates and NaN, which real servers send inside whole replies.
    text = body.decode("utf-8-sig", "replace").strip()
    try:
        return _mend(json.loads(text)), _NOT_STRICT
    except (ValueError, RecursionError) as error:
        if not text:
            raise UnusableError("empty_body", "the body is empty", transient=True) from error
        if text[0] in "{[":
            raise UnusableError(
                "bad_json", f"the JSON cannot be read: {error}", transient=True
            ) from error
        raise UnusableError(
            "not_json", f"not JSON; it begins: {text[:DETAIL_LENGTH]}", transient=True
        ) from error


def _mend(value: Any) -> Any:
    if isinstance(value, str):
        return _mended(value)
    if isinstance(value, list):
        return [_mend(each) for each in value]
    if isinstance(value, dict):
        return {_mended(key): _mend(each) for key, each in value.items()}
    return value


def _mended(text: str) -> str:
    """Put U+FFFD for lone surrogates, which neither SQLite nor UTF-8 can hold."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _first_choice(payload: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    if not isinstance(payload, dict):
        raise UnusableError("bad_shape", "the reply is not a JSON object", transient=False)
    if payload.get("error") or payload.get("object") == "error":
        raise refused(payload, 200)
    choices = payload.get("choices")
    if not isinstance(choices, list):
        raise UnusableError("bad_shape", "the reply has no list of choices", transient=False)
    if not choices:
        raise UnusableError("empty_choices", "the list of choices is empty", transient=True)
    choice = choices[0]
    if not isinstance(choice, dict):
        raise UnusableError("bad_shape", "the choice is not a JSON object", transient=False)
    if choice.get("error"):
        raise refused(choice, 200)
    message = choice.get("message")
    if not isinstance(message, dict):
        raise UnusableError("no_message", "the choice has no message", transient=False)
    return choice, message


def _content(content: Any) -> tuple[str, str, list[str]]:
    """Return the text, the reasoning among the parts, and the types of parts that are neither."""
    if isinstance(content, str):
        return content, "", []
    if content is None:
        return "", "", []
    if not isinstance(content, list):
        raise UnusableError("bad_shape", "the content is neither text nor parts", transient=False)
    text: list[str] = []
    thinking: list[str] = []
    left_out: list[str] = []
    for part in content:
        if isinstance(part, str):
            text.append(part)
        elif isinstance(part, dict) and (words := _words(part)) is not None:
            reasons = part.get("type") in ("thinking", "reasoning")
            (thinking if reasons else text).append(words)
        else:
            left_out.append(str(part.get("type")) if isinstance(part, dict) else "part")
    return "".join(text), "".join(thinking), left_out


def _words(part: dict[str, Any]) -> str | None:
    for key in ("text", "thinking", "reasoning", "refusal"):
        words = part.get(key)
        if isinstance(words, str):
            return words
        if isinstance(words, list):  # Mistral nests the text of a thought once more
            nested = [each.get("text") for each in words if isinstance(each, dict)]
            return "".join(each for each in nested if isinstance(each, str))
    return None


def _thought(message: dict[str, Any], thinking: str, usage: Usage) -> ReasoningText:
    details = message.get("reasoning_details")
    traces = (message.get("reasoning"), message.get("reasoning_content"), thinking)
    if not details and not any(traces):
        return ReasoningText(None, hidden=(usage.reasoning_tokens or 0) > 0)
    entries = [e for e in details if isinstance(e, dict)] if isinstance(details, list) else []
    kinds = {str(entry.get("type")) for entry in entries}
    text: str = next((trace for trace in traces if trace and isinstance(trace, str)), "")
    if not text and entries:
        pieces = (entry.get("text") or entry.get("summary") for entry in entries)
        text = "".join(piece for piece in pieces if isinstance(piece, str))
    if text:
        summary = "reasoning.summary" in kinds and "reasoning.text" not in kinds
        return ReasoningText(text, summary=summary)
    return ReasoningText(
        None, hidden="reasoning.encrypted" in kinds or (usage.reasoning_tokens or 0) > 0
    )


def _usage(usage: Any) -> Usage:
    if not isinstance(usage, dict):
        return Usage()
    details = usage.get("completion_tokens_details")
    reasoning = details.get("reasoning_tokens") if isinstance(details, dict) else None
    return Usage(
        count(usage.get("prompt_tokens")),
        count(usage.get("completion_tokens")),
        count(usage.get("reasoning_tokens") if reasoning is None else reasoning),
    )


def count(value: Any) -> int | None:
    """Return a count that a 64-bit column can hold, or ``None``."""
    return value if type(value) is int and 0 <= value < 2**63 else None


def ending(finish: str | None, usage: Usage, max_tokens: int) -> tuple[ResponseStatus, str | None]:
    """Return what a finish reason means: a status, and the code of a block."""
    if finish is None:
        # Some servers do not say why they stopped; a full budget then means a cut reply.
        cut = usage.output_tokens is not None and usage.output_tokens >= max_tokens
        return (ResponseStatus.TRUNCATED if cut else ResponseStatus.OK), None
    if finish == "stop":
        return ResponseStatus.OK, None
    reason = finish.casefold()
    if reason in _CUT:
        return ResponseStatus.TRUNCATED, None
    if reason in _FILTERED or reason.startswith("content_filter"):
        return ResponseStatus.BLOCKED, finish
    if reason in _BROKEN_OFF:
        return ResponseStatus.FAILED, None
    return ResponseStatus.OK, None


def refused(payload: Any, status: int) -> UnusableError:
    """Return why the server turned a request down, as an error body says."""
    found = errors.read(payload, status)
    if found.blocked_by:
        return UnusableError(found.blocked_by, found.message, transient=False, blocked=True)
    return UnusableError(found.code, found.message or "no message", transient=found.transient)
