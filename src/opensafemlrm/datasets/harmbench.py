"""HarmBench's text behaviours, and other tables of behaviours in its form; text alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from opensafemlrm.components import Dataset
from opensafemlrm.datasets import files
from opensafemlrm.datasets.items import Draft, Maker, optional, text
from opensafemlrm.datasets.source import single_table
from opensafemlrm.errors import DatasetError
from opensafemlrm.types import Card, Item

SOURCE: Final = "https://github.com/centerforaisafety/HarmBench"

_FORMS: Final = (
    {"question": "Behavior", "scenario": "SemanticCategory", "id": "BehaviorID"},
    {"question": "Goal", "scenario": "Category", "id": "Index"},
    {"question": "behavior", "scenario": "category", "id": ""},
)
"""Columns of HarmBench, of JailbreakBench, and of a plain table of behaviours and categories."""
_CONTEXT: Final = "ContextString"


@dataclass(frozen=True, slots=True)
class HarmBench(Dataset):
    """Read text behaviours from ``root``: the table, or the folder that holds HarmBench's.

    Takes HarmBench's columns (Behavior, SemanticCategory, BehaviorID), JailbreakBench's (Goal,
    Category, Index) and plain ones (behavior, category; an item's id is then its row, from 0).
    A behaviour's context is put before it, after HarmBench's own template.
    """

    name = "harmbench"
    card = Card(
        title="HarmBench (text behaviours)",
        paper="HarmBench: A Standardized Evaluation Framework for Automated Red Teaming and "
        "Robust Refusal, arXiv 2402.04249",
        licence="MIT",
        source=SOURCE,
        notes="Text alone. Copyright behaviours need HarmBench's own hash check, not a rubric.",
        size="400 behaviours in the table of all; other tables as they are",
        kinds="All are harmful.",
    )

    root: Path = field(compare=False)

    def rows(self) -> Iterator[Item | DatasetError]:
        """Yield items in the order of the table, and for each bad row its error."""
        names = ("harmbench_behaviors_text_all.csv", "behaviors.csv")
        folders = ("data/behavior_datasets/", "")
        source, table = single_table(
            self.root, SOURCE, *(folder + name for name in names for folder in folders)
        )
        header = files.csv_header(table, SOURCE)
        form = next((form for form in _FORMS if form["question"] in header), _FORMS[0])
        columns = [column for column in form.values() if column]
        count = -1

        def drafts(row: Mapping[str, str]) -> Iterator[Draft]:
            nonlocal count
            count += 1
            identity = text(row, form["id"]) if form["id"] else str(count)
            behaviour = text(row, form["question"])
            yield Draft(
                identity,
                text(row, form["scenario"]),
                _with_context(behaviour, row),
                fields=optional(row, "FunctionalCategory", "Tags", "Source"),
            )

        yield from Maker(self.name, source, table).items(
            files.csv_rows(table, columns, SOURCE), drafts, scenario=form["scenario"]
        )


def _with_context(behaviour: str, row: Mapping[str, str]) -> str:
    context = optional(row, _CONTEXT).get(_CONTEXT, "")
    return f"{context}\n\n---\n\n{behaviour}" if context else behaviour
