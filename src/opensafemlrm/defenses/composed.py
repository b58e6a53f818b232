"""Several defenses at once, such as ``self-reminder+guard-output``."""

from __future__ import annotations

from dataclasses import dataclass

from opensafemlrm.components import Defense, Model
from opensafemlrm.types import Card


@dataclass(frozen=True, slots=True)
class Composed(Defense):
    """Defenses around each other: the first stands next to the model, the last is the outermost.

    The order is part of what results are keyed by.
    """

    name = "composed"
    card = Card(title="Composed defenses", paper="those of its parts")
    parts: tuple[Defense, ...]

    @property
    def label(self) -> str:
        """The parts' labels, joined by ``+``."""
        return "+".join(part.label for part in self.parts)

    def wrap(self, model: Model) -> Model:
        """Return ``model`` inside all parts. Raises DefenseError where one cannot be applied."""
        for part in self.parts:
            model = part.wrap(model)
        return model
