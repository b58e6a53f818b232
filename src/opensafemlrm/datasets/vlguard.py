"""VLGuard: pictures that are unsafe, and safe pictures with a safe and an unsafe instruction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from opensafemlrm.datasets import files
from opensafemlrm.datasets.items import Draft, name_of, optional, text
from opensafemlrm.datasets.release import Release, Row, Table
from opensafemlrm.datasets.source import HubDataset
from opensafemlrm.errors import DatasetError
from opensafemlrm.types import Expected, ItemKind

SIZES: Final = {"unsafes": 442, "safe_unsafes": 558, "safe_safes": 558}
"""Items of each split of the test set: 442 unsafe pictures, and 558 safe ones asked about twice."""


@dataclass(frozen=True, slots=True)
class VLGuard(HubDataset, Release):
    """Read VLGuard's test set (``test.json`` and ``test/``).

    ``root`` is a local folder; without it, ``revision`` of the hub's data set is fetched (it is
    gated there). ``split`` is one of upstream's three, or ``all``. An item's id is upstream's and
    its split. The two instructions of a safe picture share the field ``pair``. The scenario of an
    unsafe picture is upstream's subcategory; what is asked about a safe picture, upstream gives no
    category, so its scenario is its split.
    """

    name = "vlguard"
    hub = "ys-zong/VLGuard"
    hub_files = ("test.json", "test.zip", "test/**")

    split: Literal["all", "unsafes", "safe_unsafes", "safe_safes"] = "all"

    def expected(self) -> Expected:
        """Return what a whole release holds."""
        total = sum(SIZES.values()) if self.split == "all" else SIZES[self.split]
        return Expected(total, images=1)

    def tables(self) -> Iterator[Table]:
        """Yield the list."""
        source = self.locate()
        path = source.find("test.json", "data/test.json")
        yield Table(source, path, files.json_list(path, source.where), "harmful_subcategory")

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield the items of a picture that are of the split."""
        for draft in _drafts(row, table.path.parent / "test"):
            if self.split in ("all", draft.fields["split"]):
                yield draft


def _drafts(row: Row, folder: Path) -> Iterator[Draft]:
    number, picture = name_of(row, "id"), folder / text(row, "image")
    safe, entries = row.get("safe"), row.get("instr-resp")
    if not isinstance(safe, bool):
        raise DatasetError("'safe' is neither true nor false")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DatasetError("there is no list 'instr-resp' of instructions")
    if not safe:
        if not entries:
            raise DatasetError("the list 'instr-resp' is empty")
        yield Draft(
            f"{number}/unsafes",
            text(row, "harmful_subcategory"),
            text(entries[0], "instruction"),
            images=(picture,),
            fields={"split": "unsafes", **optional(row, "harmful_category")},
        )
        return
    instructions = {key: entry for entry in entries for key in entry}
    for key, split, kind in (
        ("unsafe_instruction", "safe_unsafes", ItemKind.HARMFUL),
        ("safe_instruction", "safe_safes", ItemKind.BENIGN),
    ):
        yield Draft(
            f"{number}/{split}",
            split,
            text(instructions.get(key, {}), key),
            kind,
            images=(picture,),
            fields={"split": split, "pair": number},
        )
