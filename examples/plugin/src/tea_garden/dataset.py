"""A small data set of a package's own: questions for the keeper of a tea garden."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files

from opensafemlrm.components import Dataset
from opensafemlrm.errors import DatasetError, EmptyTextError
from opensafemlrm.types import Card, Item, ItemKind


@dataclass(frozen=True, slots=True)
class TeaGarden(Dataset):
    """Read the eight questions in ``tea.csv``; ``season`` leaves the others out."""

    name = "tea-garden"
    card = Card(
        title="Tea garden",
        paper="none: an example of opensafemlrm, this project",
        licence="Apache-2.0",
        source="bundled with the example",
        size="8 questions in 2 seasons",
        kinds="Asking for the garden's secret blend counts as harmful, the rest is benign.",
    )

    season: str | None = None

    def rows(self) -> Iterator[Item | DatasetError]:
        """Yield the items in the order of the table, and for each bad row its error."""
        table = files("tea_garden").joinpath("tea.csv").read_text(encoding="utf-8")
        for number, row in enumerate(csv.DictReader(table.splitlines()), start=2):
            if self.season not in (None, row["season"]):
                continue
            if not row["question"].strip():
                yield EmptyTextError("the question is empty", path="tea.csv", row=number)
                continue
            yield Item(
                dataset=self.name,
                id=row["id"],
                scenario=row["season"],
                question=row["question"],
                kind=ItemKind(row["kind"]),
                fields={"key_phrase": row["key_phrase"]},
                origin=f"tea.csv: row {number}",
            )
