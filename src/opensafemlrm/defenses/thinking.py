"""Writing into a model's reasoning: what defenses that do so share, and SafeChain's three.

SafeChain (Jiang et al., 2502.12025) closes the thought at once, empty (ZeroThink) or with a canned
sentence (LessThink), or keeps it open for a few rounds more (MoreThink).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from pydantic import Field

from opensafemlrm import reasoning
from opensafemlrm.components import Defense, Model
from opensafemlrm.defenses.prompts import is_usable, with_calls
from opensafemlrm.errors import DefenseError
from opensafemlrm.reasoning.formats import Reader
from opensafemlrm.types import Call, Capability, Prompt, Response, ResponseStatus, Sampling, Turn
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


@dataclass(frozen=True, slots=True)
class LessThink(CannedThought):
    """Prefill a short thought that ends at once (Jiang et al., SafeChain, 2502.12025).

    The paper's thought in this project's words.
    """

    name = "lessthink"
    thought: ClassVar[str] = "The user asks this, and I can answer it without much thinking."


@dataclass(frozen=True, slots=True)
class ZeroThink(CannedThought):
    """Prefill an empty thought (Jiang et al., SafeChain, 2502.12025, section on decoding)."""

    name = "zerothink"


AGAIN: Final = "\nWait, let me think about this once more.\n"
_CHARACTERS_A_TOKEN: Final = 4


@dataclass(frozen=True, slots=True)
class MoreThink(WritesThought):
    """Put a turn of thought in place of the reasoning's end (SafeChain, 2502.12025).

    After Muennighoff et al.'s budget forcing (2501.19393): where the model would end its thought,
    the end is replaced by a "wait" and it goes on, for ``rounds`` rounds or until the thought has
    about ``budget`` tokens (four characters each). ``rounds`` requests more at most.
    """

    name = "morethink"
    rounds: Annotated[int, Field(ge=1)] = 2
    budget: Annotated[int, Field(ge=1)] = 10_000

    async def generate(self, model: Model, prompt: Prompt, sampling: Sampling) -> Response:
        """Ask for a thought, and for more of it. Raises DefenseError as :func:`tags` does."""
        opening, closing = tags(model, self.name)
        response = await continue_from(model, prompt, f"{opening}\n", sampling)
        calls = []
        for number in range(self.rounds):
            thought, end, _ = response.text.partition(closing)
            within = len(thought) < self.budget * _CHARACTERS_A_TOKEN
            if not is_usable(response) or not end or not within:
                break
            calls.append(Call(f"round {number}", prompt, response))
            response = await continue_from(model, prompt, thought.rstrip() + AGAIN, sampling)
        return with_calls(response, *calls)
