"""VLSBench: harmless-looking questions whose harm only the picture shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from opensafemlrm.datasets import files
from opensafemlrm.datasets.items import Draft, name_of, optional, text
from opensafemlrm.datasets.release import Release, Row, Table
from opensafemlrm.datasets.source import HubDataset
from opensafemlrm.types import Expected

SIZES: Final = {
    "Violent": 590,
    "Illegal Activity": 539,
    "Self-Harm": 370,
    "Erotic": 343,
    "Hate": 269,
    "Privacy": 130,
}
"""Categories as the release spells them, and the questions in each: 2,241 in all."""


@dataclass(frozen=True, slots=True)
class VLSBench(HubDataset, Release):
    """Read VLSBench (``data.json`` and its pictures, which may be left packed in ``imgs.tar``).

    ``root`` is the list, or the folder that holds it or ``data/data.json``; without it,
    ``revision`` of the hub's data set is fetched. Pictures are looked for as ``image_path`` names
    them, from the list's folder and from ``root``. The scenario is upstream's ``category``, the id
    its ``instruction_id``.
    """

    name = "vlsbench"
    hub = "Foreshhh/vlsbench"
    hub_files = ("data.json", "imgs.tar", "imgs/**")
    whole = Expected(sum(SIZES.values()), SIZES, images=1)

    def tables(self) -> Iterator[Table]:
        """Yield the list."""
        source, path = self.table("data/data.json", "data.json")
        yield Table(source, path, files.json_list(path, source.where), "category")

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield the item of a row."""
        source, picture = table.source, text(row, "image_path")
        yield Draft(
            name_of(row, "instruction_id"),
            text(row, "category"),
            text(row, "instruction"),
            images=(source.either(table.path.parent / picture, source.folder / picture),),
            fields=optional(row, "sub_category", "source"),
        )
