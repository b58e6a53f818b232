"""HADES: harmful instructions with pictures made more harmful in steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from opensafemlrm.datasets import parquet
from opensafemlrm.datasets.items import Draft, name_of, optional, text
from opensafemlrm.datasets.release import Release, Row, Table
from opensafemlrm.datasets.source import HubDataset
from opensafemlrm.types import Expected

STEPS: Final = 6
"""Pictures of each instruction, from 0, before any optimisation, to 5, after five rounds of it."""

_COLUMNS: Final = ("image", "id", "scenario", "keywords", "step", "category", "instruction")


@dataclass(frozen=True, slots=True)
class Hades(HubDataset, Release):
    """Read HADES (``*.parquet``, in ``data/`` or beside the card).

    ``root`` is a local folder; without it, ``revision`` of the hub's data set is fetched. ``step``
    chooses which of the six pictures of each instruction is taken; the last is the one that the
    field evaluates with. The picture is the attack's, ``released["hades-5"]``: the attack
    ``hades`` sends it, ``direct`` sends the instruction alone. The scenario is upstream's
    ``scenario``; an item's id is its scenario and upstream's id, which starts anew in each.
    """

    name = "hades"
    hub = "Monosail/HADES"
    hub_files = ("data/*.parquet", "*.parquet")
    whole = Expected(750, images=1)

    step: int = STEPS - 1

    def __post_init__(self) -> None:
        HubDataset.__post_init__(self)
        if not 0 <= self.step < STEPS:
            raise ValueError(f"'step' is 0 to {STEPS - 1}, not {self.step}")

    def tables(self) -> Iterator[Table]:
        """Yield the files."""
        return Table.parquet(self.locate(), self.hub_files, _COLUMNS, scenario="scenario")

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield the item of a row, where that is of the step."""
        if row["step"] != self.step:
            return
        picture = parquet.picture(row["image"], table.source.folder)
        yield Draft(
            f"{text(row, 'scenario')}/{name_of(row, 'id')}",
            text(row, "scenario"),
            text(row, "instruction"),
            released={f"hades-{self.step}": picture},
            fields={"step": self.step, **optional(row, "keywords", "category")},
        )
