"""Models behind Anthropic's Messages API: ``anthropic/NAME``.

Thinking blocks are summaries on current models, and have the same shape as raw ones, so
all are marked as summaries; ``redacted_thinking`` is reasoning that was kept back. A reply that
ends with ``refusal`` was stopped by the provider's classifiers: it is blocked, not a refusal of the
model. Source: Anthropic API reference, "Messages", "Extended thinking", "Handling stop reasons".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

from opensafemlrm import images
from opensafemlrm.errors import ImageError
from opensafemlrm.models.hosted.model import HostedModel
from opensafemlrm.models.http.codec import Codec, ParsedReply, Request, UnusableError, without_none
from opensafemlrm.models.http.finish_reasons import ending
from opensafemlrm.models.http.replies import cached, count, finish_of
from opensafemlrm.types import JSON, ResponseStatus, Turn, Usage

_NO_SAMPLING_WITH_THINKING: Final = ("temperature", "top_p")
"""Extended thinking takes its own sampling: the API turns these down beside it."""
_KNOWN_BLOCKS: Final = ("text", "thinking", "redacted_thinking")


class MessagesCodec(Codec):
    """Writes and reads Messages."""

    key_header = "x-api-key"
    headers = (("anthropic-version", "2023-06-01"),)
    reserved = ("model", "messages", "system", "stream")
    optional = ("temperature", "top_p")

    def path(self, model: str) -> str:
        """Return what comes after the base address."""
        del model
        return "/messages"

    def encode(self, request: Request) -> dict[str, Any]:
        """Return the body of a request. Raises ImageError for an image that cannot be sent."""
        sampling = request.sampling
        system = [_text_alone(turn) for turn in request.turns if turn.role == "system"]
        fields = {
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "stop_sequences": sampling.stop and list(sampling.stop),
            "system": "\n\n".join(system) or None,
            **request.extra,
        }
        if request.extra.get("thinking"):
            fields |= dict.fromkeys(_NO_SAMPLING_WITH_THINKING)
        messages = [_message(turn) for turn in request.turns if turn.role != "system"]
        return {**without_none(fields), "model": request.model, "messages": messages}

    def decode(self, payload: dict[str, Any], max_tokens: int) -> ParsedReply:
        """Return what a parsed body says. Raises UnusableError where it says nothing usable."""
        blocks = payload.get("content")
        if not isinstance(blocks, list):
            raise UnusableError("bad_shape", "the reply has no list `content`", transient=False)
        finish = finish_of(payload.get("stop_reason"))
        usage = _usage(payload.get("usage"))
        status, code = ending(finish, usage, max_tokens)
        text, thinking = _words(blocks, "text"), _words(blocks, "thinking")
        kinds = [str(block.get("type")) for block in blocks if isinstance(block, dict)]
        # Thought alone is a reply whose answer never came, and it is billed: not to be asked again.
        if status is ResponseStatus.OK and not text and not any("thinking" in k for k in kinds):
            raise UnusableError("empty_choices", "the reply holds no text", transient=True)
        return ParsedReply(
            status,
            text,
            thinking or None,
            is_summary=bool(thinking),
            is_hidden="redacted_thinking" in kinds or ("thinking" in kinds and not thinking),
            finish=finish,
            code=code,
            usage=usage,
            left_out=tuple(kind for kind in kinds if kind not in _KNOWN_BLOCKS),
        )


@dataclass(frozen=True, slots=True)
class Anthropic(HostedModel):
    """A model of Anthropic's: ``anthropic/NAME``, with the key in ``ANTHROPIC_API_KEY``.

    It thinks where ``extra_body: {thinking: {type: adaptive}}`` asks it to (up to Claude 4.5:
    ``{type: enabled, budget_tokens: 4096}``);
    ``temperature`` and ``top_p`` are then left out, which the API wants. The API takes no seed.
    """

    name = "anthropic"
    vendor_key_env: ClassVar[str] = "ANTHROPIC_API_KEY"
    default_url: ClassVar[str] = "https://api.anthropic.com/v1"
    codec = MessagesCodec()


def _text_alone(turn: Turn) -> str:
    if len(turn.parts) != sum(isinstance(part, str) for part in turn.parts):
        raise ImageError("the system message holds an image; this API takes text alone there")
    return turn.text


def _message(turn: Turn) -> JSON:
    content: list[JSON] = []
    for part in turn.parts:
        if isinstance(part, str):
            content.append({"type": "text", "text": part})
        else:
            data = images.data_uri(part).partition(",")[2]
            source = {"type": "base64", "media_type": part.media_type, "data": data}
            content.append({"type": "image", "source": source})
    return {"role": turn.role, "content": content}


def _words(blocks: list[Any], kind: str) -> str:
    """Return the text of all blocks of a kind; interleaved ones stand apart."""
    texts = [b.get(kind) for b in blocks if isinstance(b, dict) and b.get("type") == kind]
    return "\n\n".join(text for text in texts if isinstance(text, str) and text)


def _usage(usage: Any) -> Usage:
    if not isinstance(usage, dict):
        return Usage()
    tokens, in_cache = count(usage.get("input_tokens")), cached(usage) or 0
    return Usage(None if tokens is None else tokens + in_cache, count(usage.get("output_tokens")))
