"""What a run may cost, told before it runs: requests, times tokens assumed, times prices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from opensafemlrm.components import Model
from opensafemlrm.models.budget import price_of

_MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Tokens:
    """What one request is taken to use."""

    read: int
    written: int

    def __str__(self) -> str:
        return f"{self.read:,} tokens in and {self.written:,} out"


GENERATION: Final = Tokens(1500, 1000)
"""A question with an image, and a reply that reasons: a round guess, no measurement."""
VERDICT: Final = Tokens(2000, 300)
"""A rubric with the text to be judged, and a short reason: likewise."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one model's requests may cost."""

    label: str
    requests: int
    dollars: float | None
    """``None`` where no price is known."""


def estimate(model: Model, requests: int, tokens: Tokens) -> Estimate:
    """Return what ``requests`` of ``tokens`` each cost by the model's price, or its catalogue's."""
    price = price_of(model)
    if price is None:
        return Estimate(model.label, requests, None)
    price_in, price_out = price
    each = (tokens.read * price_in + tokens.written * price_out) / _MILLION
    return Estimate(model.label, requests, requests * each)
