"""Chat Completions as bundled servers speak it: requests into prompts, responses into replies.

Source: OpenAI API reference, "Create chat completion"; vLLM's ``continue_final_message``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import time
from collections.abc import Mapping
from typing import Any, Final

import orjson

from opensafemlrm import images
from opensafemlrm.components import Model
from opensafemlrm.errors import ImageError
from opensafemlrm.types import (
    Capability,
    Image,
    Prompt,
    Response,
    ResponseStatus,
    Sampling,
    Turn,
)

_ROLES: Final = frozenset({"system", "developer", "user", "assistant"})
_DEFAULTS: Final = Sampling()


class RequestError(Exception):
    """A request that gets an error as its answer, in the shape of OpenAI's API."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def read_body(raw: bytes) -> dict[str, Any]:
    """Return the JSON object of a request's body. Raises RequestError."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise RequestError(400, "invalid_json", f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise RequestError(400, "invalid_request", "the body must be a JSON object")
    if body.get("stream"):
        raise RequestError(400, "unsupported", "streaming is not supported; leave out 'stream'")
    return body


def read_sampling(body: Mapping[str, Any]) -> Sampling:
    """Return how a request wants its reply sampled. Raises RequestError."""
    limit = body.get("max_completion_tokens", body.get("max_tokens")) or _DEFAULTS.max_tokens
    seed = body.get("seed")
    if not isinstance(limit, int) or limit < 1:
        raise RequestError(400, "invalid_request", "'max_tokens' must be a positive integer")
    if seed is not None and not isinstance(seed, int):
        raise RequestError(400, "invalid_request", "'seed' must be an integer or null")
    temperature, top_p = body.get("temperature"), body.get("top_p")
    for name, value in (("temperature", temperature), ("top_p", top_p)):
        if value is not None and (not isinstance(value, int | float) or value < 0):
            raise RequestError(400, "invalid_request", f"{name!r} must be a number from 0 on")
    return Sampling(float(temperature or 0.0), limit, seed, top_p, _stop(body))


def _stop(body: Mapping[str, Any]) -> tuple[str, ...] | None:
    stop = body.get("stop") or None
    texts = [stop] if isinstance(stop, str) else stop
    if texts is None:
        return None
    if not isinstance(texts, list) or not all(text and isinstance(text, str) for text in texts):
        raise RequestError(400, "invalid_request", "'stop' must be a text or a list of texts")
    return tuple(texts)


def read_prompt(body: Mapping[str, Any], model: Model) -> Prompt:
    """Return the prompt of a request. Raises RequestError for one that ``model`` cannot take."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise RequestError(400, "invalid_request", "'messages' must be a list that is not empty")
    turns = tuple(_turn(message, number) for number, message in enumerate(messages))
    if not body.get("continue_final_message"):
        # A last message of the assistant's is complete, as chat templates have it.
        return Prompt(turns, is_complete=turns[-1].role == "assistant")
    if body.get("add_generation_prompt", True):
        raise RequestError(
            400,
            "invalid_request",
            "'continue_final_message' and 'add_generation_prompt' exclude each other",
        )
    prompt = Prompt(turns)
    if not prompt.is_prefilled:
        raise RequestError(
            400, "invalid_request", "'continue_final_message' needs an assistant's last message"
        )
    if Capability.PREFILL not in model.capabilities:
        raise RequestError(400, "unsupported", f"{model.label} cannot continue a prefilled reply")
    return prompt


def _turn(message: Any, number: int) -> Turn:
    where = f"'messages[{number}]'"
    if not isinstance(message, dict) or message.get("role") not in _ROLES:
        raise RequestError(400, "invalid_request", f"{where} needs a role: {sorted(_ROLES)}")
    content = message.get("content")
    if isinstance(content, str):
        return Turn(message["role"], (content,))
    if not isinstance(content, list):
        raise RequestError(400, "invalid_request", f"{where} needs text or a list of parts")
    return Turn(message["role"], tuple(_part(part, where) for part in content))


def _part(part: Any, where: str) -> str | Image:
    match part:
        case {"type": "text", "text": str(text)}:
            return text
        case {"type": "image_url", "image_url": {"url": str(uri)}}:
            return _image(uri, where)
    raise RequestError(400, "invalid_request", f"{where} has a part that is no text and no image")


def _image(uri: str, where: str) -> Image:
    header, comma, data = uri.partition(",")
    if not (comma and header.startswith("data:image/") and header.endswith(";base64")):
        raise RequestError(
            400, "invalid_image", f"{where}: images must be base64 data URIs; nothing is fetched"
        )
    try:
        return images.from_bytes(base64.b64decode(data, validate=True))
    except (ImageError, binascii.Error) as error:
        raise RequestError(400, "invalid_image", f"{where}: {error}") from error


def completion(name: str, response: Response, message: Mapping[str, str | None]) -> dict[str, Any]:
    """Return the body of a reply. Raises RequestError for a response that is none."""
    if response.status is ResponseStatus.BLOCKED:
        raise RequestError(400, "content_filter", response.detail or "blocked")
    if response.status is ResponseStatus.FAILED:
        code = response.code or "failed"
        raise RequestError(503 if response.transient else 400, code, response.detail or code)
    usage = response.usage
    digest = hashlib.sha256(response.text.encode()).hexdigest()[:16]
    return {
        "id": f"chatcmpl-{digest}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": name,
        "choices": [{"index": 0, "message": message, "finish_reason": response.finish_reason}],
        "usage": {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": (usage.input_tokens or 0) + (usage.output_tokens or 0),
            "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        },
    }


def message(text: str, prompt: Prompt, *, parse_reasoning: bool) -> dict[str, str | None]:
    """Return a reply's message, its reasoning apart as a server's reasoning parser has it."""
    prefill = prompt.turns[-1].text if prompt.is_prefilled else ""
    opened = text.startswith("<think>") or (
        prefill.startswith("<think>") and "</think>" not in prefill
    )
    if not (parse_reasoning and opened):
        return {"role": "assistant", "content": text}
    reasoning, end, answer = text.removeprefix("<think>").partition("</think>")
    # Like vLLM: where the end tag never came, everything is reasoning and there is no content.
    return {
        "role": "assistant",
        "content": answer if end else None,
        "reasoning_content": reasoning,
    }
