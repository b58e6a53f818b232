"""Models behind Google's Gemini API: ``google/NAME``.

Thoughts come as parts marked ``thought``; they are summaries, and are marked so. A prompt that was
rejected has no candidates but a ``blockReason``; a reply that was stopped has a
``finishReason`` such as ``SAFETY``: both are blocked. Source: Gemini API reference,
"models.generateContent", and the guide "Thinking".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final
from urllib.parse import quote

from opensafemlrm import images
from opensafemlrm.models.hosted.model import HostedModel
from opensafemlrm.models.http.codec import Codec, ParsedReply, Request, UnusableError, without_none
from opensafemlrm.models.http.finish_reasons import ending
from opensafemlrm.models.http.replies import cached, count, finish_of
from opensafemlrm.types import JSON, Image, ResponseStatus, Turn, Usage

_BLOCKED: Final = ("IMAGE_", "MODEL_ARMOR")
_BROKEN_OFF: Final = ("OTHER", "LANGUAGE", "MALFORMED_", "UNEXPECTED_", "TOO_MANY_", "NO_IMAGE")
"""Beginnings of finish reasons beyond those that other vendors have too."""


class GeminiCodec(Codec):
    """Writes and reads generateContent."""

    key_header = "x-goog-api-key"
    reserved = ("contents", "systemInstruction")
    model_field = "modelVersion"
    optional = ("temperature", "topP", "seed", "thinkingConfig")

    def path(self, model: str) -> str:
        """Return what comes after the base address."""
        return f"/models/{quote(model, safe='')}:generateContent"

    def encode(self, request: Request) -> dict[str, Any]:
        """Return the body of a request. Raises ImageError for an image that cannot be sent."""
        sampling, extra = request.sampling, dict(request.extra)
        config = {
            "temperature": sampling.temperature,
            "maxOutputTokens": sampling.max_tokens,
            "topP": sampling.top_p,
            "seed": sampling.seed,
            "stopSequences": sampling.stop and list(sampling.stop),
            "thinkingConfig": {"includeThoughts": True},
            **(extra.pop("generationConfig", None) or {}),
        }
        body = {**without_none(extra), "generationConfig": without_none(config)}
        turns = request.turns
        system = [_part(part) for turn in turns if turn.role == "system" for part in turn.parts]
        if system:
            body["systemInstruction"] = {"parts": system}
        body["contents"] = [_content(turn) for turn in turns if turn.role != "system"]
        return body

    def decode(self, payload: dict[str, Any], max_tokens: int) -> ParsedReply:
        """Return what a parsed body says. Raises UnusableError where it says nothing usable."""
        candidate = _candidate(payload)
        finish = finish_of(candidate.get("finishReason"))
        usage = _usage(payload.get("usageMetadata"))
        status, code = ending(finish, usage, max_tokens)
        if finish is not None and finish.startswith(_BROKEN_OFF):
            status = ResponseStatus.FAILED
        elif finish is not None and finish.startswith(_BLOCKED):
            status, code = ResponseStatus.BLOCKED, finish
        text, thoughts, left_out = _words(candidate.get("content"))
        # Thought alone is a reply whose answer never came, and it is billed: not to be asked again.
        thought = bool(thoughts) or (usage.reasoning_tokens or 0) > 0
        if status is ResponseStatus.OK and not text and not thought:
            raise UnusableError("empty_choices", "the reply holds no text", transient=True)
        return ParsedReply(
            status,
            text,
            thoughts or None,
            is_summary=bool(thoughts),
            is_hidden=not thoughts and (usage.reasoning_tokens or 0) > 0,
            finish=finish,
            code=code,
            usage=usage,
            left_out=tuple(left_out),
        )

    def settings(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the part of a body, or of an ``extra_body``, that holds the sampling."""
        return body.get("generationConfig") or {}


@dataclass(frozen=True, slots=True)
class Google(HostedModel):
    """A model of Google's: ``google/NAME``, with the key in ``GEMINI_API_KEY``.

    Thoughts are asked for, where the model takes that. The fields of ``generationConfig`` in
    ``extra_body`` are put beside those set here.
    """

    name = "google"
    vendor_key_env: ClassVar[str] = "GEMINI_API_KEY"
    default_url: ClassVar[str] = "https://generativelanguage.googleapis.com/v1beta"
    codec = GeminiCodec()


def _content(turn: Turn) -> JSON:
    role = "model" if turn.role == "assistant" else turn.role
    return {"role": role, "parts": [_part(part) for part in turn.parts]}


def _part(part: str | Image) -> JSON:
    if isinstance(part, str):
        return {"text": part}
    data = images.data_uri(part).partition(",")[2]
    return {"inline_data": {"mime_type": part.media_type, "data": data}}


def _candidate(payload: dict[str, Any]) -> dict[str, Any]:
    feedback = payload.get("promptFeedback")
    reason = feedback.get("blockReason") if isinstance(feedback, dict) else None
    candidates = payload.get("candidates")
    if isinstance(reason, str) and reason and not candidates:
        words = feedback.get("blockReasonMessage") if isinstance(feedback, dict) else None
        detail = words if isinstance(words, str) and words else "the prompt was blocked"
        raise UnusableError(reason, detail, transient=False, blocked=True)
    if candidates is not None and not isinstance(candidates, list):
        raise UnusableError("bad_shape", "`candidates` is not a list", transient=False)
    if not candidates:
        if "usageMetadata" not in payload and candidates is None:
            raise UnusableError("bad_shape", "the reply has no candidates", transient=False)
        raise UnusableError("empty_choices", "the list of candidates is empty", transient=True)
    if not isinstance(candidates[0], dict):
        raise UnusableError("bad_shape", "the candidate is not a JSON object", transient=False)
    return candidates[0]


def _words(content: Any) -> tuple[str, str, list[str]]:
    """Return the text, the thoughts, and what kinds of parts are neither.

    Parts of one kind that follow each other are one; what the other kind parts stands apart.
    """
    parts = content.get("parts") if isinstance(content, dict) else None
    texts = {False: "", True: ""}
    last, left_out = None, list[str]()
    for part in parts if isinstance(parts, list) else ():
        words = part.get("text") if isinstance(part, dict) else None
        if not isinstance(words, str):
            left_out.append(",".join(map(str, part)) if isinstance(part, dict) else "part")
        elif words:
            kind = bool(part.get("thought"))
            texts[kind] += f"\n\n{words}" if texts[kind] and kind is not last else words
            last = kind
    return texts[False], texts[True], left_out


def _usage(usage: Any) -> Usage:
    if not isinstance(usage, dict):
        return Usage()
    answer = count(usage.get("candidatesTokenCount"))
    thought = count(usage.get("thoughtsTokenCount"))
    known = [n for n in (answer, thought) if n is not None]
    prompt = count(usage.get("promptTokenCount"))
    return Usage(prompt, sum(known) if known else None, thought, cached(usage))
