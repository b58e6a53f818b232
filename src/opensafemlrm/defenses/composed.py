"""No defense, and several at once, such as ``self-reminder+guard-output``."""

from __future__ import annotations

from dataclasses import dataclass

from opensafemlrm.components import Defense


@dataclass(frozen=True, slots=True)
class NoDefense(Defense):
    """Give the model back unchanged."""

    name = "none"

    layers = ()


@dataclass(frozen=True, slots=True)
class Composed(Defense):
    """Defenses around each other: the first stands next to the model, the last is the outermost.

    The order is part of what results are keyed by.
    """

    name = "composed"
    parts: tuple[Defense, ...]

    @property
    def label(self) -> str:
        """The parts' labels, joined by ``+``."""
        return "+".join(part.label for part in self.parts)

    @property
    def layers(self) -> tuple[Defense, ...]:
        """The layers of all parts, in order."""
        return tuple(layer for part in self.parts for layer in part.layers)
