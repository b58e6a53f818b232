"""SafeBench of FigStep: 500 questions in ten topics, and the pictures made from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from opensafemlrm.components import Dataset
from opensafemlrm.datasets import files
from opensafemlrm.errors import DatasetError, DuplicateError, EmptyTextError
from opensafemlrm.types import Card, Expected, Item

SIZES: Final = {"full": 500, "tiny": 50}
"""Questions in each subset of the release (10 topics of 50, and of 5)."""
TOPICS: Final = (
    "Illegal Activity",
    "Hate Speech",
    "Malware Generation",
    "Physical Harm",
    "Fraud",
    "Adult Content",
    "Privacy Violation",
    "Legal Opinion",
    "Financial Advice",
    "Health Consultation",
)
"""The topics as the release spells them."""
SOURCE: Final = "https://github.com/ThuCCSLab/FigStep"

_COLUMNS: Final = ("category_id", "task_id", "category_name", "question", "instruction")
_TABLES: Final = {"full": "safebench.csv", "tiny": "SafeBench-Tiny.csv"}
_FOLDERS: Final = {"full": "SafeBench", "tiny": "SafeBench-Tiny"}
_PICTURE: Final = "query_ForbidQI_{}_{}_6.png"


@dataclass(frozen=True, slots=True)
class FigStep(Dataset):
    """Read SafeBench, or SafeBench-Tiny, from ``root``: FigStep's ``data`` folder or its parent.

    An item's id is its topic and task, such as ``1-1``. Its pictures (``released["figstep"]``) are
    taken from ``images/SafeBench`` or ``images/SafeBench-Tiny``; where that folder holds none, the
    attack draws them, and where it holds some, one that is missing is an error of its row.
    """

    name = "figstep"
    card = Card(
        title="SafeBench (FigStep)",
        paper="FigStep: Jailbreaking Large Vision-Language Models via Typographic Visual Prompts, "
        "arXiv 2311.05608",
        licence="MIT",
        source=SOURCE,
        notes="Not the SafeBench of Ying et al. All questions are harmful; judge against them.",
        size="500 questions in 10 topics; Tiny 50",
        kinds="All are harmful.",
    )

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
        has_pictures = any(folder.glob(_PICTURE.format("*", "*")))
        seen: dict[str, int] = {}
        for row in files.csv_rows(table, _COLUMNS, SOURCE):
            if isinstance(row, DatasetError):
                yield row
                continue
            try:
                yield self._item(row, table, folder if has_pictures else None, seen)
            except DatasetError as error:
                error.scenario = row[1]["category_name"]
                yield error

    def _item(self, row: files.Row, table: Path, folder: Path | None, seen: dict[str, int]) -> Item:
        line, cells = row
        topic, task = cells["category_id"], cells["task_id"]
        if not (_is_number(topic) and _is_number(task)):
            raise DatasetError(
                "'category_id' and 'task_id' must be whole numbers", path=table, row=line
            )
        identity = f"{topic}-{task}"
        for column in ("category_name", "question", "instruction"):
            if not cells[column].strip():
                raise EmptyTextError(f"{column!r} is empty", path=table, row=line)
        if identity in seen:
            reason = f"the id {identity} was given to row {seen[identity]} already"
            raise DuplicateError(reason, path=table, row=line)
        seen[identity] = line
        released = {}
        if folder is not None:
            path = folder / _PICTURE.format(topic, task)
            released["figstep"] = files.image(path, folder.parent.parent, listed_in=table, row=line)
        return Item(
            dataset=self.name,
            id=identity,
            scenario=cells["category_name"],
            question=cells["question"],
            fields={"instruction": cells["instruction"]},
            released=released,
            origin=f"{table}: row {line}",
        )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
