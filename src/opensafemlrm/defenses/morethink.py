"""MoreThink: the reasoning is kept open for a few rounds more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from pydantic import Field

from opensafemlrm.defenses._defended import Defended, is_usable, with_calls
from opensafemlrm.defenses._thinking import go_on, require, tags
from opensafemlrm.types import Call, Capability, Card, Model, Prompt, Response, Sampling

AGAIN: Final = "\nWait, let me think about this once more.\n"
_CHARACTERS_A_TOKEN: Final = 4


@dataclass(frozen=True, slots=True)
class MoreThink:
    """Put a turn of thought in the place of the reasoning's end (SafeChain, 2502.12025).

    After Muennighoff et al.'s budget forcing (2501.19393): where the model would end its thought,
    the end is replaced by a "wait" and it goes on, for ``rounds`` rounds or until the thought has
    about ``budget`` tokens (four characters each). ``rounds`` requests more at most.
    """

    name: ClassVar[str] = "morethink"
    version: ClassVar[str] = "1-A"
    card: ClassVar[Card] = Card(
        title="MoreThink",
        paper="Jiang et al., SafeChain: Safety of language models with long chain-of-thought "
        "reasoning capabilities, arXiv 2502.12025",
    )
    rounds: Annotated[int, Field(ge=1)] = 2
    budget: Annotated[int, Field(ge=1)] = 10_000

    def wrap(self, model: Model) -> Model:
        """Return ``model``, kept thinking. Raises DefenseError if it has no prefill."""
        require(model, self.name, Capability.PREFILL)
        return Defended(model, self._generate, goes_on=False)

    async def _generate(self, model: Model, prompt: Prompt, sampling: Sampling) -> Response:
        opening, closing = tags(model, self.name)
        response = await go_on(model, prompt, f"{opening}\n", sampling)
        calls = []
        for number in range(self.rounds):
            thought, end, _ = response.text.partition(closing)
            within = len(thought) < self.budget * _CHARACTERS_A_TOKEN
            if not is_usable(response) or not end or not within:
                break
            calls.append(Call(f"round {number}", prompt, response))
            response = await go_on(model, prompt, thought.rstrip() + AGAIN, sampling)
        return with_calls(response, *calls)
