"""BeaverTails-V: questions about pictures in twenty categories of harm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from opensafemlrm.datasets import parquet, taxonomy
from opensafemlrm.datasets.items import Draft, text
from opensafemlrm.datasets.release import Release, Row, Table
from opensafemlrm.datasets.source import HubDataset
from opensafemlrm.errors import UnknownNameError
from opensafemlrm.types import Expected

CATEGORIES: Final = tuple(taxonomy.scenarios("beavertails-v"))
"""Upstream's categories, each a configuration of its own."""
EVALUATION: Final = 1180
"""Questions of the split ``evaluation``, over all categories."""


@dataclass(frozen=True, slots=True)
class BeaverTailsV(HubDataset, Release):
    """Read BeaverTails-V (``CATEGORY/SPLIT*.parquet``, in ``data/`` or beside the card).

    ``root`` is a local folder; without it, ``revision`` of the hub's data set is fetched.
    ``categories`` chooses some of the twenty. Upstream gives no id: an item's is its category and
    its row, from 0. ``image_severity`` is kept as a field; recorded responses are never read.
    """

    name = "beavertails-v"
    hub = "PKU-Alignment/BeaverTails-V"

    split: Literal["evaluation", "train"] = "evaluation"
    categories: tuple[str, ...] = CATEGORIES

    def __post_init__(self) -> None:
        HubDataset.__post_init__(self)
        for name in self.categories:
            if name not in CATEGORIES:
                raise UnknownNameError("BeaverTails-V category", name, CATEGORIES)

    def patterns(self) -> Sequence[str]:
        """Return the files of the split in the categories."""
        return [f"**/{category}/{self.split}*.parquet" for category in self.categories]

    def expected(self) -> Expected:
        """Return what a whole release holds."""
        whole = self.split == "evaluation" and set(self.categories) == set(CATEGORIES)
        return Expected(EVALUATION if whole else None, images=1)

    def tables(self) -> Iterator[Table]:
        """Yield the files of each category, in upstream's order."""
        source = self.locate()
        columns = ("image", "question", "category")
        for category in filter(self.categories.__contains__, CATEGORIES):
            name = f"{category}/{self.split}"
            patterns = (f"data/{name}*.parquet", f"{name}*.parquet", f"{name}/*.parquet")
            yield from Table.parquet(
                source, patterns, columns, ("image_severity",), scenario="category", part=category
            )

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield the item of a row."""
        severity = row.get("image_severity")
        yield Draft(
            f"{table.part}/{number}",
            text(row, "category"),
            text(row, "question"),
            images=(parquet.picture(row["image"], table.source.folder),),
            fields={"image_severity": severity} if isinstance(severity, int) else {},
        )
