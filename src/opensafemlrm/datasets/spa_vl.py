"""SPA-VL: the test questions of a safety preference data set, harmful and helpful."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from opensafemlrm.datasets import parquet
from opensafemlrm.datasets.items import Draft, optional, text
from opensafemlrm.datasets.release import Release, Row, Table
from opensafemlrm.datasets.source import HubDataset
from opensafemlrm.types import Expected, ItemKind

SIZES: Final = {"harm": 265, "help": 265}
"""Questions in each split of the configuration ``test``."""

_KINDS: Final = {"harm": ItemKind.HARMFUL, "help": ItemKind.BENIGN}


@dataclass(frozen=True, slots=True)
class SPAVL(HubDataset, Release):
    """Read SPA-VL's configuration ``test`` (``test/harm*.parquet``, ``test/help*.parquet``).

    ``root`` is a local folder; without it, ``revision`` of the hub's data set is fetched. ``split``
    is ``harm``, ``help`` or both. Upstream gives no id: an item's is its split and its row, from 0.
    The scenario is ``class2``, of thirteen; ``class1`` and ``class3`` are kept as fields.
    """

    name = "spa-vl"
    hub = "sqrti/SPA-VL"
    hub_files = ("test/*.parquet", "test/**/*.parquet")

    split: Literal["all", "harm", "help"] = "all"

    def expected(self) -> Expected:
        """Return what a whole release holds."""
        total = sum(SIZES.values()) if self.split == "all" else SIZES[self.split]
        return Expected(total, images=1)

    def tables(self) -> Iterator[Table]:
        """Yield the files of each split."""
        source = self.locate()
        columns, more = ("image", "question", "class2"), ("class1", "class3")
        for split in SIZES:
            if self.split in ("all", split):
                names = (f"test/{split}*.parquet", f"test/{split}/*.parquet", f"{split}*.parquet")
                yield from Table.parquet(
                    source, names, columns, more, scenario="class2", part=split
                )

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield the item of a row."""
        yield Draft(
            f"{table.part}/{number}",
            text(row, "class2"),
            text(row, "question"),
            _KINDS[table.part],
            images=(parquet.picture(row["image"], table.source.folder),),
            fields=optional(row, "class1", "class3"),
        )
