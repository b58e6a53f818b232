"""BeaverTails-V: questions about pictures in twenty categories of harm."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from opensafemlrm.datasets import parquet, taxonomy
from opensafemlrm.datasets.items import Draft, Maker, text
from opensafemlrm.datasets.source import HubDataset, Source
from opensafemlrm.errors import DatasetError, UnknownNameError
from opensafemlrm.types import Expected, Item

CATEGORIES: Final = tuple(taxonomy.scenarios("beavertails-v"))
"""Upstream's categories, each a configuration of its own."""
EVALUATION: Final = 1180
"""Questions of the split ``evaluation``, over all categories."""


@dataclass(frozen=True, slots=True)
class BeaverTailsV(HubDataset):
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

    def rows(self) -> Iterator[Item | DatasetError]:
        """Yield items by category, in upstream's order in each, and for each bad row its error."""
        source = self.locate()
        for category in CATEGORIES:
            if category in self.categories:
                yield from self._category(source, category)

    def _category(self, source: Source, category: str) -> Iterator[Item | DatasetError]:
        name = f"{category}/{self.split}"
        tables = parquet.files(
            source, f"data/{name}*.parquet", f"{name}*.parquet", f"{name}/*.parquet"
        )
        numbers = itertools.count()

        def drafts(row: Mapping[str, Any]) -> Iterator[Draft]:
            number = next(numbers)
            severity = row.get("image_severity")
            yield Draft(
                f"{category}/{number}",
                text(row, "category"),
                text(row, "question"),
                images=(parquet.picture(row["image"], source.folder),),
                fields={"image_severity": severity} if isinstance(severity, int) else {},
            )

        columns = ("image", "question", "category")
        for maker, rows in Maker.over(self.name, source, tables, columns, ("image_severity",)):
            yield from maker.items(rows, drafts, scenario="category")
