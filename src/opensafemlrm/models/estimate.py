"""What a run may cost, told before it runs: requests, times tokens assumed, times prices."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from opensafemlrm.models.budget import may_ask, price_of
from opensafemlrm.types import Model

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


def models_in(component: Any) -> Iterator[Model]:
    """Yield the models that a component asks, through the judges that it is made of."""
    if isinstance(component, tuple):
        for each in component:
            yield from models_in(each)
    elif hasattr(component, "generate"):
        yield component
    elif dataclasses.is_dataclass(component):
        for field in dataclasses.fields(component):
            if field.init and may_ask(value := getattr(component, field.name)):
                yield from models_in(value)
