"""One list of scenarios for all data sets, so that blind spots can be compared across them.

Scenarios are kept everywhere as upstream spells them; this is a second name beside theirs. The
table is ``data/taxonomy.toml``. What fits no entry has no second name: it is never guessed.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

_PUNCTUATION = re.compile(r"[^a-z0-9]+")


def of(dataset: str, scenario: str) -> str | None:
    """Return the shared id of a data set's scenario, ``None`` where the table has none.

    ``dataset`` is a name, or a label with options such as ``figstep[subset=tiny]``. In a data set
    that the table does not know, such as one of the user's own, a scenario that is itself one of
    the shared ids is taken for it.
    """
    name = dataset.partition("[")[0]
    known = _folded().get(name)
    folded = _fold(scenario)
    return known.get(folded) if known is not None else _ids_by_fold().get(folded)


def titles() -> Mapping[str, str]:
    """Return what each shared id stands for, in the order tables show them."""
    ids: Mapping[str, str] = _table()["ids"]
    return ids


def scenarios(dataset: str) -> Mapping[str, str]:
    """Return the shared ids of a data set's scenarios, by upstream's names; empty if unknown."""
    known: Mapping[str, Mapping[str, str]] = _table()["scenarios"]
    return known.get(dataset.partition("[")[0], {})


def datasets() -> tuple[str, ...]:
    """Return the data sets whose scenarios the table knows."""
    return tuple(_table()["scenarios"])


@cache
def _table() -> Mapping[str, Any]:
    path = files("opensafemlrm.datasets").joinpath("data/taxonomy.toml")
    return tomllib.loads(path.read_text(encoding="utf-8"))


@cache
def _folded() -> Mapping[str, Mapping[str, str]]:
    known: Mapping[str, Mapping[str, str]] = _table()["scenarios"]
    return {
        dataset: {_fold(name): meaning for name, meaning in names.items()}
        for dataset, names in known.items()
    }


@cache
def _ids_by_fold() -> Mapping[str, str]:
    return {_fold(name): name for name in titles()}


def _fold(name: str) -> str:
    return _PUNCTUATION.sub(" ", name.casefold()).strip()
