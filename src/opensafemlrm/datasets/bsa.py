"""BeyondSafeAnswer: questions whose risk the reasoning may miss behind a safe answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from opensafemlrm.datasets import files
from opensafemlrm.datasets.items import Draft, optional, text
from opensafemlrm.datasets.release import Release, Row, Table
from opensafemlrm.datasets.source import single_table
from opensafemlrm.types import Expected

SOURCE: Final = "https://github.com/OpenStellarTeam/BSA"
SIZES: Final = {"Cognitive Shortcut": 1_200, "Risk Omission": 600, "Over Sensitivity": 200}
"""Scenarios as the release spells them, and the questions in each."""

_COLUMNS: Final = ("id", "query", "risk_summary", "dataset_name")


@dataclass(frozen=True, slots=True)
class BeyondSafeAnswer(Release):
    """Read BSA from ``root``: the table ``dataset.csv``, or the folder that holds it.

    The scenario is upstream's ``dataset_name``: which way a safe answer may hide what the
    reasoning missed. ``risk_summary``, which the judge ``bsa-think`` reads, and ``label``, the
    kinds of risk, are kept as fields.
    """

    name = "bsa"
    whole = Expected(sum(SIZES.values()), SIZES)

    root: Path = field(compare=False)

    def tables(self) -> Iterator[Table]:
        """Yield the table."""
        source, path = single_table(self.root, SOURCE, "data/dataset.csv", "dataset.csv")
        yield Table(source, path, files.csv_rows(path, _COLUMNS, SOURCE), "dataset_name")

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield the item of a row."""
        yield Draft(
            text(row, "id"),
            text(row, "dataset_name"),
            text(row, "query"),
            fields={"risk_summary": text(row, "risk_summary"), **optional(row, "label")},
        )
