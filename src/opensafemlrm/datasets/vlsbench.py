"""VLSBench: harmless-looking questions whose harm only the picture shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from opensafemlrm.components import Dataset
from opensafemlrm.datasets import files
from opensafemlrm.datasets.items import Draft, Maker, name_of, optional, text
from opensafemlrm.datasets.source import Source, single_table
from opensafemlrm.errors import DatasetError
from opensafemlrm.types import Card, Expected, Item

SOURCE: Final = "https://github.com/hxhcreate/VLSBench"
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
class VLSBench(Dataset):
    """Read VLSBench (``data.json``, or the folder that holds it or ``data/data.json``).

    Pictures are looked for as ``image_path`` names them, from the table's folder or the one above
    it. The scenario is upstream's ``category``, the id its ``instruction_id``.
    """

    name = "vlsbench"
    card = Card(
        title="VLSBench",
        paper="VLSBench: Unveiling Visual Leakage in Multimodal Safety, arXiv 2411.19939",
        licence="see the repository",
        source=SOURCE,
        notes="The pictures are a separate download, linked from the repository.",
        size="2,241 questions in 6 categories",
        kinds="All are harmful.",
    )

    root: Path = field(compare=False)

    def expected(self) -> Expected:
        """Return what a whole release holds."""
        return Expected(sum(SIZES.values()), SIZES, images=1)

    def rows(self) -> Iterator[Item | DatasetError]:
        """Yield items in the order of the list, and for each bad row its error."""
        _, table = single_table(self.root, SOURCE, "data/data.json", "data.json")
        home = table.parent.parent if self.root.is_dir() and table.parent != self.root else None
        source = Source(home or table.parent, home or table.parent, SOURCE)

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
            files.json_list(table, SOURCE), drafts, scenario="category"
        )
