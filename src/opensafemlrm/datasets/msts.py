"""MSTS: a harmless text and a harmless picture that mean something unsafe together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from opensafemlrm.datasets import files, parquet
from opensafemlrm.datasets.items import Draft, optional, text
from opensafemlrm.datasets.release import Release, Row, Table
from opensafemlrm.datasets.source import HubDataset, Source, single_table
from opensafemlrm.types import Expected

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
class MSTS(HubDataset, Release):
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

    def tables(self) -> Iterator[Table]:
        """Yield the language's table, or else the Parquet files."""
        scenario, name = "hazard_category", f"{self.language}_multimodal.csv"
        if self.root is None or any(next(self.root.glob(name), None) for name in self.patterns()):
            columns = (*_COLUMNS, "unsafe_image")
            yield from Table.parquet(
                self.locate(), self.patterns(), columns, _FIELDS[:2], scenario=scenario
            )
            return
        where = self.card.source
        _, path = single_table(self.root, where, f"data/prompts/{name}", f"prompts/{name}")
        home = path.parent.parent
        rows = files.csv_rows(path, _COLUMNS, where)
        yield Table(Source(home, home, where), path, rows, scenario)

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield the item of a row: its picture is in its row, or a file."""
        source = table.source
        if "unsafe_image" in row:
            picture = parquet.picture(row["unsafe_image"], source.folder)
        else:
            name = source.folder / _PICTURES / text(row, "unsafe_image_id")
            picture = source.either(*(f"{name}{ending}" for ending in _ENDINGS))
        yield Draft(
            f"{text(row, 'case_id')}/{text(row, 'prompt_type')}",
            text(row, "hazard_category"),
            text(row, "prompt_text"),
            images=(picture,),
            fields=optional(row, *_FIELDS),
        )
