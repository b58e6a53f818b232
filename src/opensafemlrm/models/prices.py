"""Prices that you set in a file, in US dollars for a million tokens in and out.

A line of ``prices.toml`` is ``"openai/gpt-4o" = [2.5, 10]``: the model as tables call it, as a
study names it, or by its own name. A study's ``price`` comes first, then the file, then the
catalogue.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter, ValidationError

from opensafemlrm import registry
from opensafemlrm.components import C, Component, Model, map_models, models_in
from opensafemlrm.errors import OptionError, nearest
from opensafemlrm.files import read_as
from opensafemlrm.models.billing import Price
from opensafemlrm.models.catalog import listed_price
from opensafemlrm.registry import ComponentKind

if TYPE_CHECKING:
    import polars as pl

_PRICE: Final = TypeAdapter(Price)
_MAX_LISTED: Final = 5


def _price_of_provider(label: str) -> Price | None:
    """Return nothing to pay for a model of a kind that bills nobody."""
    name = label.partition("/")[0]
    known = name in registry.names(ComponentKind.MODEL)
    is_free = known and not registry.find(ComponentKind.MODEL, name).billed
    return (0.0, 0.0) if is_free else None


def _names(model: Any) -> tuple[str, str, str]:
    return model.label, f"{model.name}/{model.model}", model.model


def _mistake(name: str, value: Any) -> str:
    if isinstance(value, dict):
        return f'put a name that holds a dot in quotes, as in "{name}.{next(iter(value), "…")}"'
    return (
        f'a price is two numbers from 0 on, "{name}" = [IN, OUT]: US dollars for a million tokens'
    )


def _line_of(text: str, name: str) -> int | str:
    """Return the line of a key, empty where it is written in a way that is not looked for."""
    key = re.compile(rf"""\s*\[?\s*["']?{re.escape(name)}["']?\s*[=.\]]""")
    lines = enumerate(text.splitlines(), 1)
    return next((number for number, line in lines if key.match(line)), "")


def _line_of_error(text: str, error: str) -> int:
    """Return the line that an error of tomllib is of: the last, where it stands at the end."""
    named = re.search(r"at line (\d+)", error)
    return int(named[1]) if named else max(1, len(text.splitlines()))


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices by models' names."""

    rows: Mapping[str, Price] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Prices:
        """Read a file. Raises OptionError with every mistake in it, a line each, and its place."""
        text = ""
        try:
            text = read_as(path, str)
            data = read_as(path, tomllib.loads)
        except tomllib.TOMLDecodeError as error:
            place = _line_of_error(text, str(error))
            raise OptionError(f"{path}, line {place}: this is not TOML: {error}") from error
        except (OSError, ValueError) as error:
            raise OptionError(f"{path}: the prices cannot be read: {error}") from error
        rows: dict[str, Price] = {}
        mistakes = []
        for name, value in data.items():
            try:
                rows[name] = _PRICE.validate_python(value)
            except ValidationError:
                line = _line_of(text, name)
                mistakes.append(
                    f"{path}{line and f', line {line}'}, {name}: {_mistake(name, value)}"
                )
        if mistakes:
            raise OptionError("\n".join(mistakes))
        return cls(rows)

    def strangers(self, components: Iterable[Component]) -> list[str]:
        """Return a sentence on the names of the file that none of the models has."""
        models = [model for component in components for model in models_in(component)]
        names = {name for model in models for name in _names(model)}
        lacking = [row for row in self.rows if not {row, row.partition("/")[2]} & names]
        near = {row: nearest(row, names, 1) for row in lacking}
        sentences = [
            f"no model of the study is called {row!r}; did you mean {close[0]}?"
            for row, close in near.items()
            if close
        ]
        others = [row for row, close in near.items() if not close]
        if others:
            prices = "price is" if len(others) == 1 else "prices are"
            listed = ", ".join(others[:_MAX_LISTED]) + (", …" if len(others) > _MAX_LISTED else "")
            sentences.append(f"{len(others):,} {prices} of no model of the study: {listed}")
        return sentences

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

    def otherwise(self, helpers: pl.DataFrame, models: Mapping[str, Price]) -> list[str]:
        """Return the cells of which attack or defense asks a model of another price than its own.

        ``helpers`` is as :func:`opensafemlrm.store.requests.asked_besides` returns it.
        """
        return [
            cell
            for cell, model, names in helpers.iter_rows()
            if any(self.price_of((name,)) != models.get(model) for name in names)
        ]

    def _priced(self, model: Any) -> Model:
        price = self.price_of(_names(model))
        settable = any(option.name == "price" for option in dataclasses.fields(model))
        if model.price is None and price is not None and settable:
            model = dataclasses.replace(model, price=price)
        priced: Model = model
        return priced
