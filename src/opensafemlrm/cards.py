"""The cards of the components that come with the package: ``cards.toml``."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from opensafemlrm.types import Card


def card_of(kind: str, name: str) -> Card:
    """Return the card of a built-in component. Raises KeyError where the table has none."""
    return Card(**_table()[kind][name])


@cache
def _table() -> Mapping[str, Mapping[str, Mapping[str, str]]]:
    path = files("opensafemlrm") / "cards.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))
