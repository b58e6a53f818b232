"""Models behind OpenAI's Responses API: ``openai-responses/NAME``.

Chat Completions tells of a closed reasoning model only how many tokens it thought; Responses gives
a summary of the thought as well. A summary is not the reasoning: the reply is marked so. Source:
OpenAI API reference, "Create a model response", and the guide "Reasoning models".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from opensafemlrm import images
from opensafemlrm.components import Model
from opensafemlrm.models.hosted.chat import ImageDetail
from opensafemlrm.models.hosted.model import HostedModel
from opensafemlrm.models.http.batches import Batches
from opensafemlrm.models.http.client import Client, Limits
from opensafemlrm.models.http.codec import Codec, ParsedReply, Request, UnusableError, without_none
from opensafemlrm.models.http.endpoint import Endpoint
from opensafemlrm.models.http.error_words import is_filter_code
from opensafemlrm.models.http.replies import cached, count
from opensafemlrm.types import Image, ResponseStatus, Turn, Usage


@dataclass(frozen=True, slots=True)
class ResponsesCodec(Codec):
    """Writes and reads Responses."""

    image_detail: ImageDetail | None = None

    reserved = ("model", "input", "stream", "background")
    optional = ("temperature", "top_p", "reasoning")

    def path(self, model: str) -> str:
        """Return what comes after the base address."""
        del model
        return "/responses"

    def encode(self, request: Request) -> dict[str, Any]:
        """Return the body of a request. Raises ImageError for an image that cannot be sent."""
        sampling = request.sampling
        fields = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_output_tokens": sampling.max_tokens,
            "reasoning": {"summary": "auto"},
            "store": False,
            **request.extra,
        }
        messages = [self._message(turn) for turn in request.turns]
        return {**without_none(fields), "model": request.model, "input": messages}

    def decode(self, payload: dict[str, Any], max_tokens: int) -> ParsedReply:
        """Return what a parsed body says. Raises UnusableError where it says nothing usable."""
        del max_tokens  # the API itself says when they were used up
        output = payload.get("output")
        if not isinstance(output, list):
            raise UnusableError("bad_shape", "the reply has no list `output`", transient=False)
        status, finish = _ending(payload)
        text = _words(output, "message", "content")
        # Open models behind this API give the trace itself, as the content of a reasoning item.
        trace = _words(output, "reasoning", "content")
        summary = _words(output, "reasoning", "summary")
        usage = _usage(payload.get("usage"))
        kinds = [str(item.get("type")) for item in output if isinstance(item, dict)]
        # Thought alone is a reply whose answer never came, and it is billed: not to be asked again.
        thought = "reasoning" in kinds or (usage.reasoning_tokens or 0) > 0
        if status is ResponseStatus.OK and not text and not thought:
            raise UnusableError("empty_choices", "the reply holds no message", transient=True)
        return ParsedReply(
            status,
            text,
            trace or summary or None,
            is_summary=bool(summary) and not trace,
            is_hidden=thought and not (trace or summary),
            finish=finish,
            code=finish if status is ResponseStatus.BLOCKED else None,
            usage=usage,
            left_out=tuple(kind for kind in kinds if kind not in ("message", "reasoning")),
        )

    def _message(self, turn: Turn) -> dict[str, Any]:
        kind = "output_text" if turn.role == "assistant" else "input_text"
        return {"role": turn.role, "content": [self._part(part, kind) for part in turn.parts]}

    def _part(self, part: str | Image, kind: str) -> dict[str, Any]:
        if isinstance(part, str):
            return {"type": kind, "text": part}
        image = {"image_url": images.data_uri(part), "detail": self.image_detail}
        return {"type": "input_image", **without_none(image)}


@dataclass(frozen=True, slots=True)
class OpenAIResponses(HostedModel):
    """A model of OpenAI's behind Responses: ``openai-responses/NAME``.

    A summary of the reasoning is asked for, where the model takes that. Nothing is stored at the
    vendor (``store`` is false). The API takes no seed.
    """

    name = "openai-responses"
    vendor_key_env: ClassVar[str] = "OPENAI_API_KEY"
    default_url: ClassVar[str] = "https://api.openai.com/v1"
    url_env: ClassVar[str | None] = "OPENAI_BASE_URL"

    image_detail: ImageDetail | None = None
    batch: bool = field(default=False, compare=False)
    """Send requests in batches, which are answered within a day and cost less; ``concurrency`` is
    how many may be in one."""
    batch_folder: Path | None = field(default=None, compare=False)
    """Where batches under way are noted; in your state folder if not given."""

    @property
    def codec(self) -> ResponsesCodec:
        """How the vendor's requests are written and its replies read."""
        return ResponsesCodec(self.image_detail)

    def unbatched(self) -> Model:
        """Return the model, asked one request at a time."""
        return replace(self, batch=False) if self.batch else self

    def _client(self, endpoints: Sequence[Endpoint], limits: Limits) -> Client | Batches:
        if not self.batch:
            return HostedModel._client(self, endpoints, limits)
        self._state.parameters.expect(self.model, self.codec, self.extra_body)
        return Batches(endpoints, limits, self._state.clock, self.codec, self.batch_folder)


def _words(output: list[Any], kind: str, key: str) -> str:
    """Return the text of all items of a kind; items and the paragraphs of a summary stand apart."""
    words = []
    for item in output:
        if not isinstance(item, dict) or item.get("type") != kind:
            continue
        parts = item.get(key)
        texts = [
            text
            for part in (parts if isinstance(parts, list) else ())
            if isinstance(part, dict)
            and isinstance(text := part.get("text") or part.get("refusal"), str)
        ]
        words.append(("\n\n" if key == "summary" else "").join(texts))
    return "\n\n".join(filter(None, words))


def _ending(payload: dict[str, Any]) -> tuple[ResponseStatus, str | None]:
    status = payload.get("status")
    if status in (None, "completed"):
        return ResponseStatus.OK, status
    details = payload.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, dict) else None
    finish = reason if isinstance(reason, str) else str(status)
    if finish == "max_output_tokens":
        return ResponseStatus.TRUNCATED, finish
    if is_filter_code(finish):
        return ResponseStatus.BLOCKED, finish
    return ResponseStatus.FAILED, finish


def _usage(usage: Any) -> Usage:
    if not isinstance(usage, dict):
        return Usage()
    details = usage.get("output_tokens_details")
    return Usage(
        count(usage.get("input_tokens")),
        count(usage.get("output_tokens")),
        count(details.get("reasoning_tokens")) if isinstance(details, dict) else None,
        cached(usage),
    )
