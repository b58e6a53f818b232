"""SIUO: a safe picture and a safe question that are unsafe together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from opensafemlrm.datasets import files
from opensafemlrm.datasets.items import Draft, name_of, optional, text
from opensafemlrm.datasets.release import Release, Row, Table
from opensafemlrm.datasets.source import HubDataset
from opensafemlrm.types import Expected


@dataclass(frozen=True, slots=True)
class SIUO(HubDataset, Release):
    """Read SIUO's generation questions (``siuo_gen.json`` and ``images/``).

    ``root`` is a local folder; without it, ``revision`` of the hub's data set is fetched. The
    scenario is upstream's category. ``safety_warning`` and ``reference_answer`` are kept as
    fields, for judges that compare.
    """

    name = "siuo"
    hub = "sinwang/SIUO"
    hub_files = ("siuo_gen.json", "images/*", "images.zip")
    whole = Expected(167, images=1)

    def tables(self) -> Iterator[Table]:
        """Yield the list."""
        source = self.locate()
        path = source.find("siuo_gen.json")
        yield Table(source, path, files.json_list(path, source.where), "category")

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield the item of a row."""
        yield Draft(
            name_of(row, "question_id"),
            text(row, "category"),
            text(row, "question"),
            images=(table.source.folder / "images" / text(row, "image"),),
            fields=optional(row, "safety_warning", "reference_answer"),
        )
