"""Finish reasons: the vendors' words for how a reply ended, and what they mean."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from opensafemlrm.models.http import error_words
from opensafemlrm.types import ResponseStatus, Usage

_WHOLE: Final = frozenset(
    {"stop", "end_turn", "stop_sequence", "eos", "eos_token", "completed", "complete", "finished",
     "tool_calls", "tool_call", "tool_use", "function_call", "end", "normal", "done",
     "end_of_text", "stop_token", "stop_str"}
)  # fmt: skip
_CUT: Final = frozenset(
    {"model_context_window_exceeded", "context_window_exceeded", "pause_turn", "incomplete"}
)  # fmt: skip
_CUT_WORDS: Final = ("length", "max_", "limit", "truncat")
"""One of them is in every other word for it: ``max_tokens``, ``model_length``, ``token_limit``."""
_BROKEN_OFF: Final = frozenset(
    {"error", "abort", "aborted", "network_error", "insufficient_system_resource", "timeout",
     "malformed_model_output", "load", "unload", "cancelled", "canceled", "user_cancel"}
)  # fmt: skip


def ending(finish: str | None, usage: Usage, max_tokens: int) -> tuple[ResponseStatus, str | None]:
    """Return what a finish reason means: a status, and the code of a block."""
    if finish is None:
        # Some servers do not say why they stopped; a full budget then means a cut reply.
        cut = usage.output_tokens is not None and usage.output_tokens >= max_tokens
        return (ResponseStatus.TRUNCATED if cut else ResponseStatus.OK), None
    return _meaning(finish)


@lru_cache(maxsize=256)
def _meaning(finish: str) -> tuple[ResponseStatus, str | None]:
    reason = finish.casefold()
    if reason in _CUT or any(word in reason for word in _CUT_WORDS):
        return ResponseStatus.TRUNCATED, None
    if reason == "refusal" or error_words.is_filter_code(reason):
        # Anthropic's "refusal" is said by its classifiers, not by the model.
        return ResponseStatus.BLOCKED, finish
    if reason in _BROKEN_OFF:
        return ResponseStatus.FAILED, None
    return ResponseStatus.OK, None


def is_known_ending(finish: str | None) -> bool:
    """Whether a reply that counts as whole ended in a word that says so, or in none."""
    return finish is None or finish.casefold() in _WHOLE


def is_known_finish(finish: str | None) -> bool:
    """Whether a finish reason in a store says how a reply ended, or was not given."""
    known = is_known_ending(finish) or ending(finish, Usage(), 1)[0] is not ResponseStatus.OK
    return known or finish == "guard"  # what a defense held back
