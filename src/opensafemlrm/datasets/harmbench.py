"""HarmBench's behaviours, with or without pictures, and plain tables like it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from opensafemlrm.datasets import files
from opensafemlrm.datasets.items import Draft, optional, text
from opensafemlrm.datasets.release import Release, Row, Table
from opensafemlrm.datasets.source import Source, single_table
from opensafemlrm.errors import DatasetError
from opensafemlrm.types import Expected

SOURCE: Final = "https://github.com/centerforaisafety/HarmBench"
SIZES: Final = {"text": 400, "multimodal": 110}
"""Behaviours in HarmBench's two tables."""

_TABLES: Final = {name: f"harmbench_behaviors_{name}_all.csv" for name in SIZES}
_FOLDERS: Final = ("data/behavior_datasets/", "behavior_datasets/", "")
_PICTURES: Final = "multimodal_behavior_images"
_FORMS: Final = (
    {"question": "Behavior", "scenario": "SemanticCategory", "id": "BehaviorID"},
    {"question": "behavior", "scenario": "category"},
)
"""Columns of HarmBench, and of plain tables."""
_OTHERS: Final = {
    "jailbreakbench": {"Goal", "Behavior", "Index"},
    "strongreject": {"forbidden_prompt"},
    "advbench": {"goal", "target"},
}
"""Columns that tell the tables of other data sets."""
_CONTEXT: Final = "ContextString"
_IMAGE: Final = "ImageFileName"


@dataclass(frozen=True, slots=True)
class HarmBench(Release):
    """Read behaviours from ``root``: a table, or the folder that holds HarmBench's ``subset``.

    Takes HarmBench's columns (Behavior, SemanticCategory, BehaviorID) and plain ones (behavior,
    category; an item's id is then its row, from 0). A behaviour's context is put before it, after
    HarmBench's own template. A behaviour with a picture (``ImageFileName``) comes with it, from
    the folder ``multimodal_behavior_images`` beside the table's, or from that of the table.
    """

    name = "harmbench"

    root: Path = field(compare=False)
    subset: Literal["text", "multimodal"] = "text"

    def expected(self) -> Expected:
        """Return what HarmBench's own table holds; the size of another table is not known."""
        own = self.root.is_dir() or self.root.name == _TABLES[self.subset]
        return Expected(
            SIZES[self.subset] if own else None, images=int(self.subset == "multimodal")
        )

    def tables(self) -> Iterator[Table]:
        """Yield the table. Raises DatasetError where it is that of another data set."""
        names = (folder + _TABLES[self.subset] for folder in _FOLDERS)
        _, path = single_table(self.root, SOURCE, *names)
        header = files.csv_header(path, SOURCE)
        for other, columns in _OTHERS.items():
            if columns <= set(header):
                reason = f"this is another data set's table; read it with the dataset {other!r}"
                raise DatasetError(reason, path=path)
        folder, form = _pictures_of(path), _form(header)
        # Pictures may lie beside the table's folder, as they do in HarmBench's repository.
        home = path.parent if folder.is_relative_to(path.parent) else folder.parent
        rows = files.csv_rows(path, tuple(form.values()), SOURCE)
        yield Table(Source(home, home, SOURCE), path, rows, form["scenario"])

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield the item of a row."""
        form = _form(row)
        behaviour = text(row, form["question"])
        yield Draft(
            text(row, form["id"]) if "id" in form else str(number),
            text(row, form["scenario"]),
            _with_context(behaviour, row),
            images=(_pictures_of(table.path) / text(row, _IMAGE),) if _IMAGE in row else (),
            fields=optional(row, "FunctionalCategory", "Tags", "Source"),
        )


def _form(columns: Iterable[str]) -> Mapping[str, str]:
    return next((form for form in _FORMS if {*form.values()} <= {*columns}), _FORMS[0])


def _pictures_of(table: Path) -> Path:
    """Return the folder of a table's pictures."""
    for home in (table.parent, table.parent.parent):
        if (home / _PICTURES).is_dir() or (home / f"{_PICTURES}.zip").is_file():
            return home / _PICTURES
    return table.parent


def _with_context(behaviour: str, row: Mapping[str, str]) -> str:
    context = optional(row, _CONTEXT).get(_CONTEXT, "")
    return f"{context}\n\n---\n\n{behaviour}" if context else behaviour
