"""MoreThink: the reasoning is kept open for a few rounds more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field

from opensafemlrm.components import Model
from opensafemlrm.defenses.prompts import is_usable, with_calls
from opensafemlrm.defenses.thinking import WritesThought, continue_from, tags
from opensafemlrm.types import Call, Prompt, Response, Sampling

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
