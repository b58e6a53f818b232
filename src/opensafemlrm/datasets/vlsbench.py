"""VLSBench: harmless-looking questions whose harm only the picture shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from opensafemlrm.datasets import files
from opensafemlrm.datasets.items import Draft, Maker, name_of, optional, text
from opensafemlrm.datasets.source import HubDataset
from opensafemlrm.errors import DatasetError
from opensafemlrm.types import Expected, Item

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
class VLSBench(HubDataset):
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

    def rows(self) -> Iterator[Item | DatasetError]:
        """Yield items in the order of the list, and for each bad row its error."""
        source, table = self.table("data/data.json", "data.json")

        def drafts(row: Mapping[str, Any]) -> Iterator[Draft]:
            picture = text(row, "image_path")
            places = (table.parent / picture, source.folder / picture)
            yield Draft(
                name_of(row, "instruction_id"),
                text(row, "category"),
                text(row, "instruction"),
                images=(next(filter(source.holds, places), places[0]),),
                fields=optional(row, "sub_category", "source"),
            )

        yield from Maker(self.name, source, table).items(
            files.json_list(table, source.where), drafts, scenario="category"
        )
