"""Tea time: questions about tea, in a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from opensafemlrm.datasets import files
from opensafemlrm.datasets.items import Draft, Release, Row, Table, text
from opensafemlrm.datasets.source import single_table
from opensafemlrm.types import Card

SOURCE: Final = "https://example.org/tea-time"


@dataclass(frozen=True, slots=True)
class TeaTime(Release):
    """Read the table ``tea_time.csv``, or the folder ``root`` that holds it."""

    name = "tea-time"
    card = Card(
        title="Tea time",
        paper="A. Author, Tea time, arXiv 0000.00000",
        licence="CC-BY-4.0",
        source=SOURCE,
        size="2 questions in 2 scenarios",
        kinds="All are harmful.",
    )

    root: Path = field(compare=False)

    def tables(self) -> Iterator[Table]:
        """Yield the table."""
        source, path = single_table(self.root, SOURCE, "tea_time.csv")
        rows = files.csv_rows(path, ("id", "scenario", "question"), SOURCE)
        yield Table(source, path, rows, scenario="scenario")

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield the item of a row."""
        yield Draft(text(row, "id"), text(row, "scenario"), text(row, "question"))
