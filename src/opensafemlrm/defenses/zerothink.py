"""ZeroThink: the reasoning is opened and closed for the model, empty."""

from __future__ import annotations

from dataclasses import dataclass

from opensafemlrm.defenses.thinking import CannedThought


@dataclass(frozen=True, slots=True)
class ZeroThink(CannedThought):
    """Prefill an empty thought (Jiang et al., SafeChain, 2502.12025, section on decoding)."""

    name = "zerothink"
