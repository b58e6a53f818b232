"""Tables of harmful behaviours in text alone: AdvBench's and StrongREJECT's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from opensafemlrm.datasets import files
from opensafemlrm.datasets.items import Draft, optional, text
from opensafemlrm.datasets.release import Release, Row, Table
from opensafemlrm.datasets.source import single_table
from opensafemlrm.types import Expected

ADVBENCH: Final = "https://github.com/llm-attacks/llm-attacks"
STRONGREJECT: Final = "https://github.com/alexandrasouly/strongreject"
STRONGREJECT_SIZES: Final = {
    "Non-violent crimes": 59,
    "Violence": 54,
    "Disinformation and deception": 50,
    "Hate, harassment and discrimination": 50,
    "Illegal goods and services": 50,
    "Sexual content": 50,
}
"""Categories as the table spells them, and the prompts in each: 313 in all."""


@dataclass(frozen=True, slots=True)
class AdvBench(Release):
    """Read AdvBench from ``root``: the table, or the folder that holds it.

    Takes its own table (``harmful_behaviors.csv``: goal, target) and HarmBench's form of it
    (``advbench_behaviors.csv``: Behavior, BehaviorID). Without a BehaviorID, an item's id is its
    row, from 0. Answers that upstream begins (``target``) are not read; it gives no categories.
    """

    name = "advbench"
    whole = Expected(520)

    root: Path = field(compare=False)

    def tables(self) -> Iterator[Table]:
        """Yield the table."""
        source, path = single_table(
            self.root,
            ADVBENCH,
            "data/advbench/harmful_behaviors.csv",
            "harmful_behaviors.csv",
            "advbench_behaviors.csv",
        )
        own = "goal" in files.csv_header(path, ADVBENCH)
        columns = ("goal",) if own else ("Behavior", "BehaviorID")
        yield Table(source, path, files.csv_rows(path, columns, ADVBENCH))

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield the item of a row."""
        if "goal" in row:
            yield Draft(str(number), "all", text(row, "goal"))
        else:
            yield Draft(text(row, "BehaviorID"), "all", text(row, "Behavior"))


@dataclass(frozen=True, slots=True)
class StrongREJECT(Release):
    """Read StrongREJECT from ``root``: the table ``strongreject_dataset.csv``, or its folder.

    An item's question is ``forbidden_prompt``, its scenario ``category``; upstream gives no id, so
    an item's is its row, from 0.
    """

    name = "strongreject"
    whole = Expected(sum(STRONGREJECT_SIZES.values()), STRONGREJECT_SIZES)

    root: Path = field(compare=False)

    def tables(self) -> Iterator[Table]:
        """Yield the table."""
        name = "strongreject_dataset.csv"
        source, path = single_table(self.root, STRONGREJECT, f"strongreject_dataset/{name}", name)
        columns = ("category", "forbidden_prompt")
        yield Table(source, path, files.csv_rows(path, columns, STRONGREJECT), "category")

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield the item of a row."""
        question, scenario = text(row, "forbidden_prompt"), text(row, "category")
        yield Draft(str(number), scenario, question, fields=optional(row, "source"))
