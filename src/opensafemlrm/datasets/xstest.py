"""XSTest: safe prompts that sound unsafe, and unsafe ones that resemble them; text alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from opensafemlrm.datasets import files
from opensafemlrm.datasets.items import Draft, kind_of, optional, text
from opensafemlrm.datasets.release import Release, Row, Table
from opensafemlrm.datasets.source import single_table
from opensafemlrm.types import Expected, ItemKind

SOURCE: Final = "https://github.com/paul-rottger/xstest"
SIZES: Final = {ItemKind.BENIGN: 250, ItemKind.HARMFUL: 200}

_TABLES: Final = ("xstest_prompts.csv", "xstest_prompts_v2.csv", "xstest_v2_prompts.csv")
"""The table's name, which has changed between versions upstream."""
_CONTRAST: Final = "contrast_"
"""How upstream begins the type of an unsafe prompt; older tables have no label beside it."""


@dataclass(frozen=True, slots=True)
class XSTest(Release):
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

    def tables(self) -> Iterator[Table]:
        """Yield the table."""
        source, path = single_table(self.root, SOURCE, *_TABLES)
        yield Table(source, path, files.csv_rows(path, ("id", "prompt", "type"), SOURCE), "type")

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield the item of a row, where its kind is wanted."""
        scenario = text(row, "type")
        by_type = ItemKind.HARMFUL if scenario.startswith(_CONTRAST) else ItemKind.BENIGN
        kind = kind_of(text(row, "label")) if "label" in row else by_type
        if self.harmful if kind is ItemKind.HARMFUL else self.benign:
            fields = optional(row, "focus", "note")
            yield Draft(text(row, "id"), scenario, text(row, "prompt"), kind, fields=fields)
