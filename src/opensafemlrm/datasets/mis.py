"""MIS: questions whose harm is in two pictures together."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from opensafemlrm.datasets import files
from opensafemlrm.datasets.items import Draft, Maker, optional, text
from opensafemlrm.datasets.source import HubDataset, Source
from opensafemlrm.errors import DatasetError
from opensafemlrm.types import Expected, Item

SIZES: Final = {"easy": 1_675, "hard": 510, "real": 100}
"""Questions of each subset of the test set."""

_PICTURES: Final = ("image_path1", "image_path2")
_PACKED: Final = "zip_files"
"""Where archives of the pictures may lie."""


@dataclass(frozen=True, slots=True)
class MIS(HubDataset):
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

    def rows(self) -> Iterator[Item | DatasetError]:
        """Yield items in the order of the lists, and for each bad row its error."""
        source = self.locate()
        for subset in SIZES:
            if self.subset in ("all", subset):
                yield from self._subset(source, subset)

    def _subset(self, source: Source, subset: str) -> Iterator[Item | DatasetError]:
        table = source.find(f"mis_{subset}.json", f"mis_test/mis_{subset}.json")
        numbers = itertools.count()

        def drafts(row: Mapping[str, Any]) -> Iterator[Draft]:
            number = next(numbers)
            pictures = []
            for column in _PICTURES:
                name = text(row, column)
                places = (table.parent / name, table.parent / _PACKED / name)
                pictures.append(next(filter(source.holds, places), places[0]))
            yield Draft(
                f"{subset}/{number}",
                text(row, "category"),
                text(row, "question"),
                images=tuple(pictures),
                fields={"subset": subset, **optional(row, "sub_category")},
            )

        yield from Maker(self.name, source, table).items(
            files.json_list(table, source.where), drafts, scenario="category"
        )
