"""MOSSBench: harmless requests whose picture makes an over-cautious model refuse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from opensafemlrm.datasets import files
from opensafemlrm.datasets.items import Draft, text
from opensafemlrm.datasets.release import Release, Row, Table
from opensafemlrm.datasets.source import HubDataset
from opensafemlrm.errors import DatasetError
from opensafemlrm.types import Expected, ItemKind

TYPES: Final = {"type 1": 100, "type 2": 100, "type 3": 100}
"""Upstream's three kinds of stimulus: exaggerated risk, negated harm, counterintuitive
interpretation; and the items of each."""

_TABLE: Final = "images_information/information.json"


@dataclass(frozen=True, slots=True)
class MOSSBench(HubDataset, Release):
    """Read MOSSBench (``images_information/information.json`` and ``images/``).

    ``root`` is a local folder; without it, ``revision`` of the hub's data set is fetched. The
    scenario is the stimulus type, ``metadata.over``. Every item is benign.
    """

    name = "mossbench"
    hub = "AIcell/MOSSBench"
    hub_files = (_TABLE, "information.json", "images/*", "images.zip", "data/images/*")
    whole = Expected(sum(TYPES.values()), TYPES, images=1)

    def tables(self) -> Iterator[Table]:
        """Yield the file: an object of rows by their ids."""
        source = self.locate()
        path = source.find(_TABLE, f"data/{_TABLE}", "information.json")
        pairs = files.json_pairs(path, source.where)
        yield Table(source, path, ((name, {"id": name, "row": row}) for name, row in pairs))

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield the item of a row."""
        cells, folder = row["row"], table.path.parent
        folder = folder.parent if folder.name == "images_information" else folder
        if not isinstance(cells, dict) or not isinstance(cells.get("metadata"), dict):
            raise DatasetError("the row is not a JSON object with 'metadata'")
        yield Draft(
            row["id"],
            text(cells["metadata"], "over"),
            text(cells, "question"),
            ItemKind.BENIGN,
            images=(_picture(folder, text(cells, "image")),),
            fields=_marks(cells["metadata"]),
        )


def _picture(folder: Path, name: str) -> Path:
    """Upstream names a picture with or without the folder ``images``."""
    return folder / name if name.startswith("images/") else folder / "images" / name


def _marks(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return upstream's yes-or-no marks: people, children, synthetic, with text."""
    return {
        name: value
        for name in ("human", "child", "syn", "ocr")
        if isinstance(value := metadata.get(name), bool | int | str)
    }
