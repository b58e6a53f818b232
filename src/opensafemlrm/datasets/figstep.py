"""SafeBench of FigStep: 500 questions in ten topics, and the pictures made from them."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from opensafemlrm.components import Dataset
from opensafemlrm.datasets import files, taxonomy
from opensafemlrm.datasets.items import Draft, Maker, numbered, text
from opensafemlrm.datasets.source import Picture, Source
from opensafemlrm.errors import DatasetError
from opensafemlrm.types import Expected, Item

SIZES: Final = {"full": 500, "tiny": 50}
"""Questions in each subset of the release (10 topics of 50, and of 5)."""
TOPICS: Final = tuple(taxonomy.scenarios("figstep"))
"""The topics as the release spells them."""
SOURCE: Final = "https://github.com/ThuCCSLab/FigStep"

_COLUMNS: Final = ("category_id", "task_id", "category_name", "question", "instruction")
_TABLES: Final = {"full": "safebench.csv", "tiny": "SafeBench-Tiny.csv"}
_FOLDERS: Final = {"full": "SafeBench", "tiny": "SafeBench-Tiny"}
_PICTURE: Final = "query_ForbidQI_{}_{}_6.png"
_SENTENCES: Final = "question/benign_sentences_without_harmful_phase.csv"
_PIECE: Final = "images/FigStep-Pro/sub-figures/image_{0}_splits/image_{0}_split_{1}.png"
"""Piece of an item of SafeBench-Tiny, both numbered from 0; as released, in ``sub-figures.zip``."""
_MAX_PIECES: Final = 9


@dataclass(frozen=True, slots=True)
class FigStep(Dataset):
    """Read SafeBench, or SafeBench-Tiny, from ``root``: FigStep's ``data`` folder or its parent.

    An item's id is its topic and task, such as ``1-1``. Its pictures (``released["figstep"]``) are
    taken from ``images/SafeBench`` or ``images/SafeBench-Tiny``; where that folder holds none, the
    attack draws them, and where it holds some, one that is missing is an error of its row.

    In Tiny, FigStep-Pro's pieces (``released["figstep-pro"]``, ``["figstep-pro-2"]`` and so on)
    are taken from ``images/FigStep-Pro``, packed or not, and the sentence that goes with them
    (field ``masked``) from ``question``, where both are there.
    """

    name = "figstep"

    root: Path = field(compare=False)
    subset: Literal["full", "tiny"] = "full"

    def expected(self) -> Expected:
        """Return what a whole release holds."""
        size = SIZES[self.subset]
        return Expected(size, dict.fromkeys(TOPICS, size // len(TOPICS)), images=1)

    def rows(self) -> Iterator[Item | DatasetError]:
        """Yield items in the order of the table, and for each bad row its error.

        Raises DatasetError if a file of the release or a column is missing.
        """
        root = files.find_root(self.root, "question", self.card.title, SOURCE)
        table = root / "question" / _TABLES[self.subset]
        folder = root / "images" / _FOLDERS[self.subset]
        source = Source(root, root, SOURCE)
        has_pictures = any(folder.glob(_PICTURE.format("*", "*")))
        sentences = _sentences(root / _SENTENCES) if self.subset == "tiny" else []

        def drafts(row: Mapping[str, str]) -> Iterator[Draft]:
            topic, task = row["category_id"], row["task_id"]
            if not (_is_number(topic) and _is_number(task)):
                raise DatasetError("'category_id' and 'task_id' must be whole numbers")
            fields = {"instruction": text(row, "instruction")}
            released: dict[str, Picture] = {}
            if has_pictures:
                released["figstep"] = folder / _PICTURE.format(topic, task)
            place = (int(topic) - 1) * (SIZES["tiny"] // len(TOPICS)) + int(task) - 1
            pieces = _pieces(source, place) if 0 <= place < len(sentences) else {}
            if pieces:
                fields["masked"] = sentences[place]
            yield Draft(
                f"{topic}-{task}",
                text(row, "category_name"),
                text(row, "question"),
                released=released | pieces,
                fields=fields,
            )

        rows = files.csv_rows(table, _COLUMNS, SOURCE)
        yield from Maker(self.name, source, table).items(rows, drafts, scenario="category_name")


def _sentences(path: Path) -> Sequence[str]:
    """Return FigStep-Pro's sentences, in the order of SafeBench-Tiny; none without the file.

    Upstream left the commas of its sentences unquoted, so a row of two cells is one sentence.
    """
    if not path.is_file():
        return []
    files.check_file(path, SOURCE)
    with path.open(newline="", encoding="utf-8-sig") as file:
        return [",".join(cells) for cells in csv.reader(file)][1:]


def _pieces(source: Source, place: int) -> dict[str, Picture]:
    """Return the pieces of an item, as far as there are any."""
    paths = (source.folder / _PIECE.format(place, number) for number in range(_MAX_PIECES))
    there: Iterator[Path] = itertools.takewhile(source.holds, paths)
    return numbered("figstep-pro", there)


def _is_number(value: str) -> bool:
    return value.isascii() and value.isdigit()
