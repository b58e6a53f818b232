"""What defenses are made of: prompts with something added, and the requests behind a reply."""

from __future__ import annotations

import dataclasses
from typing import Final

from opensafemlrm.types import Call, Prompt, Response, ResponseStatus, Turn

REFUSAL: Final = "I'm sorry, but I can't help with that."
"""What a guard answers in the model's place."""


def with_calls(final: Response, *calls: Call) -> Response:
    """Return ``final`` with the requests that led to it, in the order they were made.

    What a defense inside made on the way to one of them stands before it.
    """
    before = (request for call in calls for request in (*call.response.calls, call))
    return dataclasses.replace(final, calls=(*before, *final.calls))


def with_later_call(final: Response, call: Call) -> Response:
    """Return ``final`` with a request that was made after it and let it stand."""
    return dataclasses.replace(final, calls=(*final.calls, call))


def is_usable(response: Response) -> bool:
    """Tell whether a reply came whole. What did not surfaces as the defense's own outcome."""
    return response.status is ResponseStatus.OK


def as_turn_text(response: Response) -> str:
    """Return everything a reply holds, as an assistant turn that a conversation goes on from."""
    if not response.reasoning:
        return response.text
    return f"<think>{response.reasoning}</think>{response.text}"


def last_user(prompt: Prompt) -> Turn:
    """Return the user's last turn."""
    return next(turn for turn in reversed(prompt.turns) if turn.role == "user")


def replace_last_user(prompt: Prompt, turn: Turn) -> Prompt:
    """Return ``prompt`` with its last user turn replaced."""
    turns = list(prompt.turns)
    place = max(i for i, old in enumerate(turns) if old.role == "user")
    turns[place] = turn
    return Prompt(tuple(turns))


def follow_up(prompt: Prompt, reply: str, text: str) -> Prompt:
    """Return the conversation with the model's reply and another turn of the user."""
    return Prompt((*prompt.turns, Turn("assistant", (reply,)), Turn("user", (text,))))
