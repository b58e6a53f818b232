"""Writing into a model's reasoning: what the defenses that prefill or extend it share."""

from __future__ import annotations

import dataclasses
from typing import Final

from opensafemlrm.components import Defended, Defense, Model
from opensafemlrm.errors import DefenseError
from opensafemlrm.types import Capability, Prompt, Response, ResponseStatus, Sampling, Turn

_TAGS: Final = {
    "auto": ("<think>", "</think>"),
    "think": ("<think>", "</think>"),
    "think-prefilled": ("<think>", "</think>"),
    "glm": ("<think>", "</think>"),
    "keye": ("<think>", "</think>"),
    "thinking": ("<thinking>", "</thinking>"),
    "kimi": ("◁think▷", "◁/think▷"),
    "thought": ("<|begin_of_thought|>", "<|end_of_thought|>"),
}
"""Formats whose reasoning stands between tags, and so can be opened and closed from outside."""


class WritesThought(Defense):
    """A defense that begins the model's reasoning."""

    __slots__ = ()
    supports_prefill = False

    def check_model(self, model: Model) -> None:
        """Raise DefenseError if ``model`` has no prefill."""
        require(model, self.name, Capability.PREFILL)


def require(model: Model, defense: str, *needed: Capability) -> None:
    """Raise DefenseError unless ``model`` can do what ``defense`` needs."""
    lacking = [one for one in needed if one not in model.capabilities]
    if lacking and isinstance(model, Defended) and not model.defense.supports_prefill:
        raise DefenseError(
            f"{defense} begins the reply: the defense before it may neither begin one nor ask "
            f"in several turns: put {defense} first, as in {defense}+reflect"
        )
    if lacking:
        raise DefenseError(
            f"{defense} needs a model that can {' and '.join(_WHAT[one] for one in lacking)}; "
            f"{model.label} cannot. Models of hf/, vllm/ and sim/ can"
        )


_WHAT: Final = {
    Capability.PREFILL: "go on from a reply that was begun for it (prefill)",
    Capability.STOP: "stop at a given text",
}


def tags(model: Model, defense: str) -> tuple[str, str]:
    """Return the tags that open and close the model's reasoning.

    Raises DefenseError where the model writes none, or without tags: there is nothing to write in.
    """
    found = _TAGS.get(model.reasoning_format)
    if found is None:
        raise DefenseError(
            f"{defense} cannot be applied to {model.label}: its format "
            f"({model.reasoning_format}) has no reasoning between tags"
        )
    return found


async def go_on(model: Model, prompt: Prompt, begun: str, sampling: Sampling) -> Response:
    """Let ``model`` go on from ``begun``; return its response with the whole text, ``begun`` first.

    A server that splits the reasoning off is undone: the text holds all of it, in order, and the
    tag that the server took out between the two. A request that gave no reply has no text.
    """
    response = await model.generate(Prompt((*prompt.turns, Turn("assistant", (begun,)))), sampling)
    if response.status in (ResponseStatus.FAILED, ResponseStatus.BLOCKED):
        return response
    new = response.text
    if response.reasoning is not None:
        _, closing = _TAGS[model.reasoning_format]
        new = f"{response.reasoning}{closing if new else ''}{new}"
    return dataclasses.replace(response, text=begun + new, reasoning=None)
