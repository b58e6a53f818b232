"""No defense: the model as it is, the baseline that every defense is compared with."""

from __future__ import annotations

from dataclasses import dataclass

from opensafemlrm.components import Defense
from opensafemlrm.types import Card


@dataclass(frozen=True, slots=True)
class NoDefense(Defense):
    """Give the model back unchanged."""

    name = "none"
    card = Card(title="No defense", paper="the baseline of every study")

    layers = ()
