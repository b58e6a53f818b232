"""What servers say of the reasoning, in the shapes that real ones send it in."""

from __future__ import annotations

import json
from typing import Any

import pytest

from opensafemlrm import reasoning
from opensafemlrm.models.hosted.chat import ChatCodec
from opensafemlrm.models.hosted.google import GeminiCodec
from opensafemlrm.models.hosted.openai_compatible import OpenRouter
from opensafemlrm.models.hosted.openai_responses import ResponsesCodec
from opensafemlrm.models.http.codec import Codec
from opensafemlrm.models.http.replies import Reader, Timing
from opensafemlrm.types import Response, ResponseStatus

SPLIT = ("closed", "moon", "soup")


def read(payload: dict[str, Any], codec: Codec | None = None) -> Response:
    reader = Reader(codec or ChatCodec())
    return reader.reply(json.dumps(payload).encode(), 4096, Timing())


def parts(response: Response) -> tuple[str, str | None, str | None]:
    assert response.status is ResponseStatus.OK, response.detail
    trace = reasoning.parse(response)
    return trace.status.value, trace.reasoning, trace.answer


def chat(content: Any, **message: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"content": content, **message}, "finish_reason": "stop"}
    return {"choices": [choice]}


def part(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, **more}


SOUP = part("text", text="soup")
FIELDS: list[tuple[dict[str, Any], tuple[str, str | None, str | None]]] = [
    # A blank field hid the reasoning in the next.
    (chat("soup", reasoning="\n", reasoning_content="moon"), SPLIT),
    (chat("soup", reasoning_text="moon"), SPLIT),
    # Parts: however they are called and nested, those of one kind are one text.
    (chat([part("thinking", thinking=[{"text": "mo"}, {"text": "on"}]), SOUP]), SPLIT),
    (chat([part("thinking", thinking="moon", text=""), SOUP]), SPLIT),
    (chat([part("reasoning", reasoning={"text": "moon"}), SOUP]), SPLIT),
    (chat([part("reasoning_text", text="moon"), part("output_text", text="soup")]), SPLIT),
    (chat([part("reasoning_content", reasoning_content="moon"), SOUP]), SPLIT),
    (chat([part("text", text="moon", thought=True), SOUP]), SPLIT),
    (chat({"type": "text", "text": "soup"}), ("absent", None, "soup")),
    (
        chat([part("thinking", thinking="A."), SOUP, part("thinking", thinking="B."), SOUP]),
        ("closed", "A.\n\nB.", "soup\n\nsoup"),
    ),
    # What is kept back, signed or summed up is not the trace.
    (chat([part("redacted_thinking", data="x"), SOUP]), ("hidden", None, "soup")),
    (
        chat([part("reasoning", summary=[part("summary_text", text="moon")]), SOUP]),
        ("summary", "moon", "soup"),
    ),
    (
        chat("soup", thinking_blocks=[part("thinking", thinking="moon", signature="s")]),
        ("summary", "moon", "soup"),
    ),
    (
        chat(
            "soup",
            reasoning_details=[
                part("reasoning.text", text="moon"),
                part("reasoning.encrypted", data="x"),
            ],
        ),
        ("summary", "moon", "soup"),
    ),
]


@pytest.mark.parametrize(("payload", "wanted"), FIELDS)
def test_every_shape_of_reasoning_is_read(
    payload: dict[str, Any], wanted: tuple[str, str | None, str | None]
) -> None:
    assert parts(read(payload)) == wanted


@pytest.mark.parametrize(
    "form", ["azure-openai-responses-v1", "xai-responses-v1", "anthropic-claude-v1"]
)
def test_the_formats_of_closed_vendors_are_summaries(form: str) -> None:
    details = [part("reasoning.text", text="moon", format=form)]
    assert parts(read(chat("soup", reasoning_details=details)))[0] == "summary"


@pytest.mark.parametrize(
    ("model", "status"),
    [
        ("anthropic/claude-sonnet-4.5", "summary"),
        ("google/gemini-2.5-pro", "summary"),
        ("qwen/qwen3-vl-8b-thinking", "closed"),
        ("openai/gpt-oss-120b", "closed"),
    ],
)
def test_through_openrouter_a_closed_model_gives_a_summary_without_saying_so(
    model: str, status: str
) -> None:
    """Claude's reasoning rate differed by the route it was reached by."""
    payload = chat("soup", reasoning="moon")
    assert parts(read(payload, OpenRouter(model).codec))[0] == status
    routed = {**payload, "model": model, "provider": "Somewhere"}
    assert parts(read(routed))[0] == status
    assert parts(read({**payload, "model": model}))[0] == "closed"


def test_of_several_choices_the_first_by_its_number_counts() -> None:
    other = {"index": 1, "message": {"content": "salt"}, "finish_reason": "stop"}
    payload = {"choices": [other, *chat("soup", reasoning="moon")["choices"]]}
    assert parts(read(payload)) == SPLIT


def test_interleaved_thoughts_of_gemini_stand_apart() -> None:
    said = [{"text": "A.", "thought": True}, {"text": "One."}, {"text": "B.", "thought": True}]
    candidate = {"content": {"parts": [*said, {"text": "Two"}, {"text": "."}]}}
    trace = parts(read({"candidates": [{**candidate, "finishReason": "STOP"}]}, GeminiCodec()))
    assert trace == ("summary", "A.\n\nB.", "One.\n\nTwo.")


@pytest.mark.parametrize(
    ("payload", "codec"),
    [
        (
            {
                "candidates": [{"content": {"parts": []}, "finishReason": "STOP"}],
                "usageMetadata": {"thoughtsTokenCount": 9},
            },
            GeminiCodec(),
        ),
        (
            {
                "status": "completed",
                "output": [],
                "usage": {"output_tokens_details": {"reasoning_tokens": 9}},
            },
            ResponsesCodec(),
        ),
    ],
)
def test_thought_that_is_only_counted_is_kept_with_its_usage(
    payload: dict[str, Any], codec: Codec
) -> None:
    """It was asked for again, five times, and billed each time."""
    response = read(payload, codec)
    assert response.usage.reasoning_tokens == 9
    assert parts(response) == ("hidden", None, None)
