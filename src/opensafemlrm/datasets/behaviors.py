"""Tables of harmful behaviours in text alone: AdvBench's and StrongREJECT's."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from opensafemlrm.components import Dataset
from opensafemlrm.datasets import files
from opensafemlrm.datasets.items import Draft, Maker, optional, text
from opensafemlrm.datasets.source import single_table
from opensafemlrm.errors import DatasetError
from opensafemlrm.types import Expected, Item

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
class AdvBench(Dataset):
    """Read AdvBench from ``root``: the table, or the folder that holds it.

    Takes its own table (``harmful_behaviors.csv``: goal, target) and HarmBench's form of it
    (``advbench_behaviors.csv``: Behavior, BehaviorID). Without a BehaviorID, an item's id is its
    row, from 0. Answers that upstream begins (``target``) are not read; it gives no categories.
    """

    name = "advbench"
    whole = Expected(520)

    root: Path = field(compare=False)

    def rows(self) -> Iterator[Item | DatasetError]:
        """Yield items in the order of the table, and for each bad row its error."""
        source, table = single_table(
            self.root,
            ADVBENCH,
            "data/advbench/harmful_behaviors.csv",
            "harmful_behaviors.csv",
            "advbench_behaviors.csv",
        )
        own = "goal" in files.csv_header(table, ADVBENCH)
        question, *identity = ("goal",) if own else ("Behavior", "BehaviorID")
        numbers = itertools.count()

        def drafts(row: Mapping[str, str]) -> Iterator[Draft]:
            number = next(numbers)
            yield Draft(str(number) if own else text(row, identity[0]), "all", text(row, question))

        yield from Maker(self.name, source, table).items(
            files.csv_rows(table, (question, *identity), ADVBENCH), drafts
        )


@dataclass(frozen=True, slots=True)
class StrongREJECT(Dataset):
    """Read StrongREJECT from ``root``: the table ``strongreject_dataset.csv``, or its folder.

    An item's question is ``forbidden_prompt``, its scenario ``category``; upstream gives no id, so
    an item's is its row, from 0.
    """

    name = "strongreject"
    whole = Expected(sum(STRONGREJECT_SIZES.values()), STRONGREJECT_SIZES)

    root: Path = field(compare=False)

    def rows(self) -> Iterator[Item | DatasetError]:
        """Yield items in the order of the table, and for each bad row its error."""
        name = "strongreject_dataset.csv"
        source, table = single_table(self.root, STRONGREJECT, f"strongreject_dataset/{name}", name)
        numbers = itertools.count()

        def drafts(row: Mapping[str, str]) -> Iterator[Draft]:
            number = next(numbers)
            question, scenario = text(row, "forbidden_prompt"), text(row, "category")
            yield Draft(str(number), scenario, question, fields=optional(row, "source"))

        yield from Maker(self.name, source, table).items(
            files.csv_rows(table, ("category", "forbidden_prompt"), STRONGREJECT),
            drafts,
            scenario="category",
        )
