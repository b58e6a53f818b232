"""MOSSBench: harmless requests whose picture makes an over-cautious model refuse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from opensafemlrm.datasets import files
from opensafemlrm.datasets.items import Draft, Maker, text
from opensafemlrm.datasets.source import HubDataset
from opensafemlrm.errors import DatasetError
from opensafemlrm.types import Expected, Item, ItemKind

TYPES: Final = {"type 1": 100, "type 2": 100, "type 3": 100}
"""Upstream's three kinds of stimulus: exaggerated risk, negated harm, counterintuitive
interpretation; and the items of each."""

_TABLE: Final = "images_information/information.json"


@dataclass(frozen=True, slots=True)
class MOSSBench(HubDataset):
    """Read MOSSBench (``images_information/information.json`` and ``images/``).

    ``root`` is a local folder; without it, ``revision`` of the hub's data set is fetched. The
    scenario is the stimulus type, ``metadata.over``. Every item is benign.
    """

    name = "mossbench"
    hub = "AIcell/MOSSBench"
    hub_files = (_TABLE, "information.json", "images/*", "images.zip", "data/images/*")
    whole = Expected(sum(TYPES.values()), TYPES, images=1)

    def rows(self) -> Iterator[Item | DatasetError]:
        """Yield items in the order of the file, and for each bad row its error."""
        source = self.locate()
        table = source.find(_TABLE, f"data/{_TABLE}", "information.json")
        folder = table.parent.parent if table.parent.name == "images_information" else table.parent

        def drafts(pair: tuple[str, Any]) -> Iterator[Draft]:
            number, row = pair
            if not isinstance(row, dict) or not isinstance(row.get("metadata"), dict):
                raise DatasetError("the row is not a JSON object with 'metadata'")
            yield Draft(
                number,
                text(row["metadata"], "over"),
                text(row, "question"),
                ItemKind.BENIGN,
                images=(_picture(folder, text(row, "image")),),
                fields=_marks(row["metadata"]),
            )

        pairs = files.json_pairs(table, source.where)
        rows = [(number, (number, row)) for number, row in pairs]
        yield from Maker(self.name, source, table).items(rows, drafts)


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
