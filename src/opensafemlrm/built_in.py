"""The components that come with the package: ``built_in.toml`` has a row for each."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any, Final

from opensafemlrm.types import Card

COMPOSED: Final = "composed"
"""The row of what an attack or a defense whose name has a ``+`` is built as."""


class ComponentKind(StrEnum):
    """The five kinds of component."""

    DATASET = "dataset"
    ATTACK = "attack"
    DEFENSE = "defense"
    MODEL = "model"
    JUDGE = "judge"


@cache
def classes(kind: ComponentKind) -> Mapping[str, str]:
    """Return where the class of each component of a kind is, ``MODULE:CLASS``, by name."""
    return {name: row["class"] for name, row in _rows()[kind].items()}


def built_in(kind: ComponentKind) -> list[str]:
    """Return the names of a kind that come with the package."""
    return [name for name in classes(kind) if name != COMPOSED]


class ShippedCard:
    """A class attribute: the card that the table has of a component.

    A component of another package puts a card of its own in its place.
    """

    def __get__(self, instance: object, owner: type[Any]) -> Card:
        """Return the card. Raises AttributeError where neither table nor class has one."""
        for cls in owner.__mro__:
            if facts := _cards().get(f"{cls.__module__}:{cls.__name__}"):
                return Card(**facts)
        raise AttributeError(f"{owner.__name__} has no card: give it one, as in card = Card(…)")


@cache
def _cards() -> Mapping[str, Mapping[str, str]]:
    rows = [dict(row) for named in _rows().values() for row in named.values()]
    return {row.pop("class"): row for row in rows}


@cache
def _rows() -> Mapping[str, Mapping[str, Mapping[str, str]]]:
    path = files("opensafemlrm") / "built_in.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))
