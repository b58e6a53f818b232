"""LessThink: the reasoning is a short canned sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from opensafemlrm.defenses.thinking import CannedThought


@dataclass(frozen=True, slots=True)
class LessThink(CannedThought):
    """Prefill a short thought that ends at once (Jiang et al., SafeChain, 2502.12025).

    The paper's thought in this project's words.
    """

    name = "lessthink"
    thought: ClassVar[str] = "The user asks this, and I can answer it without much thinking."
