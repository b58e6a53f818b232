"""Writing into a model's reasoning: what the defenses that prefill or extend it share."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Final

from opensafemlrm import reasoning
from opensafemlrm.components import Defense, Model
from opensafemlrm.errors import DefenseError
from opensafemlrm.reasoning.formats import Reader
from opensafemlrm.types import Capability, Prompt, Response, ResponseStatus, Sampling, Turn
from opensafemlrm.wrapped import Defended


class WritesThought(Defense):
    """A defense that begins the model's reasoning."""

    supports_prefill = False

    def check_model(self, model: Model) -> None:
        """Raise DefenseError if ``model`` has no prefill."""
        require(model, self.name, Capability.PREFILL)


class CannedThought(WritesThought):
    """A defense that writes the whole of the model's reasoning for it."""

    thought: ClassVar[str] = ""

    async def generate(self, model: Model, prompt: Prompt, sampling: Sampling) -> Response:
        """Ask for what follows the thought. Raises DefenseError as :func:`tags` does."""
        opening, closing = tags(model, self.name)
        prefill = f"{opening}\n{self.thought}\n{closing}\n\n"
        return await continue_from(model, prompt, prefill, sampling)


def require(model: Model, defense: str, *needed: Capability) -> None:
    """Raise DefenseError unless ``model`` can do what ``defense`` needs."""
    lacking = [capability for capability in needed if capability not in model.capabilities]
    if lacking and isinstance(model, Defended) and not model.defense.supports_prefill:
        raise DefenseError(
            f"{defense} begins the reply: the defense before it may neither begin one nor ask "
            f"in several turns: put {defense} first, as in {defense}+reflect"
        )
    if lacking:
        raise DefenseError(
            f"{defense} needs a model that can {' and '.join(_WHAT[need] for need in lacking)}; "
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
    form = reasoning.resolve(model.reasoning_format)
    if form.reader is Reader.AUTO:
        form = reasoning.FORMATS["think"]
    if form.reader is not Reader.TAGS or form.staged:
        raise DefenseError(
            f"{defense} cannot be applied to {model.label}: its format ({form}) has no reasoning "
            "between tags"
        )
    opening, closing = form.blocks[0]
    return f"{opening}{form.label}", closing


async def continue_from(model: Model, prompt: Prompt, prefill: str, sampling: Sampling) -> Response:
    """Let ``model`` continue ``prefill``; return its response with the whole text, from there on.

    A server that splits the reasoning off is undone: the text holds all of it, in order, and the
    tag that the server took out between the two. A request that gave no reply has no text.
    """
    response = await model.generate(
        Prompt((*prompt.turns, Turn("assistant", (prefill,)))), sampling
    )
    if response.status in (ResponseStatus.FAILED, ResponseStatus.BLOCKED):
        return response
    new = response.text
    if response.reasoning:
        _, closing = tags(model, "a prefilled thought")
        new = f"{response.reasoning}{closing if new else ''}{new}"
    return dataclasses.replace(response, text=prefill + new, reasoning=None)
