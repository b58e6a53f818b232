"""MIS: questions whose harm is in two pictures together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from opensafemlrm.datasets import files
from opensafemlrm.datasets.items import Draft, optional, text
from opensafemlrm.datasets.release import Release, Row, Table
from opensafemlrm.datasets.source import HubDataset
from opensafemlrm.types import Expected

SIZES: Final = {"easy": 1_675, "hard": 510, "real": 100}
"""Questions of each subset of the test set."""

_PICTURES: Final = ("image_path1", "image_path2")
_PACKED: Final = "zip_files"
"""Where archives of the pictures may lie."""


@dataclass(frozen=True, slots=True)
class MIS(HubDataset, Release):
    """Read MIS's test set (``mis_easy.json``, ``mis_hard.json``, ``mis_real.json``, and pictures).

    ``root`` is a local folder in the layout that upstream asks for; without it, ``revision`` of
    the hub's data set is fetched. ``subset`` is one of the three or ``all``. The two pictures are
    sent in order; upstream gives no id, so an item's is its subset and place, from 0. The scenario
    is upstream's ``category``.
    """

    name = "mis"
    hub = "Tuwhy/MIS_Test"
    hub_files = ("mis_*.json", "*_image/**", "*.zip", f"{_PACKED}/**")

    subset: Literal["all", "easy", "hard", "real"] = "all"

    def expected(self) -> Expected:
        """Return what a whole release holds."""
        total = sum(SIZES.values()) if self.subset == "all" else SIZES[self.subset]
        return Expected(total, images=2)

    def tables(self) -> Iterator[Table]:
        """Yield the lists."""
        source = self.locate()
        for subset in SIZES:
            if self.subset in ("all", subset):
                path = source.find(f"mis_{subset}.json", f"mis_test/mis_{subset}.json")
                rows = files.json_list(path, source.where)
                yield Table(source, path, rows, "category", subset)

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield the item of a row."""
        pictures, home = [], table.path.parent
        for column in _PICTURES:
            name = text(row, column)
            pictures.append(table.source.either(home / name, home / _PACKED / name))
        yield Draft(
            f"{table.part}/{number}",
            text(row, "category"),
            text(row, "question"),
            images=tuple(pictures),
            fields={"subset": table.part, **optional(row, "sub_category")},
        )
