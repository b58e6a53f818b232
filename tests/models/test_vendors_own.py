"""What one vendor does and the others do not."""

from __future__ import annotations

import orjson
import pytest

from opensafemlrm.models.hosted.anthropic import Anthropic, MessagesCodec
from opensafemlrm.models.hosted.google import GeminiCodec
from opensafemlrm.models.hosted.openai_responses import ResponsesCodec
from opensafemlrm.models.http.replies import Reader, Timing
from opensafemlrm.types import Prompt, ResponseStatus, Sampling
from tests.models.vendors import Messages, Responses


def test_googles_turned_down_prompt_is_a_block():
    body = orjson.dumps({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}})
    response = Reader(GeminiCodec()).reply(body, 100, Timing())
    assert (response.status, response.code) == (ResponseStatus.BLOCKED, "PROHIBITED_CONTENT")


@pytest.mark.parametrize("reason", ["OTHER", "MALFORMED_FUNCTION_CALL"])
def test_googles_broken_off_reply_is_a_failure(reason):
    body = orjson.dumps({"candidates": [{"content": {}, "finishReason": reason}]})
    response = Reader(GeminiCodec()).reply(body, 100, Timing())
    assert (response.status, response.code, response.transient) == (
        ResponseStatus.FAILED, "aborted", True
    )  # fmt: skip


def test_openais_flagged_prompt_is_a_block():
    error = {
        "code": "invalid_prompt",
        "message": "flagged as potentially violating our usage policy",
    }
    failed = orjson.dumps({"status": "failed", "error": error, "output": []})
    for response in (
        Reader(ResponsesCodec()).reply(failed, 100, Timing()),
        Reader(ResponsesCodec()).error(400, orjson.dumps({"error": error}), Timing()),
    ):
        assert (response.status, response.code) == (ResponseStatus.BLOCKED, "usage_policy")


def test_an_open_models_own_trace_is_no_summary():
    trace = {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "so"}]}
    body = Responses()._said(thought={**trace, "summary": []})
    response = Reader(ResponsesCodec()).reply(orjson.dumps(body), 100, Timing())
    assert (response.reasoning, response.reasoning_is_summary) == ("so", False)


def test_thought_and_redacted_thought_together_are_hidden_in_part():
    blocks = [
        {"type": "thinking", "thinking": "first"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "text", "text": "hello"},
    ]
    body = orjson.dumps(Messages()._said(*blocks))
    response = Reader(MessagesCodec()).reply(body, 100, Timing())
    assert (response.reasoning, response.reasoning_hidden) == ("first", True)


def test_anthropics_cached_tokens_are_tokens_of_the_prompt():
    """Beside them, `input_tokens` counts the rest alone: a prompt that was read looked cut."""
    counts = {"input_tokens": 9, "cache_read_input_tokens": 700, "cache_creation_input_tokens": 50}
    body = {**Messages().plain(), "usage": {**counts, "output_tokens": 5}}
    response = Reader(MessagesCodec()).reply(orjson.dumps(body), 100, Timing())
    assert (response.usage.input_tokens, response.usage.output_tokens) == (759, 5)


def test_anthropic_thinks_without_sampling_of_ours():
    """The API turns down a temperature beside extended thinking: every request would fail."""
    thinking = {"type": "enabled", "budget_tokens": 2048}
    model = Anthropic("m", extra_body={"thinking": thinking})
    body = model._body(Prompt.user("x"), Sampling(0, 4096, top_p=0.9))
    assert body.keys() == {"max_tokens", "thinking", "model", "messages"}
