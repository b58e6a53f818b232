"""From tables to items: how nearly every release is read, and the checks that every data set makes.

A loader says which tables its release has, in a :class:`Release`, and what a row of them means, in
a :class:`Draft`. Here its texts, its id and its pictures are checked, and what is wrong becomes an
error that names the file, the row and the scenario.
"""

from __future__ import annotations

import itertools
import re
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self, TypeAlias, TypeVar

from opensafemlrm.components import Dataset
from opensafemlrm.datasets import parquet
from opensafemlrm.datasets.files import is_broken
from opensafemlrm.datasets.source import Picture, Source
from opensafemlrm.errors import DatasetError, DuplicateError, EmptyTextError, ImageError
from opensafemlrm.types import Image, Item, ItemKind

T = TypeVar("T")
RowNumber = int | str

_MAX_NAME: Final = 300
_FORMULA: Final = re.compile(r"\s*[=+\-@]")
_LABELS: Final = {
    "safe": ItemKind.BENIGN,
    "benign": ItemKind.BENIGN,
    "unsafe": ItemKind.HARMFUL,
    "harmful": ItemKind.HARMFUL,
}


@dataclass(frozen=True, slots=True)
class Draft:
    """An item as its row says it, before it is checked."""

    id: str
    scenario: str
    question: str
    kind: ItemKind = ItemKind.HARMFUL
    images: tuple[Picture, ...] = ()
    released: Mapping[str, Picture] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)
    system: str | None = None


class Maker:
    """Makes the items of one table: ``dataset`` is their dataset, ``table`` names it in errors."""

    def __init__(
        self,
        dataset: str,
        source: Source,
        table: Path,
        rows_by_id: dict[str, RowNumber] | None = None,
    ) -> None:
        self._dataset, self._source, self._table = dataset, source, table
        self._rows_by_id = {} if rows_by_id is None else rows_by_id

    def items(
        self,
        rows: Iterable[tuple[RowNumber, T] | DatasetError],
        drafts: Callable[[T], Iterable[Draft]],
        *,
        scenario: str = "",
    ) -> Iterator[Item | DatasetError]:
        """Yield the items of ``rows``, and for each one that is bad the error in its place.

        ``drafts`` gives the items of a row, or raises DatasetError with nothing but the reason.
        ``scenario`` is the column that tells the scenario of a row that gives no item.
        """
        for row in rows:
            if isinstance(row, DatasetError):
                yield row
                continue
            number, cells = row
            try:
                drafts_of_row = list(drafts(cells))
            except DatasetError as error:
                placed = self._placed(error, number)
                if isinstance(cells, Mapping):
                    placed.scenario = optional(cells, scenario).get(scenario)
                yield placed
                continue
            for draft in drafts_of_row:
                try:
                    yield self._item(draft, number)
                except DatasetError as error:
                    placed = self._placed(error, number)
                    placed.scenario = draft.scenario
                    yield placed

    def _item(self, draft: Draft, number: RowNumber) -> Item:
        _check_name("id", draft.id)
        _check_name("scenario", draft.scenario)
        if draft.id in self._rows_by_id:
            first = self._rows_by_id[draft.id]
            raise DuplicateError(f"the id {draft.id} was given to row {first} already")
        self._rows_by_id[draft.id] = number
        if not draft.question.strip():
            raise EmptyTextError("the question is empty")
        return Item(
            dataset=self._dataset,
            id=draft.id,
            scenario=draft.scenario,
            question=draft.question,
            kind=draft.kind,
            images=tuple(self._image(picture) for picture in draft.images),
            system=draft.system,
            fields=draft.fields,
            released={name: self._image(picture) for name, picture in draft.released.items()},
            origin=f"{self._table}: row {number}",
        )

    def _image(self, picture: Picture) -> Image:
        try:
            return self._source.image(picture)
        except ImageError as error:
            if isinstance(picture, bytes):
                raise type(error)(f"the image in the table: {error.reason}") from error
            inside = picture.is_relative_to(self._source.folder)
            name = picture.relative_to(self._source.folder) if inside else picture
            raise type(error)(f"image {name}: {error.reason}") from error

    def _placed(self, error: DatasetError, number: RowNumber) -> DatasetError:
        return type(error)(error.reason, path=self._table, row=number)


def text(row: Mapping[str, Any], name: str) -> str:
    """Return a text of a row. Raises DatasetError if it is not there, empty or not text."""
    if name not in row:
        raise DatasetError(f"there is no {name!r}")
    value = row[name]
    if not isinstance(value, str):
        raise DatasetError(f"{name!r} is {type(value).__name__}, not text")
    if is_broken(value):
        raise DatasetError(f"{name!r} holds bytes that are not UTF-8 text")
    if not value.strip():
        raise EmptyTextError(f"{name!r} is empty")
    return value


def texts(row: Mapping[str, Any], name: str) -> list[str]:
    """Return a list of texts of a row. Raises DatasetError as :func:`text` does."""
    value = row.get(name)
    if not isinstance(value, list):
        raise DatasetError(f"there is no list {name!r}")
    return [text({name: entry}, name) for entry in value]


def name_of(row: Mapping[str, Any], name: str) -> str:
    """Return an id or another name of a row, which may be a number."""
    value = row.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return text(row, name)


def optional(row: Mapping[str, Any], *names: str) -> dict[str, str]:
    """Return those of ``names`` that the row has as good text, for an item's fields."""
    return {
        name: value
        for name in names
        if isinstance(value := row.get(name), str) and value.strip() and not is_broken(value)
    }


def numbered(name: str, pictures: Iterable[Picture]) -> dict[str, Picture]:
    """Return released pictures by the names that attacks look for: NAME, NAME-2 and so on."""
    return {
        name if number == 1 else f"{name}-{number}": picture
        for number, picture in enumerate(pictures, 1)
    }


def kind_of(label: str) -> ItemKind:
    """Return the kind behind a label, whose case and ends do not matter.

    Raises DatasetError for anything but safe, benign, unsafe and harmful.
    """
    kind = _LABELS.get(label.strip().lower())
    if kind is None:
        raise DatasetError("its label is none of safe, benign, unsafe and harmful")
    return kind


def _check_name(what: str, name: str) -> None:
    """Names go into tables, files and terminals: one that could act there is refused."""
    if not name.strip():
        raise EmptyTextError(f"the {what} is empty")
    if len(name) > _MAX_NAME:
        raise DatasetError(f"the {what} has more than {_MAX_NAME} characters")
    if not name.isprintable():
        raise DatasetError(f"the {what} holds control or invisible characters")
    if _FORMULA.match(name):
        raise DatasetError(f"the {what} begins like a spreadsheet formula (=, +, - or @)")


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
        name = self.label.partition("[")[0]
        for table in self.tables():
            maker = Maker(name, table.source, table.path, rows_by_id)

            def drafts(row: Row, table: Table = table) -> Iterable[Draft]:
                return self.drafts(row, table, next(numbers[table.part]))

            yield from maker.items(table.rows, drafts, scenario=table.scenario)
