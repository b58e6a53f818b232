"""LessThink: the reasoning is a short canned sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from opensafemlrm.defenses._defended import Defended
from opensafemlrm.defenses._thinking import go_on, require, tags
from opensafemlrm.types import Capability, Card, Model, Prompt, Response, Sampling

THOUGHT: Final = "The user asks this, and I can answer it without much thinking."


@dataclass(frozen=True, slots=True)
class LessThink:
    """Prefill a short thought that ends at once (Jiang et al., SafeChain, 2502.12025).

    The paper's thought in this project's words.
    """

    name: ClassVar[str] = "lessthink"
    version: ClassVar[str] = "1-A"
    card: ClassVar[Card] = Card(
        title="LessThink",
        paper="Jiang et al., SafeChain: Safety of language models with long chain-of-thought "
        "reasoning capabilities, arXiv 2502.12025",
    )

    def wrap(self, model: Model) -> Model:
        """Return ``model`` with a canned thought. Raises DefenseError if it has no prefill."""
        require(model, self.name, Capability.PREFILL)
        return Defended(model, _generate, goes_on=False)


async def _generate(model: Model, prompt: Prompt, sampling: Sampling) -> Response:
    opening, closing = tags(model, LessThink.name)
    return await go_on(model, prompt, f"{opening}\n{THOUGHT}\n{closing}\n\n", sampling)
