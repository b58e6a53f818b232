"""HADES: harmful instructions with pictures made more harmful in steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from opensafemlrm.datasets import parquet
from opensafemlrm.datasets.items import Draft, Maker, name_of, optional, text
from opensafemlrm.datasets.source import HubDataset
from opensafemlrm.errors import DatasetError
from opensafemlrm.types import Expected, Item

STEPS: Final = 6
"""Pictures of each instruction, from 0, before any optimisation, to 5, after five rounds of it."""

_COLUMNS: Final = ("image", "id", "scenario", "keywords", "step", "category", "instruction")


@dataclass(frozen=True, slots=True)
class Hades(HubDataset):
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

    def rows(self) -> Iterator[Item | DatasetError]:
        """Yield items in the order of the files, and for each bad row its error."""
        source = self.locate()
        tables = parquet.files(source, *self.hub_files)

        def drafts(row: Mapping[str, Any]) -> Iterator[Draft]:
            if row["step"] != self.step:
                return
            yield Draft(
                f"{text(row, 'scenario')}/{name_of(row, 'id')}",
                text(row, "scenario"),
                text(row, "instruction"),
                released={f"hades-{self.step}": parquet.picture(row["image"], source.folder)},
                fields={"step": self.step, **optional(row, "keywords", "category")},
            )

        for maker, rows in Maker.over(self.name, source, tables, _COLUMNS):
            yield from maker.items(rows, drafts, scenario="scenario")
