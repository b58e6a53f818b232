"""JailbreakBench (JBB-Behaviors): a hundred harmful behaviours, and a hundred benign ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from opensafemlrm.datasets import files
from opensafemlrm.datasets.items import Draft, Maker, RowNumber, optional, text
from opensafemlrm.datasets.source import HubDataset
from opensafemlrm.errors import DatasetError
from opensafemlrm.types import Expected, Item, ItemKind

SIZE: Final = 100
"""Behaviours in each of the two files."""

_COLUMNS: Final = ("Index", "Goal", "Behavior", "Category")


@dataclass(frozen=True, slots=True)
class JailbreakBench(HubDataset):
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

    def rows(self) -> Iterator[Item | DatasetError]:
        """Yield the harmful items, then the benign ones, and for each bad row its error."""
        source = self.locate()
        seen: dict[str, RowNumber] = {}
        for kind in (ItemKind.HARMFUL, ItemKind.BENIGN):
            if self.split not in ("all", kind.value):
                continue
            table = source.find(f"data/{kind.value}-behaviors.csv", f"{kind.value}-behaviors.csv")

            def drafts(row: Mapping[str, str], kind: ItemKind = kind) -> Iterator[Draft]:
                number = text(row, "Index")
                yield Draft(
                    f"{kind.value}/{number}",
                    text(row, "Category"),
                    text(row, "Goal"),
                    kind,
                    fields={"pair": number, **optional(row, "Behavior", "Source")},
                )

            rows = files.csv_rows(table, _COLUMNS, source.where)
            yield from Maker(self.name, source, table, seen).items(
                rows, drafts, scenario="Category"
            )
