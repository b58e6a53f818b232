"""LessThink: the reasoning is a short canned sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from opensafemlrm.cards import card_of
from opensafemlrm.components import Model
from opensafemlrm.defenses.thinking import WritesThought, continue_from, tags
from opensafemlrm.types import Prompt, Response, Sampling

THOUGHT: Final = "The user asks this, and I can answer it without much thinking."


@dataclass(frozen=True, slots=True)
class LessThink(WritesThought):
    """Prefill a short thought that ends at once (Jiang et al., SafeChain, 2502.12025).

    The paper's thought in this project's words.
    """

    name = "lessthink"
    card = card_of("defense", name)

    async def generate(self, model: Model, prompt: Prompt, sampling: Sampling) -> Response:
        """Ask for what follows the canned thought. Raises DefenseError as :func:`tags` does."""
        opening, closing = tags(model, LessThink.name)
        return await continue_from(model, prompt, f"{opening}\n{THOUGHT}\n{closing}\n\n", sampling)
