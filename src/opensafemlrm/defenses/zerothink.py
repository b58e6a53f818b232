"""ZeroThink: the reasoning is opened and closed for the model, empty."""

from __future__ import annotations

from dataclasses import dataclass

from opensafemlrm.cards import card_of
from opensafemlrm.components import Model
from opensafemlrm.defenses.thinking import WritesThought, continue_from, tags
from opensafemlrm.types import Prompt, Response, Sampling


@dataclass(frozen=True, slots=True)
class ZeroThink(WritesThought):
    """Prefill an empty thought (Jiang et al., SafeChain, 2502.12025, section on decoding)."""

    name = "zerothink"
    card = card_of("defense", name)

    async def generate(self, model: Model, prompt: Prompt, sampling: Sampling) -> Response:
        """Ask for what follows an empty thought. Raises DefenseError as :func:`tags` does."""
        opening, closing = tags(model, ZeroThink.name)
        return await continue_from(model, prompt, f"{opening}\n\n{closing}\n\n", sampling)
