"""JailbreakBench (JBB-Behaviors): a hundred harmful behaviours, and a hundred benign ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from opensafemlrm.datasets import files
from opensafemlrm.datasets.items import Draft, optional, text
from opensafemlrm.datasets.release import Release, Row, Table
from opensafemlrm.datasets.source import HubDataset
from opensafemlrm.types import Expected, ItemKind

SIZE: Final = 100
"""Behaviours in each of the two files."""

_COLUMNS: Final = ("Index", "Goal", "Behavior", "Category")


@dataclass(frozen=True, slots=True)
class JailbreakBench(HubDataset, Release):
    """Read JBB-Behaviors (``harmful-behaviors.csv`` and ``benign-behaviors.csv``).

    ``root`` is a local folder; without it, ``revision`` of the hub's data set is fetched. ``split``
    is ``harmful``, ``benign`` or both. An item's question is upstream's ``Goal``, its id the split
    and ``Index``; the two behaviours of one index share the field ``pair``. Answers that
    upstream begins (``Target``) are not read.
    """

    name = "jailbreakbench"
    hub = "JailbreakBench/JBB-Behaviors"
    hub_files = ("data/*-behaviors.csv", "*-behaviors.csv")

    split: Literal["all", "harmful", "benign"] = "all"

    def expected(self) -> Expected:
        """Return what a whole release holds."""
        return Expected(2 * SIZE if self.split == "all" else SIZE)

    def tables(self) -> Iterator[Table]:
        """Yield the harmful behaviours, then the benign ones."""
        source = self.locate()
        for kind in (ItemKind.HARMFUL, ItemKind.BENIGN):
            if self.split in ("all", kind.value):
                name = f"{kind.value}-behaviors.csv"
                path = source.find(f"data/{name}", name)
                rows = files.csv_rows(path, _COLUMNS, source.where)
                yield Table(source, path, rows, "Category", kind.value)

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield the item of a row."""
        pair = text(row, "Index")
        yield Draft(
            f"{table.part}/{pair}",
            text(row, "Category"),
            text(row, "Goal"),
            ItemKind(table.part),
            fields={"pair": pair, **optional(row, "Behavior", "Source")},
        )
