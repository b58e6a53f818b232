"""HoliSafe-Bench: all five safe and unsafe combinations of picture and query."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from opensafemlrm.datasets import files, parquet
from opensafemlrm.datasets.items import Draft, name_of, optional, text
from opensafemlrm.datasets.release import Release, Row, Table
from opensafemlrm.datasets.source import HubDataset
from opensafemlrm.errors import DatasetError, UnknownNameError
from opensafemlrm.types import Expected, ItemKind

ITEMS: Final = 4031
TYPES: Final = ("SSS", "SSU", "USU", "UUU", "SUU")
"""Picture, query and the two together: S for safe, U for unsafe."""

_PARQUET: Final = ("data/test*.parquet", "test*.parquet")
_TABLE: Final = "holisafe_bench.json"
_COLUMNS: Final = ("id", "image", "query", "type", "category", "subcategory")


@dataclass(frozen=True, slots=True)
class HoliSafe(HubDataset, Release):
    """Read HoliSafe-Bench (``holisafe_bench.json`` and ``images/``, or ``test*.parquet``).

    ``root`` is a local folder; without it, ``revision`` of the hub's data set is fetched (it is
    gated there). ``types`` chooses some of upstream's five. The scenario is upstream's
    subcategory, of nineteen; ``type`` and ``category`` are kept as fields.
    """

    name = "holisafe"
    hub = "etri-vilab/holisafe-bench"
    hub_files = (_TABLE, "images/**", "images.zip", *_PARQUET)

    types: tuple[str, ...] = TYPES

    def __post_init__(self) -> None:
        HubDataset.__post_init__(self)
        for name in self.types:
            if name not in TYPES:
                raise UnknownNameError("HoliSafe type", name, TYPES)

    def expected(self) -> Expected:
        """Return what a whole release holds."""
        return Expected(ITEMS if set(self.types) == set(TYPES) else None, images=1)

    def tables(self) -> Iterator[Table]:
        """Yield the list, or else the Parquet files."""
        source = self.locate()
        scenario = "subcategory"
        if path := source.present(_TABLE):
            yield Table(source, path, files.json_list(path, source.where), scenario)
        else:
            yield from Table.parquet(source, (*_PARQUET, _TABLE), _COLUMNS, scenario=scenario)

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield the item of a row, where its type is chosen."""
        kind = text(row, "type").strip().upper()
        if kind not in TYPES:
            raise DatasetError("'type' is none of upstream's five")
        if kind not in self.types:
            return
        yield Draft(
            name_of(row, "id"),
            text(row, "subcategory"),
            text(row, "query"),
            ItemKind.BENIGN if kind == "SSS" else ItemKind.HARMFUL,
            images=(parquet.picture(row.get("image"), table.source.folder / "images"),),
            fields={"type": kind, **optional(row, "category")},
        )
