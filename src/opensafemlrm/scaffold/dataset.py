"""Tea time: questions about tea, in a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from opensafemlrm.components import Dataset
from opensafemlrm.datasets import files
from opensafemlrm.datasets.items import Draft, Maker, text
from opensafemlrm.datasets.source import single_table
from opensafemlrm.errors import DatasetError
from opensafemlrm.types import Card, Item

SOURCE: Final = "https://example.org/tea-time"


@dataclass(frozen=True, slots=True)
class TeaTime(Dataset):
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

    def rows(self) -> Iterator[Item | DatasetError]:
        """Yield the items in the order of the table, and for each bad row its error."""
        source, table = single_table(self.root, SOURCE, "tea_time.csv")

        def drafts(row: Mapping[str, str]) -> Iterator[Draft]:
            yield Draft(text(row, "id"), text(row, "scenario"), text(row, "question"))

        rows = files.csv_rows(table, ("id", "scenario", "question"), SOURCE)
        yield from Maker(self.name, source, table).items(rows, drafts, scenario="scenario")
