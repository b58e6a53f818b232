"""Models behind Anthropic's Messages API: ``anthropic/NAME``.

Thinking blocks are summaries on current models, and cannot be told from raw ones by their shape, so
all are marked as summaries; ``redacted_thinking`` is reasoning that was kept back. A reply that
ends with ``refusal`` was stopped by the provider's classifiers: it is blocked, not a refusal of the
model. Source: Anthropic API reference, "Messages", "Extended thinking", "Handling stop reasons".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from opensafemlrm import images
from opensafemlrm.errors import ImageError
from opensafemlrm.models.hosted.openai_compatible import OpenAICompatible, dumps
from opensafemlrm.models.http.replies import (
    ParsedReply,
    Reader,
    UnusableError,
    count,
    ending,
    refused,
)
from opensafemlrm.types import JSON, Prompt, ResponseStatus, Sampling, Turn, Usage

_NO_SAMPLING_WITH_THINKING: Final = ("temperature", "top_p")
"""Extended thinking takes its own sampling: the API turns these down beside it."""


class MessagesReader(Reader):
    """Reads replies of the Messages API."""

    def said(self, payload: Any, max_tokens: int) -> ParsedReply:
        """Return what the parsed body says. Raises UnusableError where it says nothing usable."""
        if not isinstance(payload, dict):
            raise UnusableError("bad_shape", "the reply is not a JSON object", transient=False)
        if payload.get("type") == "error" or payload.get("error"):
            raise refused(payload, 200)
        blocks = payload.get("content")
        if not isinstance(blocks, list):
            raise UnusableError("bad_shape", "the reply has no list `content`", transient=False)
        finish = payload.get("stop_reason")
        finish = finish if isinstance(finish, str) else None
        usage = _usage(payload.get("usage"))
        status, code = ending(finish, usage, max_tokens)
        if finish == "refusal":
            status, code = ResponseStatus.BLOCKED, "refusal"
        text, thinking = _words(blocks, "text"), _words(blocks, "thinking")
        if status is ResponseStatus.OK and not text:
            raise UnusableError("empty_choices", "the reply holds no text", transient=True)
        kinds = [str(block.get("type")) for block in blocks if isinstance(block, dict)]
        known = ("text", "thinking", "redacted_thinking")
        return ParsedReply(
            status,
            text,
            thinking or None,
            is_summary=bool(thinking),
            is_hidden="redacted_thinking" in kinds or ("thinking" in kinds and not thinking),
            finish=finish,
            code=code,
            usage=usage,
            left_out=tuple(kind for kind in kinds if kind not in known),
        )


@dataclass(frozen=True, slots=True)
class Anthropic(OpenAICompatible):
    """A model of Anthropic's: ``anthropic/NAME``, with the key in ``ANTHROPIC_API_KEY``.

    It thinks where ``extra_body: {thinking: {type: enabled, budget_tokens: 4096}}`` asks it to;
    ``temperature`` and ``top_p`` are then left out, which the API wants. The API takes no seed.
    """

    name = "anthropic"
    capabilities = frozenset()
    has_batches: ClassVar[bool] = False
    default_url: ClassVar[str] = "https://api.anthropic.com/v1"
    url_env: ClassVar[str | None] = None
    path: ClassVar[str] = "/messages"
    key_header: ClassVar[str] = "x-api-key"
    headers: ClassVar[tuple[tuple[str, str], ...]] = (("anthropic-version", "2023-06-01"),)
    reader: ClassVar[type[Reader]] = MessagesReader
    reserved: ClassVar[tuple[str, ...]] = ("model", "messages", "system", "stream")
    unused: ClassVar[tuple[str, ...]] = ("max_tokens_field", "image_detail")

    api_key_env: str = field(default="ANTHROPIC_API_KEY", compare=False)

    def _pieces(self, prompt: Prompt, sampling: Sampling) -> list[bytes]:
        turns = self._turns(prompt)
        system = "\n\n".join(_text_alone(turn) for turn in turns if turn.role == "system")
        asked = {
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "stop_sequences": sampling.stop and list(sampling.stop),
            "system": system or None,
            **self.extra_body,
        }
        if self.extra_body.get("thinking"):
            asked |= dict.fromkeys(_NO_SAMPLING_WITH_THINKING)
        body: dict[str, Any] = {k: v for k, v in asked.items() if v is not None}
        body["model"] = self.model
        body["messages"] = [_message(turn) for turn in turns if turn.role != "system"]
        return [dumps(body)]


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
    """Return the text of all blocks of a kind, joined."""
    found = [b.get(kind) for b in blocks if isinstance(b, dict) and b.get("type") == kind]
    return "".join(words for words in found if isinstance(words, str))


def _usage(usage: Any) -> Usage:
    if not isinstance(usage, dict):
        return Usage()
    return Usage(count(usage.get("input_tokens")), count(usage.get("output_tokens")))
