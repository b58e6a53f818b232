"""Models behind OpenAI's Responses API: ``openai-responses/NAME``.

Chat Completions tells of a closed reasoning model only how many tokens it thought; Responses gives
a summary of the thought as well. A summary is not the reasoning: the reply is marked so. Source:
OpenAI API reference, "Create a model response", and the guide "Reasoning models".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from opensafemlrm import images
from opensafemlrm.models.hosted.openai_compatible import OpenAICompatible, dumps
from opensafemlrm.models.http.replies import ParsedReply, Reader, UnusableError, count, refused
from opensafemlrm.types import JSON, Prompt, ResponseStatus, Sampling, Turn, Usage


class ResponsesReader(Reader):
    """Reads replies of the Responses API."""

    def said(self, payload: Any, max_tokens: int) -> ParsedReply:
        """Return what the parsed body says. Raises UnusableError where it says nothing usable."""
        del max_tokens  # the API itself says when they were used up
        if not isinstance(payload, dict):
            raise UnusableError("bad_shape", "the reply is not a JSON object", transient=False)
        if payload.get("error"):
            raise refused(payload, 200)
        output = payload.get("output")
        if not isinstance(output, list):
            raise UnusableError("bad_shape", "the reply has no list `output`", transient=False)
        status, finish = _ending(payload)
        text = _words(output, "message", "content")
        if status is ResponseStatus.OK and not text:
            raise UnusableError("empty_choices", "the reply holds no message", transient=True)
        # Open models behind this API give the trace itself, as the content of a reasoning item.
        trace = _words(output, "reasoning", "content")
        summary = _words(output, "reasoning", "summary")
        usage = _usage(payload.get("usage"))
        kinds = [str(item.get("type")) for item in output if isinstance(item, dict)]
        return ParsedReply(
            status,
            text,
            trace or summary or None,
            is_summary=bool(summary) and not trace,
            is_hidden=not (trace or summary)
            and ("reasoning" in kinds or (usage.reasoning_tokens or 0) > 0),
            finish=finish,
            code=finish if status is ResponseStatus.BLOCKED else None,
            usage=usage,
            left_out=tuple(kind for kind in kinds if kind not in ("message", "reasoning")),
        )


@dataclass(frozen=True, slots=True)
class OpenAIResponses(OpenAICompatible):
    """A model of OpenAI's, asked through Responses: ``openai-responses/NAME``.

    A summary of the reasoning is asked for; models that do not reason turn that down, as many that
    do turn ``temperature`` down: ``extra_body: {reasoning: null, temperature: null}`` leaves fields
    out. Nothing is stored at the vendor (``store`` is false). The API takes no seed.
    """

    name = "openai-responses"
    capabilities = frozenset()
    path: ClassVar[str] = "/responses"
    reader: ClassVar[type[Reader]] = ResponsesReader
    reserved: ClassVar[tuple[str, ...]] = ("model", "input", "stream", "background")
    unused: ClassVar[tuple[str, ...]] = ("max_tokens_field",)

    def _pieces(self, prompt: Prompt, sampling: Sampling) -> list[bytes]:
        asked = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_output_tokens": sampling.max_tokens,
            "reasoning": {"summary": "auto"},
            "store": False,
            **self.extra_body,
        }
        body: dict[str, Any] = {k: v for k, v in asked.items() if v is not None}
        body["model"] = self.model
        body["input"] = [self._message(turn) for turn in self._turns(prompt)]
        return [dumps(body)]

    def _message(self, turn: Turn) -> JSON:
        kind = "output_text" if turn.role == "assistant" else "input_text"
        detail = {} if self.image_detail is None else {"detail": self.image_detail}
        content: list[JSON] = [
            {"type": kind, "text": part}
            if isinstance(part, str)
            else {"type": "input_image", "image_url": images.data_uri(part), **detail}
            for part in turn.parts
        ]
        return {"role": turn.role, "content": content}


def _words(output: list[Any], kind: str, key: str) -> str:
    """Return the text of all items of a kind; the paragraphs of a summary stand apart."""
    words = []
    for item in output:
        if not isinstance(item, dict) or item.get("type") != kind:
            continue
        parts = item.get(key)
        for part in parts if isinstance(parts, list) else ():
            said = (part.get("text") or part.get("refusal")) if isinstance(part, dict) else None
            if isinstance(said, str):
                words.append(said)
    return ("\n\n" if key == "summary" else "").join(words)


def _ending(payload: dict[str, Any]) -> tuple[ResponseStatus, str | None]:
    status = payload.get("status")
    if status in (None, "completed"):
        return ResponseStatus.OK, status
    details = payload.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, dict) else None
    finish = reason if isinstance(reason, str) else str(status)
    if finish == "max_output_tokens":
        return ResponseStatus.TRUNCATED, finish
    if finish == "content_filter":
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
    )
