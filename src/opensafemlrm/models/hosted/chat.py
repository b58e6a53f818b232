"""Chat Completions, which OpenAI, vLLM, SGLang, Ollama, OpenRouter and most hosted services speak.

Source: OpenAI API reference, "Create chat completion". Shapes of replies that are read beyond it:
vLLM and SGLang (``reasoning``, ``reasoning_content``), DeepSeek (``reasoning_content``), OpenRouter
(``reasoning_details``, errors in a 200), Mistral (``thinking`` parts), Ollama (``thinking``),
LiteLLM (``thinking_blocks``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, NamedTuple

from opensafemlrm import images
from opensafemlrm.models.http.codec import Codec, ParsedReply, Request, UnusableError, without_none
from opensafemlrm.models.http.replies import count, ending, finish_of, rejection
from opensafemlrm.types import Image, Turn, Usage

_REASONING_FIELDS: Final = ("reasoning", "reasoning_content", "thinking")
_CLOSED_FORMATS: Final = ("anthropic", "google", "openai")
"""Formats of OpenRouter's whose traces the vendor's own API gives as summaries."""
_HIDDEN_KINDS: Final = frozenset({"reasoning.encrypted", "redacted_thinking"})
MaxTokensField = Literal["max_tokens", "max_completion_tokens"]
ImageDetail = Literal["low", "high", "auto"]


@dataclass(frozen=True, slots=True)
class ChatCodec(Codec):
    """Writes and reads Chat Completions."""

    max_tokens_field: MaxTokensField = "max_tokens"
    image_detail: ImageDetail | None = None

    reserved = ("model", "messages", "stream", "n")
    optional = ("temperature", "top_p", "seed", "skip_special_tokens")
    other_names: ClassVar = {
        "max_tokens": "max_completion_tokens",
        "max_completion_tokens": "max_tokens",
    }

    def path(self, model: str) -> str:
        """Return what comes after the base address."""
        del model
        return "/chat/completions"

    def encode(self, request: Request) -> dict[str, Any]:
        """Return the body of a request. Raises ImageError for an image that cannot be sent."""
        sampling = request.sampling
        fields = {
            "temperature": sampling.temperature,
            self.max_tokens_field: sampling.max_tokens,
            "seed": sampling.seed,
            "top_p": sampling.top_p,
            "stop": sampling.stop and list(sampling.stop),
            **request.extra,
        }
        if request.template:
            own = request.extra.get("chat_template_kwargs") or {}
            fields["chat_template_kwargs"] = {**request.template, **own}
        body = {
            "model": request.model,
            "messages": [self._message(turn) for turn in request.turns],
            **without_none(fields),
        }
        if request.is_prefilled:  # as vLLM has it
            body |= {"add_generation_prompt": False, "continue_final_message": True}
        return body

    def decode(self, payload: dict[str, Any], max_tokens: int) -> ParsedReply:
        """Return what a parsed body says. Raises UnusableError where it says nothing usable."""
        choice, message = _first_choice(payload)
        text, thinking, left_out = _content(message.get("content"))
        usage = _usage(payload.get("usage"))
        reasoning = _reasoning(message, thinking, usage)
        refusal = message.get("refusal")
        if not text and isinstance(refusal, str):
            text = refusal  # the model's own words, which the provider put elsewhere
        finish = finish_of(choice.get("finish_reason"))
        status, code = ending(finish, usage, max_tokens)
        if message.get("tool_calls") and not text:
            left_out = [*left_out, "tool_calls"]
        return ParsedReply(
            status,
            text,
            reasoning.text,
            reasoning.is_summary,
            reasoning.is_hidden,
            finish,
            code,
            usage,
            tuple(left_out),
        )

    def _message(self, turn: Turn) -> dict[str, Any]:
        if not any(isinstance(part, Image) for part in turn.parts):
            # Plain text: some servers take no parts in system and assistant messages.
            return {"role": turn.role, "content": turn.text}
        return {"role": turn.role, "content": [self._part(part) for part in turn.parts]}

    def _part(self, part: str | Image) -> dict[str, Any]:
        if isinstance(part, str):
            return {"type": "text", "text": part}
        url = {"url": images.data_uri(part), "detail": self.image_detail}
        return {"type": "image_url", "image_url": without_none(url)}


class _Reasoning(NamedTuple):
    """The reasoning that a server had split off, and what it says of it."""

    text: str | None
    is_summary: bool = False
    is_hidden: bool = False


def _first_choice(payload: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    choices = payload.get("choices")
    if not isinstance(choices, list):
        raise UnusableError("bad_shape", "the reply has no list of choices", transient=False)
    if not choices:
        raise UnusableError("empty_choices", "the list of choices is empty", transient=True)
    choice = choices[0]
    if not isinstance(choice, dict):
        raise UnusableError("bad_shape", "the choice is not a JSON object", transient=False)
    if choice.get("error"):
        raise rejection(choice)
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
            nested = [inner.get("text") for inner in words if isinstance(inner, dict)]
            return "".join(text for text in nested if isinstance(text, str))
    return None


def _reasoning(message: dict[str, Any], thinking: str, usage: Usage) -> _Reasoning:
    details, blocks = _entries(message, "reasoning_details"), _entries(message, "thinking_blocks")
    entries = [*details, *blocks]
    kinds = {str(entry.get("type")) for entry in entries}
    texts = [_trace(message.get(field)) for field in _REASONING_FIELDS]
    texts += [thinking, "".join(map(_trace, details)), _trace(blocks)]
    text = next(filter(None, texts), "")
    if text.strip():
        closed = any(str(entry.get("format")).startswith(_CLOSED_FORMATS) for entry in entries)
        summarised = "reasoning.summary" in kinds and "reasoning.text" not in kinds
        return _Reasoning(text, is_summary=closed or summarised)
    hidden = bool(_HIDDEN_KINDS & kinds) or (usage.reasoning_tokens or 0) > 0
    # A field that is there and empty says that the server looked for reasoning and found none.
    looked = any(field in message for field in _REASONING_FIELDS)
    return _Reasoning(text if looked and not hidden else None, is_hidden=hidden)


def _entries(message: dict[str, Any], field: str) -> list[dict[str, Any]]:
    entries = message.get(field)
    return [e for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []


def _trace(value: Any) -> str:
    """Return the text of a trace, which some servers wrap in an object or in parts."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        fields = ("text", "thinking", "content", "summary", "reasoning")
        return next((t for name in fields if (t := _trace(value.get(name)))), "")
    if isinstance(value, list):
        return "\n\n".join(filter(None, map(_trace, value)))
    return ""


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
