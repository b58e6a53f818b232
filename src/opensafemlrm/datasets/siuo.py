"""SIUO: a safe picture and a safe question that are unsafe together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from opensafemlrm.datasets import files
from opensafemlrm.datasets.items import Draft, Maker, name_of, optional, text
from opensafemlrm.datasets.source import HubDataset
from opensafemlrm.errors import DatasetError
from opensafemlrm.types import Expected, Item


@dataclass(frozen=True, slots=True)
class SIUO(HubDataset):
    """Read SIUO's generation questions (``siuo_gen.json`` and ``images/``).

    ``root`` is a local folder; without it, ``revision`` of the hub's data set is fetched. The
    scenario is upstream's category. ``safety_warning`` and ``reference_answer`` are kept as
    fields, for judges that compare.
    """

    name = "siuo"
    hub = "sinwang/SIUO"
    hub_files = ("siuo_gen.json", "images/*", "images.zip")
    whole = Expected(167, images=1)

    def rows(self) -> Iterator[Item | DatasetError]:
        """Yield items in the order of the file, and for each bad row its error."""
        source = self.locate()
        table = source.find("siuo_gen.json")
        folder = source.folder / "images"

        def drafts(row: Mapping[str, Any]) -> Iterator[Draft]:
            yield Draft(
                name_of(row, "question_id"),
                text(row, "category"),
                text(row, "question"),
                images=(folder / text(row, "image"),),
                fields=optional(row, "safety_warning", "reference_answer"),
            )

        yield from Maker(self.name, source, table).items(
            files.json_list(table, source.where), drafts, scenario="category"
        )
