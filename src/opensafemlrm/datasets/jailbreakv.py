"""JailBreakV-28K: ready-made jailbreaks of text and picture, and RedTeam-2K, their questions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from opensafemlrm.datasets import files
from opensafemlrm.datasets.items import Draft, optional, text
from opensafemlrm.datasets.release import Release, Row, Table
from opensafemlrm.datasets.source import HubDataset
from opensafemlrm.types import Expected

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
class JailBreakV(HubDataset, Release):
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

    def tables(self) -> Iterator[Table]:
        """Yield the subset's table."""
        source, name = self.locate(), _TABLES[self.subset]
        path = source.find(f"{_FOLDER}/{name}", name)
        columns = _PLAIN_COLUMNS if self.subset == "redteam-2k" else _COLUMNS
        yield Table(source, path, files.csv_rows(path, columns, source.where), "policy")

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield the item of a row."""
        name, policy = text(row, "id"), text(row, "policy")
        if self.subset == "redteam-2k":
            yield Draft(name, policy, text(row, "question"), fields=optional(row, "from"))
            return
        yield Draft(
            name,
            policy,
            text(row, "redteam_query"),
            released={"shipped": table.path.parent / text(row, "image_path")},
            fields={
                "prompt": text(row, "jailbreak_query"),
                **optional(row, "format", "from", "transfer_from_llm"),
            },
        )
