"""JailBreakV-28K: ready-made jailbreaks of text and picture, and RedTeam-2K, their questions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from opensafemlrm.datasets import files
from opensafemlrm.datasets.items import Draft, Maker, optional, text
from opensafemlrm.datasets.source import HubDataset
from opensafemlrm.errors import DatasetError
from opensafemlrm.types import Expected, Item

SIZES: Final = {"full": 28_000, "mini": 280, "redteam-2k": 2_000}
"""Rows of each table, by the paper."""

_FOLDER: Final = "JailBreakV_28K"
_TABLES: Final = {
    "full": "JailBreakV_28K.csv",
    "mini": "mini_JailBreakV_28K.csv",
    "redteam-2k": "RedTeam_2K.csv",
}
_COLUMNS: Final = ("id", "jailbreak_query", "redteam_query", "policy", "image_path")
_PLAIN_COLUMNS: Final = ("id", "question", "policy")


@dataclass(frozen=True, slots=True)
class JailBreakV(HubDataset):
    """Read JailBreakV-28K, its mini version, or RedTeam-2K (``JailBreakV_28K/*.csv`` and folders).

    ``root`` is a local folder; without it, ``revision`` of the hub's data set is fetched. An item's
    question is the plain ``redteam_query``, which is judged against. The jailbreak itself is
    ``fields["prompt"]`` with the picture ``released["shipped"]``: the attack ``shipped`` sends
    them, ``direct`` sends the plain question. RedTeam-2K has plain questions alone.
    """

    name = "jailbreakv-28k"
    hub = "JailbreakV-28K/JailBreakV-28k"

    subset: Literal["full", "mini", "redteam-2k"] = "full"

    def patterns(self) -> Sequence[str]:
        """Return the subset's table, and the pictures where it has any."""
        pictures = (f"{_FOLDER}/**/*.png", f"{_FOLDER}/**/*.jpg")
        table = f"{_FOLDER}/{_TABLES[self.subset]}"
        return (table,) if self.subset == "redteam-2k" else (table, *pictures)

    def expected(self) -> Expected:
        """Return what a whole release holds."""
        return Expected(SIZES[self.subset], images=0 if self.subset == "redteam-2k" else 1)

    def rows(self) -> Iterator[Item | DatasetError]:
        """Yield items in the order of the table, and for each bad row its error."""
        name = _TABLES[self.subset]
        plain = self.subset == "redteam-2k"
        source = self.locate()
        table = source.find(f"{_FOLDER}/{name}", name)

        def drafts(row: Mapping[str, str]) -> Iterator[Draft]:
            if plain:
                yield _question(row)
            else:
                yield _jailbreak(row, table.parent)

        columns = _PLAIN_COLUMNS if plain else _COLUMNS
        yield from Maker(self.name, source, table).items(
            files.csv_rows(table, columns, source.where), drafts, scenario="policy"
        )


def _question(row: Mapping[str, str]) -> Draft:
    return Draft(
        text(row, "id"), text(row, "policy"), text(row, "question"), fields=optional(row, "from")
    )


def _jailbreak(row: Mapping[str, str], folder: Path) -> Draft:
    return Draft(
        text(row, "id"),
        text(row, "policy"),
        text(row, "redteam_query"),
        released={"shipped": folder / text(row, "image_path")},
        fields={
            "prompt": text(row, "jailbreak_query"),
            **optional(row, "format", "from", "transfer_from_llm"),
        },
    )
