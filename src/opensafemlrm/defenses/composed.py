"""Several defenses at once, such as ``self-reminder+guard-output``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from opensafemlrm.types import JSON, Card, Defense, Model, identity_of, label_of


@dataclass(frozen=True, slots=True)
class Composed:
    """Defenses around each other: the first stands next to the model, the last is the outermost.

    The order is part of what results are keyed by.
    """

    name: ClassVar[str] = "composed"
    version: ClassVar[str] = "1-A"
    card: ClassVar[Card] = Card(title="Composed defenses", paper="those of its parts")
    parts: tuple[Defense, ...]

    @property
    def label(self) -> str:
        """The parts' labels, joined by ``+``."""
        return "+".join(label_of(part) for part in self.parts)

    def identity(self) -> Mapping[str, JSON]:
        """Return name, version and the identities of the parts, in order."""
        return {
            "name": self.name,
            "version": self.version,
            "parts": [identity_of(part) for part in self.parts],
        }

    def wrap(self, model: Model) -> Model:
        """Return ``model`` inside all parts. Raises DefenseError where one cannot be applied."""
        for part in self.parts:
            model = part.wrap(model)
        return model
