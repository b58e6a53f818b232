"""HarmBench's behaviours, with or without pictures, and plain tables like it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from opensafemlrm.components import Dataset
from opensafemlrm.datasets import files
from opensafemlrm.datasets.items import Draft, Maker, optional, text
from opensafemlrm.datasets.source import Source, single_table
from opensafemlrm.errors import DatasetError
from opensafemlrm.types import Expected, Item

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
class HarmBench(Dataset):
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

    def rows(self) -> Iterator[Item | DatasetError]:
        """Yield items in the order of the table, and for each bad row its error."""
        names = (folder + _TABLES[self.subset] for folder in _FOLDERS)
        _, table = single_table(self.root, SOURCE, *names)
        header = files.csv_header(table, SOURCE)
        for other, columns in _OTHERS.items():
            if columns <= set(header):
                reason = f"this is another data set's table; read it with the dataset {other!r}"
                raise DatasetError(reason, path=table)
        form = next((form for form in _FORMS if set(form.values()) <= set(header)), _FORMS[0])
        folder = _pictures_of(table)
        # Pictures may lie beside the table's folder, as they do in HarmBench's repository.
        home = table.parent if folder.is_relative_to(table.parent) else folder.parent
        source = Source(home, home, SOURCE)
        numbers = itertools.count()

        def drafts(row: Mapping[str, str]) -> Iterator[Draft]:
            number = next(numbers)
            behaviour = text(row, form["question"])
            yield Draft(
                text(row, form["id"]) if "id" in form else str(number),
                text(row, form["scenario"]),
                _with_context(behaviour, row),
                images=(folder / text(row, _IMAGE),) if _IMAGE in row else (),
                fields=optional(row, "FunctionalCategory", "Tags", "Source"),
            )

        yield from Maker(self.name, source, table).items(
            files.csv_rows(table, tuple(form.values()), SOURCE),
            drafts,
            scenario=form["scenario"],
        )


def _pictures_of(table: Path) -> Path:
    """Return the folder of a table's pictures."""
    for home in (table.parent, table.parent.parent):
        if (home / _PICTURES).is_dir() or (home / f"{_PICTURES}.zip").is_file():
            return home / _PICTURES
    return table.parent


def _with_context(behaviour: str, row: Mapping[str, str]) -> str:
    context = optional(row, _CONTEXT).get(_CONTEXT, "")
    return f"{context}\n\n---\n\n{behaviour}" if context else behaviour
