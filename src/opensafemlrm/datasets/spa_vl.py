"""SPA-VL: the test questions of a safety preference data set, harmful and helpful."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from opensafemlrm.datasets import parquet
from opensafemlrm.datasets.items import Draft, Maker, optional, text
from opensafemlrm.datasets.source import HubDataset, Source
from opensafemlrm.errors import DatasetError
from opensafemlrm.types import Expected, Item, ItemKind

SIZES: Final = {"harm": 265, "help": 265}
"""Questions in each split of the configuration ``test``."""

_KINDS: Final = {"harm": ItemKind.HARMFUL, "help": ItemKind.BENIGN}


@dataclass(frozen=True, slots=True)
class SPAVL(HubDataset):
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

    def rows(self) -> Iterator[Item | DatasetError]:
        """Yield items in the order of the files, and for each bad row its error."""
        source = self.locate()
        for split in SIZES:
            if self.split in ("all", split):
                yield from self._split(source, split)

    def _split(self, source: Source, split: str) -> Iterator[Item | DatasetError]:
        tables = parquet.files(
            source, f"test/{split}*.parquet", f"test/{split}/*.parquet", f"{split}*.parquet"
        )
        numbers = itertools.count()

        def drafts(row: Mapping[str, Any]) -> Iterator[Draft]:
            number = next(numbers)
            yield Draft(
                f"{split}/{number}",
                text(row, "class2"),
                text(row, "question"),
                _KINDS[split],
                images=(parquet.picture(row["image"], source.folder),),
                fields=optional(row, "class1", "class3"),
            )

        columns = ("image", "question", "class2")
        for maker, rows in Maker.over(self.name, source, tables, columns, ("class1", "class3")):
            yield from maker.items(rows, drafts, scenario="class2")
