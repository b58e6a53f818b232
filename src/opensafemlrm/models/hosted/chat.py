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
from opensafemlrm.models.http.finish_reasons import ending
from opensafemlrm.models.http.replies import cached, count, finish_of, rejection
from opensafemlrm.models.names import is_closed
from opensafemlrm.types import Image, Turn, Usage

_REASONING_FIELDS: Final = ("reasoning", "reasoning_content", "thinking", "reasoning_text")
_SPLIT_OFF: Final = frozenset((*_REASONING_FIELDS, "reasoning_details", "thinking_blocks"))
_CLOSED_FORMATS: Final = ("anthropic", "azure", "google", "openai", "xai")
"""Formats of OpenRouter's whose traces the vendor's own API gives as summaries."""
_HIDDEN_KINDS: Final = frozenset({"reasoning.encrypted", "redacted_thinking"})
_THOUGHT_WORDS: Final = ("reason", "think", "thought")
"""One of them is in the type of every part of a message that is reasoning."""
MaxTokensField = Literal["max_tokens", "max_completion_tokens"]
ImageDetail = Literal["low", "high", "auto"]


@dataclass(frozen=True, slots=True)
class ChatCodec(Codec):
    """Writes and reads Chat Completions."""

    max_tokens_field: MaxTokensField = "max_tokens"
    image_detail: ImageDetail | None = None
    gives_summaries: bool = False
    """Whether what comes as reasoning is a summary, whatever its shape."""

    reserved = ("model", "messages", "stream", "n")
    optional = ("temperature", "top_p", "seed", "skip_special_tokens", "response_format")
    weaker: ClassVar = {"response_format": {"type": "json_object"}}
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
        text, thoughts, left_out = _content(message.get("content"))
        usage = _usage(payload.get("usage"))
        reasoning = _reasoning(message, thoughts, usage)
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
            reasoning.is_summary or (bool(reasoning.text) and self._is_summed_up(payload)),
            reasoning.is_hidden,
            finish,
            code,
            usage,
            tuple(left_out),
        )

    def _is_summed_up(self, payload: dict[str, Any]) -> bool:
        # OpenRouter, whatever it was reached by, names who answered.
        routed = isinstance(payload.get("provider"), str)
        return self.gives_summaries or (routed and is_closed(str(payload.get("model"))))

    def _message(self, turn: Turn) -> dict[str, Any]:
        if Image not in map(type, turn.parts):
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
    # Asked for one, some servers send several, in any order.
    firsts = [c for c in choices if isinstance(c, dict) and c.get("index") == 0]
    choice = firsts[0] if firsts else choices[0]
    if not isinstance(choice, dict):
        raise UnusableError("bad_shape", "the choice is not a JSON object", transient=False)
    if choice.get("error"):
        raise rejection(choice)
    message = choice.get("message")
    if not isinstance(message, dict):
        raise UnusableError("no_message", "the choice has no message", transient=False)
    return choice, message


def _content(content: Any) -> tuple[str, list[dict[str, Any]], list[str]]:
    """Return the text, the parts that are reasoning, and the types of parts that are neither.

    Text that reasoning parts stand between is joined by a blank line.
    """
    if isinstance(content, str):
        return content, [], []
    if content is None:
        return "", [], []
    parts = [content] if isinstance(content, dict) else content
    if not isinstance(parts, list):
        raise UnusableError("bad_shape", "the content is neither text nor parts", transient=False)
    text, between = "", False
    thoughts: list[dict[str, Any]] = []
    left_out: list[str] = []
    for part in parts:
        words = part if isinstance(part, str) else None
        if isinstance(part, dict):
            kind = str(part.get("type"))
            if part.get("thought") is True or any(word in kind for word in _THOUGHT_WORDS):
                thoughts.append({**part, "after_text": bool(text) and not between})
                between = bool(text)
                continue
            words = part.get("text", part.get("refusal"))
        if not isinstance(words, str):
            left_out.append(str(part.get("type")) if isinstance(part, dict) else "part")
        elif words:
            text, between = f"{text}\n\n{words}" if between else text + words, False
    return text, thoughts, left_out


def _reasoning(message: dict[str, Any], thoughts: list[dict[str, Any]], usage: Usage) -> _Reasoning:
    if not thoughts and _SPLIT_OFF.isdisjoint(message):  # as most messages of judges are
        return _Reasoning(None, is_hidden=(usage.reasoning_tokens or 0) > 0)
    details, blocks = _entries(message, "reasoning_details"), _entries(message, "thinking_blocks")
    entries = [*details, *blocks, *thoughts]
    kept_back = any(entry.get("type") in _HIDDEN_KINDS for entry in entries)
    texts = [_trace(message.get(field)) for field in _REASONING_FIELDS]
    texts += [_joined(thoughts), "".join(map(_trace, details)), _trace(blocks)]
    text = next((text for text in texts if text.strip()), "") or next(filter(None, texts), "")
    if text.strip():
        closed = any(
            str(entry.get("format")).startswith(_CLOSED_FORMATS)
            or (isinstance(entry.get("signature"), str) and entry["signature"])
            for entry in entries
        )
        summed_up = any(entry.get("summary") for entry in entries)
        is_summary = closed or (summed_up and not any(map(_is_raw, entries)))
        return _Reasoning(text, is_summary, is_hidden=kept_back and not is_summary)
    hidden = kept_back or (usage.reasoning_tokens or 0) > 0
    # A field that is there and empty says that the server looked for reasoning and found none.
    looked = any(field in message for field in _REASONING_FIELDS)
    return _Reasoning(text if looked and not hidden else None, is_hidden=hidden)


def _is_raw(entry: dict[str, Any]) -> bool:
    return any(entry.get(key) for key in ("text", "thinking", "content"))


def _joined(thoughts: list[dict[str, Any]]) -> str:
    """Return the reasoning of parts; what text stands between is joined by a blank line."""
    joined = ""
    for part in thoughts:
        words = _trace(part, between="")
        apart = bool(joined) and part["after_text"]
        joined = f"{joined}\n\n{words}" if apart and words else joined + words
    return joined


def _entries(message: dict[str, Any], field: str) -> list[dict[str, Any]]:
    entries = message.get(field)
    return [e for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []


def _trace(value: Any, between: str = "\n\n") -> str:
    """Return the text of a trace, which some servers wrap in an object or in parts."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        fields = ("text", "thinking", "content", "summary", "reasoning", "reasoning_content")
        return next((t for name in fields if (t := _trace(value.get(name), between))), "")
    if isinstance(value, list):
        return between.join(filter(None, (_trace(part, between) for part in value)))
    return ""


def _usage(usage: Any) -> Usage:
    if not isinstance(usage, dict):
        return Usage()
    details = usage.get("completion_tokens_details")
    reasoning = details.get("reasoning_tokens") if isinstance(details, dict) else None
    reasoning = count(usage.get("reasoning_tokens") if reasoning is None else reasoning)
    read, written = count(usage.get("prompt_tokens")), count(usage.get("completion_tokens"))
    total = count(usage.get("total_tokens"))
    if reasoning and written and total == (read or 0) + written + reasoning:
        written += reasoning  # xAI counts it beside the reply, and bills both
    return Usage(read, written, reasoning, cached(usage))
