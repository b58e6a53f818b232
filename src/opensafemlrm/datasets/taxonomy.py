"""Lists of scenarios for all data sets, so that what they test can be compared across them.

Scenarios are kept everywhere as upstream spells them; these are second names beside theirs. The map
``shared`` is the table ``data/taxonomy.toml``, finer than any benchmark needs; ``ailuminate`` is
``data/ailuminate.toml``, the twelve hazards that audits report on. What fits no entry has no second
name: it is never guessed.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal

ScenarioMap = Literal["shared", "ailuminate"]
"""Which list of scenarios a second name is of."""

_FILES: Final = {"shared": "taxonomy.toml", "ailuminate": "ailuminate.toml"}
_PUNCTUATION = re.compile(r"[^a-z0-9]+")


def of(dataset: str, scenario: str, scenario_map: ScenarioMap = "shared") -> str | None:
    """Return the id of a data set's scenario in a list, ``None`` where it has none.

    ``dataset`` is a name, or a label with options such as ``figstep[subset=tiny]``. In a data set
    that the table does not know, such as one of the user's own, a scenario that is itself one of
    the ids is taken for it.
    """
    name, folded = dataset.partition("[")[0], _fold(scenario)
    if scenario_map == "shared":
        known = _folded("shared").get(name)
        return known.get(folded) if known is not None else _ids_by_fold("shared").get(folded)
    narrower = _folded(scenario_map).get(name, {}).get(folded)
    if narrower is not None:
        return narrower or None
    if name not in _folded("shared") and folded in _ids_by_fold(scenario_map):
        return _ids_by_fold(scenario_map)[folded]
    by_shared_id: Mapping[str, str] = _table(scenario_map)["shared"]
    return by_shared_id.get(of(dataset, scenario) or "")


def titles(scenario_map: ScenarioMap = "shared") -> Mapping[str, str]:
    """Return what each id of a list stands for, in the order tables show them."""
    ids: Mapping[str, str] = _table(scenario_map)["ids"]
    return ids


def scenarios(dataset: str, scenario_map: ScenarioMap = "shared") -> Mapping[str, str]:
    """Return the ids of a data set's scenarios, by upstream's names; empty if unknown."""
    known: Mapping[str, str] = _table("shared")["scenarios"].get(dataset.partition("[")[0], {})
    if scenario_map == "shared":
        return known
    meanings = {name: of(dataset, name, scenario_map) for name in known}
    return {name: meaning for name, meaning in meanings.items() if meaning is not None}


def datasets() -> tuple[str, ...]:
    """Return the data sets whose scenarios the lists know."""
    return tuple(_table("shared")["scenarios"])


@cache
def _table(scenario_map: ScenarioMap) -> Mapping[str, Any]:
    path = files("opensafemlrm.datasets") / "data" / _FILES[scenario_map]
    return tomllib.loads(path.read_text(encoding="utf-8"))


@cache
def _folded(scenario_map: ScenarioMap) -> Mapping[str, Mapping[str, str]]:
    known: Mapping[str, Mapping[str, str]] = _table(scenario_map)["scenarios"]
    return {
        dataset: {_fold(name): meaning for name, meaning in names.items()}
        for dataset, names in known.items()
    }


@cache
def _ids_by_fold(scenario_map: ScenarioMap) -> Mapping[str, str]:
    return {_fold(name): name for name in titles(scenario_map)}


def _fold(name: str) -> str:
    return _PUNCTUATION.sub(" ", name.casefold()).strip()
