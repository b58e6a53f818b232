"""Replies in each vendor's documented shape, written for these tests.

Every vendor's replies are made from the same few facts (text, reasoning, how it ended), so that one
table of expectations holds for all of them.
"""

from __future__ import annotations

from typing import Any


class Chat:
    """OpenAI's Chat Completions, as OpenRouter extends it."""

    name, key_env, path = "openrouter", "OPENROUTER_API_KEY", "/v1/chat/completions"
    header = ("Authorization", "Bearer k-test")
    filtered, filter_code = "content_filter", "content_filter"

    @staticmethod
    def _reply(finish: str = "stop", content: Any = "hello", **message: Any) -> dict[str, Any]:
        usage = {"prompt_tokens": 3, "completion_tokens": 5}
        choice = {"message": {"content": content, **message}, "finish_reason": finish}
        return {"choices": [choice], "usage": usage}

    def plain(self) -> dict[str, Any]:
        return self._reply()

    def reasoning(self) -> dict[str, Any]:
        details = [{"type": "reasoning.summary", "summary": "first this"}]
        return self._reply(reasoning="first this", reasoning_details=details)

    def redacted(self) -> dict[str, Any]:
        return self._reply(reasoning_details=[{"type": "reasoning.encrypted", "data": "xyz"}])

    def stopped_by_filter(self) -> dict[str, Any]:
        return self._reply("content_filter", "hel")

    def cut(self) -> dict[str, Any]:
        return self._reply("length", "hel")

    def empty(self) -> dict[str, Any]:
        return {"choices": []}

    def error(self, status: int) -> dict[str, Any]:
        return {"error": {"message": "said so", "code": status}}

    def denied(self) -> tuple[int, dict[str, Any]]:
        return 401, {"error": {"message": "No auth credentials found", "code": 401}}


class Responses(Chat):
    """OpenAI's Responses."""

    name, key_env, path = "openai-responses", "OPENAI_API_KEY", "/v1/responses"

    @staticmethod
    def _said(text: str = "hello", thought: Any = None, **more: Any) -> dict[str, Any]:
        content = [{"type": "output_text", "text": text, "annotations": []}]
        message = {"type": "message", "role": "assistant", "content": content}
        output = [message] if thought is None else [thought, message]
        usage = {"input_tokens": 3, "output_tokens": 5}
        return {"status": "completed", "error": None, "output": output, "usage": usage, **more}

    def plain(self) -> dict[str, Any]:
        return self._said()

    def reasoning(self) -> dict[str, Any]:
        summary = [{"type": "summary_text", "text": "first this"}]
        return self._said(thought={"type": "reasoning", "id": "rs_1", "summary": summary})

    def redacted(self) -> dict[str, Any]:
        return self._said(thought={"type": "reasoning", "summary": [], "encrypted_content": "x"})

    def stopped_by_filter(self) -> dict[str, Any]:
        why = {"reason": "content_filter"}
        return self._said("hel", status="incomplete", incomplete_details=why)

    def cut(self) -> dict[str, Any]:
        why = {"reason": "max_output_tokens"}
        return self._said("hel", status="incomplete", incomplete_details=why)

    def empty(self) -> dict[str, Any]:
        return {"status": "completed", "output": []}

    def error(self, status: int) -> dict[str, Any]:
        return {"error": {"message": "said so", "type": "server_error", "code": None}}


class Messages:
    """Anthropic's Messages."""

    name, key_env, path = "anthropic", "ANTHROPIC_API_KEY", "/v1/messages"
    header = ("x-api-key", "k-test")
    filter_code = "refusal"

    @staticmethod
    def _said(*blocks: Any, stop: str = "end_turn") -> dict[str, Any]:
        usage = {"input_tokens": 3, "output_tokens": 5}
        return {"type": "message", "content": list(blocks), "stop_reason": stop, "usage": usage}

    def plain(self) -> dict[str, Any]:
        return self._said({"type": "text", "text": "hello"})

    def reasoning(self) -> dict[str, Any]:
        thought = {"type": "thinking", "thinking": "first this", "signature": "s"}
        return self._said(thought, {"type": "text", "text": "hello"})

    def redacted(self) -> dict[str, Any]:
        thought = {"type": "redacted_thinking", "data": "xyz"}
        return self._said(thought, {"type": "text", "text": "hello"})

    def stopped_by_filter(self) -> dict[str, Any]:
        return self._said({"type": "text", "text": "hel"}, stop="refusal")

    def cut(self) -> dict[str, Any]:
        return self._said({"type": "text", "text": "hel"}, stop="max_tokens")

    def empty(self) -> dict[str, Any]:
        return self._said()

    def error(self, status: int) -> dict[str, Any]:
        del status
        return {"type": "error", "error": {"type": "overloaded_error", "message": "said so"}}

    def denied(self) -> tuple[int, dict[str, Any]]:
        error = {"type": "authentication_error", "message": "invalid x-api-key"}
        return 401, {"type": "error", "error": error}


class Gemini:
    """Google's generateContent."""

    name, key_env, path = "google", "GEMINI_API_KEY", "/v1/models/m:generateContent"
    header = ("x-goog-api-key", "k-test")
    filter_code = "SAFETY"

    @staticmethod
    def _said(*parts: Any, finish: str = "STOP", **usage: int) -> dict[str, Any]:
        candidate = {"content": {"role": "model", "parts": list(parts)}, "finishReason": finish}
        counted = {"promptTokenCount": 3, "candidatesTokenCount": 5, **usage}
        return {"candidates": [candidate], "usageMetadata": counted}

    def plain(self) -> dict[str, Any]:
        return self._said({"text": "hello"})

    def reasoning(self) -> dict[str, Any]:
        return self._said({"text": "first this", "thought": True}, {"text": "hello"})

    def redacted(self) -> dict[str, Any]:
        # Thought tokens were counted, and no thought was sent.
        return self._said({"text": "hello"}, candidatesTokenCount=1, thoughtsTokenCount=4)

    def stopped_by_filter(self) -> dict[str, Any]:
        return self._said({"text": "hel"}, finish="SAFETY")

    def cut(self) -> dict[str, Any]:
        return self._said({"text": "hel"}, finish="MAX_TOKENS")

    def empty(self) -> dict[str, Any]:
        return {"candidates": [], "usageMetadata": {}}

    def error(self, status: int) -> dict[str, Any]:
        return {"error": {"code": status, "message": "said so", "status": "UNAVAILABLE"}}

    def denied(self) -> tuple[int, dict[str, Any]]:
        reason = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
        error = {"code": 400, "message": "API key not valid", "details": [reason]}
        return 400, {"error": error}


VENDORS = [Chat(), Responses(), Messages(), Gemini()]
