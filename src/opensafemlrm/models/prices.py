"""Prices that you set in a file, in US dollars for a million tokens in and out.

A line of ``prices.toml`` is ``"openai/gpt-4o" = [2.5, 10]``: the model as tables call it, as a
study names it, or by its own name. A study's ``price`` comes first, then the file, then the
catalogue.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter, ValidationError

from opensafemlrm import registry
from opensafemlrm.components import C, Model, map_models
from opensafemlrm.errors import OptionError
from opensafemlrm.files import read_as
from opensafemlrm.models.billing import Price
from opensafemlrm.models.catalog import listed_price
from opensafemlrm.registry import ComponentKind

if TYPE_CHECKING:
    import polars as pl

_PRICE: Final = TypeAdapter(Price)


def _price_of_provider(label: str) -> Price | None:
    """Return nothing to pay for a model of a kind that bills nobody."""
    name = label.partition("/")[0]
    known = name in registry.names(ComponentKind.MODEL)
    is_free = known and not registry.find(ComponentKind.MODEL, name).billed
    return (0.0, 0.0) if is_free else None


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices by models' names."""

    rows: Mapping[str, Price] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Prices:
        """Read a file. Raises OptionError, which names the line or the model."""
        try:
            data = read_as(path, tomllib.loads)
        except (OSError, ValueError) as error:
            raise OptionError(f"{path}: the prices cannot be read: {error}") from error
        rows = {}
        for name, value in data.items():
            try:
                rows[name] = _PRICE.validate_python(value)
            except ValidationError as error:
                raise OptionError(
                    f'{path}, {name}: a price is two numbers from 0 on, "{name}" = [IN, OUT]: US '
                    "dollars for a million tokens"
                ) from error
        return cls(rows)

    def over(self, component: C) -> C:
        """Return ``component`` with the file's prices for what it asks, or is."""
        return map_models(component, self._priced)

    def price_of(self, names: Sequence[str]) -> Price | None:
        """Return the price of a model by its names, of the file or else of the catalogue."""
        for name in names:
            for known, price in self.rows.items():
                if name == known or (known.partition("/")[2] == name):
                    return price
        return next(filter(None, map(listed_price, names)), None)

    def of_requests(self, requests: pl.DataFrame, used_as: str) -> dict[str, Price]:
        """Return the prices by label of models or judges; those that ask others by all of them.

        ``requests`` is as :func:`opensafemlrm.store.requests.requests` returns it.
        """
        prices = {}
        rows = requests.filter(used_as=used_as).select("label", "requested").unique()
        for label, requested in rows.iter_rows():
            if used_as == "model":
                known = {self.price_of((label, *requested)) or _price_of_provider(label)}
            else:
                known = {self.price_of((name,)) for name in requested} or {(0.0, 0.0)}
            price = known.pop() if len(known) == 1 else None
            if price is not None:
                prices[label] = price
        return prices

    def _priced(self, model: Any) -> Model:
        price = self.price_of((model.label, f"{model.name}/{model.model}", model.model))
        settable = any(option.name == "price" for option in dataclasses.fields(model))
        if model.price is None and price is not None and settable:
            model = dataclasses.replace(model, price=price)
        priced: Model = model
        return priced
