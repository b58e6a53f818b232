"""Where the numbers of a page come from: components, cells and runs of the store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Final

import polars as pl

from opensafemlrm.redaction import without_keys_in_comments
from opensafemlrm.report.citations import data_licence
from opensafemlrm.selection import EVERYTHING, Selection
from opensafemlrm.store.database import unfit
from opensafemlrm.store.named import recorded
from opensafemlrm.store.source import Source
from opensafemlrm.store.tables import RUNS, TABLES

KINDS: Final = ("model", "dataset", "attack", "defense", "judge")

_SAMPLING: Final = (
    "SELECT DISTINCT c.sampling AS sampling, m.identity AS model, d.identity AS dataset "
    "FROM cells c JOIN components m ON m.key = c.model JOIN components d ON d.key = c.dataset"
)


@dataclass(frozen=True, slots=True)
class Component:
    """One model, dataset, attack, defense or judge: everything that changes its results."""

    kind: str
    label: str
    key: str
    facts: tuple[tuple[str, str], ...]
    """Name and value of each part of its identity, as text."""
    imported: bool


@dataclass(frozen=True, slots=True)
class Run:
    """One run that wrote to the store."""

    number: int
    started: str
    ended: str
    environment: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Provenance:
    """All of it; ``studies`` are the different study files, as they were read."""

    components: tuple[Component, ...]
    runs: tuple[Run, ...]
    studies: tuple[str, ...]
    sampling: tuple[str, ...]
    made: str
    version: str

    def of(self, kind: str) -> list[Component]:
        """Return the components of one kind."""
        return [component for component in self.components if component.kind == kind]


def provenance(source: Source, selection: Selection = EVERYTHING) -> Provenance:
    """Read where the numbers of a ``selection`` of a store or sink come from. Raises StoreError."""
    components, runs = (
        source.query(table.select(), table.schema()) for table in (TABLES["components"], RUNS)
    )
    sampling = source.query(_SAMPLING, dict.fromkeys(("sampling", "model", "dataset"), pl.String()))
    return Provenance(
        components=tuple(
            _component(**row)
            for row in components.sort("label").to_dicts()
            if selection.has(row["kind"], row["label"])
        ),
        runs=tuple(
            Run(
                number,
                _date(started),
                "not ended" if ended is None else _date(ended),
                _environment(environment),
            )
            for number, (started, ended, _, environment) in enumerate(
                runs.sort("started").rows(), 1
            )
        ),
        # Once more: older versions stored them with what they know to strike out today.
        studies=tuple(map(without_keys_in_comments, dict.fromkeys(runs.sort("started")["study"]))),
        sampling=tuple(dict.fromkeys(_sampling(*row) for row in sampling.sort(pl.all()).rows())),
        made=_date(datetime.now(UTC).timestamp()),
        version=version("opensafemlrm"),
    )


def _component(key: bytes, kind: str, label: str, identity: str, facts: str) -> Component:
    known = json.loads(identity)
    more = json.loads(facts)
    if kind == "dataset" and (licence := data_licence(known.get("name", ""))):
        more["licence"] = licence
    return Component(
        kind, label, key.hex()[:8], _facts({**known, **more}), bool(known.get("imported_from"))
    )


def _sampling(*cell: str) -> str:
    known = _facts(recorded(*map(json.loads, cell)))
    return ", ".join(f"{n} {value}" for n, value in known) or "not recorded (imported results)"


def _environment(text: str) -> tuple[tuple[str, str], ...]:
    if not isinstance(known := json.loads(text), dict):
        raise unfit(RUNS.name, "an environment that has no names")
    return _facts(known)


def _facts(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (name.replace("_", " "), value if isinstance(value, str) else json.dumps(value))
        for name, value in values.items()
        if value is not None
    )


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
