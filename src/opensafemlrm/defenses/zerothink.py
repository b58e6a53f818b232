"""ZeroThink: the reasoning is opened and closed for the model, empty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from opensafemlrm.defenses._defended import Defended
from opensafemlrm.defenses._thinking import go_on, require, tags
from opensafemlrm.types import Capability, Card, Model, Prompt, Response, Sampling


@dataclass(frozen=True, slots=True)
class ZeroThink:
    """Prefill an empty thought (Jiang et al., SafeChain, 2502.12025, section on decoding)."""

    name: ClassVar[str] = "zerothink"
    version: ClassVar[str] = "1-A"
    card: ClassVar[Card] = Card(
        title="ZeroThink",
        paper="Jiang et al., SafeChain: Safety of language models with long chain-of-thought "
        "reasoning capabilities, arXiv 2502.12025",
    )

    def wrap(self, model: Model) -> Model:
        """Return ``model`` without a thought. Raises DefenseError if it cannot be prefilled."""
        require(model, self.name, Capability.PREFILL)
        return Defended(model, _generate, goes_on=False)


async def _generate(model: Model, prompt: Prompt, sampling: Sampling) -> Response:
    opening, closing = tags(model, ZeroThink.name)
    return await go_on(model, prompt, f"{opening}\n\n{closing}\n\n", sampling)
