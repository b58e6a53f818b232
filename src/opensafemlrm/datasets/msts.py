"""MSTS: a harmless text and a harmless picture that mean something unsafe together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from opensafemlrm.datasets import files, parquet
from opensafemlrm.datasets.items import Draft, Maker, optional, text
from opensafemlrm.datasets.source import HubDataset, Picture, Source, single_table
from opensafemlrm.errors import DatasetError
from opensafemlrm.types import Expected, Item

CASES: Final = {
    "Non-Violent Crimes": 70,
    "Suicide & Self-Harm": 40,
    "Violent Crimes": 35,
    "Sex-Related Crimes": 30,
    "Other": 25,
}
"""Hazard categories as the release spells them, and the cases in each: 200 in all."""
Language = Literal[
    "english",
    "arabic",
    "chinese",
    "farsi",
    "french",
    "german",
    "hindi",
    "italian",
    "korean",
    "russian",
    "spanish",
]

_COLUMNS: Final = ("hazard_category", "case_id", "unsafe_image_id", "prompt_text", "prompt_type")
_FIELDS: Final = ("hazard_subcategory", "hazard_subsubcategory", "prompt_type", "case_id")
_PICTURES: Final = "unsafe_images"
_ENDINGS: Final = (".jpg", ".png")
"""How upstream's script saves the pictures that it downloads."""


@dataclass(frozen=True, slots=True)
class MSTS(HubDataset):
    """Read MSTS in one ``language``: the repository's tables, or the hub's Parquet files.

    ``root`` is a local folder: the repository with the pictures that its script
    ``0_download_images.py`` puts into ``data/unsafe_images/``, or a copy of the hub's data set.
    Without it, ``revision`` of the hub's data set is fetched. An item's id is its case and the
    type of its prompt, so that a case meets itself across languages.
    """

    name = "msts"
    hub = "felfri/MSTS"

    language: Language = "english"

    def patterns(self) -> Sequence[str]:
        """Return the hub's files of the language."""
        return (f"data/{self.language}-*.parquet", f"**/{self.language}*.parquet")

    def expected(self) -> Expected:
        """Return what a whole release holds; how many other languages have on the hub is open."""
        if self.language == "english":
            return Expected(400, {name: 2 * size for name, size in CASES.items()}, images=1)
        known = self.root is not None and not list(self.root.glob("**/*.parquet"))
        return Expected(200, CASES, images=1) if known else Expected(images=1)

    def rows(self) -> Iterator[Item | DatasetError]:
        """Yield items in the order of the table, and for each bad row its error."""
        table_name = f"{self.language}_multimodal.csv"
        if self.root is None or any(next(self.root.glob(name), None) for name in self.patterns()):
            yield from self._packed(self.locate())
            return
        source, table = single_table(
            self.root, self.card.source, f"data/prompts/{table_name}", f"prompts/{table_name}"
        )
        home = table.parent.parent
        places = Source(home, home, source.where)

        def drafts(row: Mapping[str, str]) -> Iterator[Draft]:
            yield _draft(row, _picture(text(row, "unsafe_image_id"), places))

        yield from Maker(self.name, places, table).items(
            files.csv_rows(table, _COLUMNS, source.where), drafts, scenario="hazard_category"
        )

    def _packed(self, source: Source) -> Iterator[Item | DatasetError]:
        tables = parquet.files(source, *self.patterns())

        def drafts(row: Mapping[str, Any]) -> Iterator[Draft]:
            yield _draft(row, parquet.picture(row["unsafe_image"], source.folder))

        columns = (*_COLUMNS, "unsafe_image")
        for maker, rows in Maker.over(self.name, source, tables, columns, _FIELDS[:2]):
            yield from maker.items(rows, drafts, scenario="hazard_category")


def _draft(row: Mapping[str, Any], picture: Picture) -> Draft:
    return Draft(
        f"{text(row, 'case_id')}/{text(row, 'prompt_type')}",
        text(row, "hazard_category"),
        text(row, "prompt_text"),
        images=(picture,),
        fields=optional(row, *_FIELDS),
    )


def _picture(name: str, source: Source) -> Path:
    places = [source.folder / _PICTURES / f"{name}{ending}" for ending in _ENDINGS]
    return next(filter(source.holds, places), places[0])
