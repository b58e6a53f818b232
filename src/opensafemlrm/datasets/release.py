"""A release in tables: how nearly every data set is read.

A loader says which tables its release has, and what a row of them means; the rest is here.
"""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeAlias

from opensafemlrm.components import Dataset
from opensafemlrm.datasets import parquet
from opensafemlrm.datasets.items import Draft, Maker, RowNumber
from opensafemlrm.datasets.source import Source
from opensafemlrm.errors import DatasetError
from opensafemlrm.types import Item

Row: TypeAlias = Mapping[str, Any]
"""The cells of a row, by column."""


@dataclass(frozen=True, slots=True)
class Table:
    """A file of rows in a release: ``rows`` is what a reader of ``files`` or ``parquet`` yields."""

    source: Source
    path: Path
    rows: Iterable[tuple[RowNumber, Row] | DatasetError]
    scenario: str = ""
    """The column that tells the scenario of a row that gives no item."""
    part: str = ""
    """The split, subset or category that it is of, where the release has several."""

    @classmethod
    def parquet(
        cls,
        source: Source,
        patterns: Iterable[str],
        columns: Sequence[str],
        more: Sequence[str] = (),
        *,
        scenario: str = "",
        part: str = "",
    ) -> Iterator[Self]:
        """Yield the Parquet files of the first of ``patterns`` that has any.

        ``columns`` and ``more`` are as :func:`opensafemlrm.datasets.parquet.rows` takes them.
        Raises DatasetError as :func:`opensafemlrm.datasets.parquet.files` does.
        """
        for path in parquet.files(source, *patterns):
            yield cls(source, path, parquet.rows(path, columns, more=more), scenario, part)


class Release(Dataset):
    """A data set whose items are the rows of tables."""

    @abstractmethod
    def tables(self) -> Iterable[Table]:
        """Yield the tables, in order. Raises DatasetError where one is not there."""

    @abstractmethod
    def drafts(self, row: Row, table: Table, number: int) -> Iterable[Draft]:
        """Yield the items of a row. Raises DatasetError with nothing but the reason.

        ``number`` counts the rows of the table's part that could be read, from 0.
        """

    def rows(self) -> Iterator[Item | DatasetError]:
        """Yield the items in the order of the tables, and for each bad row its error.

        Raises DatasetError where a file of the release or a column is missing.
        """
        rows_by_id: dict[str, RowNumber] = {}
        numbers: dict[str, Iterator[int]] = defaultdict(itertools.count)
        for table in self.tables():
            maker = Maker(self.name, table.source, table.path, rows_by_id)

            def drafts(row: Row, table: Table = table) -> Iterable[Draft]:
                return self.drafts(row, table, next(numbers[table.part]))

            yield from maker.items(table.rows, drafts, scenario=table.scenario)
