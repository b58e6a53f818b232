"""XSTest: safe prompts that sound unsafe, and unsafe ones that resemble them; text alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from opensafemlrm.components import Dataset
from opensafemlrm.datasets import files
from opensafemlrm.datasets.items import Draft, Maker, kind_of, optional, text
from opensafemlrm.datasets.source import single_table
from opensafemlrm.errors import DatasetError
from opensafemlrm.types import Expected, Item, ItemKind

SOURCE: Final = "https://github.com/paul-rottger/xstest"
SIZES: Final = {ItemKind.BENIGN: 250, ItemKind.HARMFUL: 200}

_TABLES: Final = ("xstest_prompts.csv", "xstest_prompts_v2.csv", "xstest_v2_prompts.csv")
"""The table's name, which has changed between versions upstream."""
_CONTRAST: Final = "contrast_"
"""How upstream begins the type of an unsafe prompt; older tables have no label beside it."""


@dataclass(frozen=True, slots=True)
class XSTest(Dataset):
    """Read XSTest from ``root``: the table ``xstest_prompts.csv``, or the folder that holds it.

    The scenario is upstream's ``type``. The kind is ``label``, or, in tables without it, what the
    type says. ``benign=False`` or ``harmful=False`` leave one half out.
    """

    name = "xstest"

    root: Path = field(compare=False)
    benign: bool = True
    harmful: bool = True

    def expected(self) -> Expected:
        """Return what a whole release holds."""
        return Expected(
            self.benign * SIZES[ItemKind.BENIGN] + self.harmful * SIZES[ItemKind.HARMFUL]
        )

    def rows(self) -> Iterator[Item | DatasetError]:
        """Yield items in the order of the table, and for each bad row its error."""
        source, table = single_table(self.root, SOURCE, *_TABLES)
        wanted = {ItemKind.BENIGN: self.benign, ItemKind.HARMFUL: self.harmful}

        def drafts(row: Mapping[str, str]) -> Iterator[Draft]:
            scenario = text(row, "type")
            by_type = ItemKind.HARMFUL if scenario.startswith(_CONTRAST) else ItemKind.BENIGN
            kind = kind_of(text(row, "label")) if "label" in row else by_type
            if wanted[kind]:
                fields = optional(row, "focus", "note")
                yield Draft(text(row, "id"), scenario, text(row, "prompt"), kind, fields=fields)

        yield from Maker(self.name, source, table).items(
            files.csv_rows(table, ("id", "prompt", "type"), SOURCE), drafts, scenario="type"
        )
