"""No defense: the model as it is, the baseline that every defense is compared with."""

from __future__ import annotations

from dataclasses import dataclass

from opensafemlrm.components import Defense


@dataclass(frozen=True, slots=True)
class NoDefense(Defense):
    """Give the model back unchanged."""

    name = "none"

    layers = ()
