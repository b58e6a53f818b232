"""No defense: the model as it is, the baseline that every defense is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from opensafemlrm.types import Card, Model


@dataclass(frozen=True, slots=True)
class NoDefense:
    """Give the model back unchanged."""

    name: ClassVar[str] = "none"
    version: ClassVar[str] = "1-A"
    card: ClassVar[Card] = Card(title="No defense", paper="the baseline of every study")

    def wrap(self, model: Model) -> Model:
        """Return ``model`` itself."""
        return model
