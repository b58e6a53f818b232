"""Your own data: a table or a folder of images, and a mapping that says what is what.

A table is a CSV, TSV, JSON, JSON Lines or Parquet file.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from opensafemlrm.datasets import files, parquet
from opensafemlrm.datasets.items import Draft, Release, Row, Table, numbered
from opensafemlrm.datasets.mapping import (
    Beside,
    FolderMapping,
    KindColumn,
    TableMapping,
    Value,
    kind_in,
    read,
)
from opensafemlrm.datasets.source import Picture, Source
from opensafemlrm.errors import (
    DatasetError,
    EmptyTextError,
    ImageError,
    MissingImageError,
    reason_of,
)
from opensafemlrm.types import JSON, ItemKind, content_key

ENDINGS: Final = (".csv", ".tsv", ".json", ".jsonl", ".parquet")

_WHERE: Final = "where you keep it"
_MAX_NAMES: Final = 1_000
"""Names of columns that are kept, to say what there is."""


class _Mapped(Release):
    """Data of your own, called by the name of its mapping, which results are keyed by."""

    _mapping: TableMapping | FolderMapping

    @property
    def label(self) -> str:
        """What tables call it, such as ``table/NAME``, by the mapping's name."""
        return f"{self.name}/{self._mapping.name}"

    def identity(self) -> Mapping[str, JSON]:
        """Return what makes its results comparable: the mapping; items are keyed by content."""
        mapping = self._mapping.model_dump(mode="json", exclude={"paper", "licence"})
        if not mapping.get("released", True):  # results of mappings without it stay what they were
            del mapping["released"]
        return {"name": self.name, "version": self.version, "mapping": mapping}


@dataclass(frozen=True, slots=True)
class OwnTable(_Mapped):
    """Read ``path`` by ``mapping``; left out, it lies beside the table as ``NAME.mapping.yaml``.

    Pictures are named relative to ``root``, the table's folder unless given, and must lie in it.
    The mapping is part of what results are keyed by; where the files lie is not. Raises
    DatasetError if the mapping is wrong.
    """

    name = "table"

    path: Path = field(compare=False)
    mapping: Path | None = field(default=None, compare=False)
    root: Path | None = field(default=None, compare=False)
    _mapping: TableMapping = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.path.suffix.lower() not in ENDINGS:
            known = ", ".join(ENDINGS)
            raise ValueError(f"'path' must end in one of {known}, not {self.path.name}")
        mapping = read(self.mapping or mapping_beside(self.path), TableMapping)
        object.__setattr__(self, "_mapping", mapping)

    def tables(self) -> Iterator[Table]:
        """Yield the table. Raises DatasetError if it cannot be read or lacks a column."""
        root, scenario = self.root or self.path.parent, self._mapping.scenario
        files.check_file(self.path, _WHERE)
        rows = read_rows(self.path, self._mapping.columns())
        column = scenario if isinstance(scenario, str) else ""
        yield Table(Source(root, root, _WHERE), self.path, rows, column)

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield the item of a row."""
        yield _draft_of(self._mapping, row, table.source.folder)


def read_rows(
    path: Path, needed: Sequence[str] = ()
) -> Iterator[tuple[int, Mapping[str, Any]] | DatasetError]:
    """Yield number and cells of each row of a table, or the error that spoils it.

    ``needed`` are columns that the file must have, of JSON in one row at least; ``a.b`` may be the
    part ``b`` of the column ``a``. Raises DatasetError if the file cannot be read or lacks one.
    """
    check_columns(path, needed)
    match path.suffix.lower():
        case ".csv":
            yield from files.csv_rows(path, needed, _WHERE)
        case ".tsv":
            yield from files.csv_rows(path, needed, _WHERE, tabs=True)
        case ".json":
            yield from files.json_list(path, _WHERE)
        case ".jsonl":
            yield from files.jsonl_rows(path, _WHERE)
        case _:
            there = parquet.columns(path)
            columns = [name if name in there else name.partition(".")[0] for name in needed]
            yield from parquet.rows(path, list(dict.fromkeys(columns or there)))


def check_columns(path: Path, needed: Sequence[str | tuple[str, ...]]) -> None:
    """Raise DatasetError for columns that a table lacks; of several in a tuple it needs one.

    JSON is read until each was in a row: once more, and seldom further than its first row.
    """
    lacking = [(names,) if isinstance(names, str) else names for names in needed]
    there: dict[str, None] = {}
    kind = path.suffix.lower()
    if kind in (".json", ".jsonl"):
        read = files.json_list if kind == ".json" else files.jsonl_rows
        for row in read(path, _WHERE):
            if not lacking:
                return
            if not isinstance(row, DatasetError):
                cells = row[1]
                lacking = [names for names in lacking if not any(_has(cells, n) for n in names)]
                there |= dict.fromkeys(_names(cells)) if len(there) < _MAX_NAMES else {}
        if not there:  # no row, or none that is not spoilt: reading says so
            return
    elif lacking:
        is_csv = kind in (".csv", ".tsv")
        columns = files.csv_header(path, _WHERE, tabs=kind == ".tsv") if is_csv else None
        there = dict.fromkeys(parquet.parts(path) if columns is None else columns)
        lacking = [names for names in lacking if not any(name in there for name in names)]
    if lacking:
        row_number = 1 if kind in (".csv", ".tsv") else None
        raise DatasetError(files.no_column(lacking, list(there)), path=path, row=row_number)


def _has(row: Mapping[str, Any], column: str) -> bool:
    """Whether a row has a cell, if only by a name with dots whose first part is null in it."""
    name, dot, rest = column.partition(".")
    inside = row.get(name)
    if column in row or not dot or not isinstance(inside, Mapping):
        return column in row or (bool(dot) and name in row and inside is None)
    return _has(inside, rest)


def _names(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names in a row, and as ``a.b`` those just below."""
    for name, value in row.items():
        yield name
        yield from (f"{name}.{part}" for part in value) if isinstance(value, Mapping) else ()


def mapping_beside(path: Path) -> Path:
    """Return where the mapping of a table lies unless it is named."""
    return path.with_name(f"{path.stem}.mapping.yaml")


def _draft_of(mapping: TableMapping, row: Mapping[str, Any], root: Path) -> Draft:
    question = cell(row, mapping.question)
    scenario = _said(mapping.scenario, row)
    pictures = tuple(pictures_in(row, mapping.images, root))
    released: dict[str, Picture] = {}
    for attack, columns in mapping.released_columns().items():
        released |= numbered(attack, pictures_in(row, columns, root))
    return Draft(
        id=made_id(question, scenario, pictures) if mapping.id is None else cell(row, mapping.id),
        scenario=scenario,
        question=question,
        kind=_kind(mapping, row),
        images=pictures,
        released=released,
        fields={ours: cell(row, theirs) for ours, theirs in mapping.fields.items()},
        system=None if mapping.system is None else _said(mapping.system, row),
    )


def cell(row: Mapping[str, Any], column: str) -> str:
    """Return a cell as text; numbers and truths as JSON writes them.

    Raises DatasetError if it is not there or is something else, EmptyTextError if it is empty.
    """
    value = value_in(row, column)
    if isinstance(value, bool):
        return "true" if value else "false"
    # NaN and infinities are how tables write a number that is not there.
    if isinstance(value, int | float) and math.isfinite(value):
        return str(value)
    if value is None or value == "" or isinstance(value, float):
        lacks = value is None and not _has(row, column)
        raise EmptyTextError(f"{column!r} is {'not there' if lacks else 'empty'}")
    if not isinstance(value, str):
        raise DatasetError(f"{column!r} is {type(value).__name__}, not text")
    if files.is_broken(value):
        raise DatasetError(
            f"{column!r} holds bytes that are not UTF-8 text; save the file as UTF-8"
        )
    return value


def value_in(row: Mapping[str, Any], column: str) -> Any:
    """Return a cell, or the part of it that a name with dots goes down to."""
    name, dot, rest = column.partition(".")
    inside = row.get(name)
    if column in row or not dot or not isinstance(inside, Mapping):
        return row.get(column)
    return value_in(inside, rest)


def _listed(value: Any) -> Any:
    """Return the list that a text of JSON holds, or the value as it is."""
    if not isinstance(value, str) or not value.startswith("["):
        return value
    try:
        return json.loads(value)
    except (RecursionError, ValueError):
        return value


def _said(named: str | Value, row: Mapping[str, Any]) -> str:
    return named.value if isinstance(named, Value) else cell(row, named)


def _kind(mapping: TableMapping, row: Mapping[str, Any]) -> ItemKind:
    if isinstance(mapping.kind, KindColumn):
        return kind_in(mapping.kind, cell(row, mapping.kind.column))
    return ItemKind(mapping.kind)


def pictures_in(row: Mapping[str, Any], columns: Sequence[str], root: Path) -> Iterator[Picture]:
    """Yield the pictures of a row. The first column must have one; further ones may be empty.

    A cell may hold a list of pictures.
    """
    for place, column in enumerate(columns):
        value = _listed(value_in(row, column))
        cell_pictures = [] if value is None or value == "" else parquet.pictures(value, root)
        yield from cell_pictures
        if not cell_pictures and place == 0:
            raise MissingImageError(f"the mapping takes an image from {column!r}, which is empty")


def made_id(question: str, scenario: str, pictures: tuple[Picture, ...]) -> str:
    """Make an id that stays when rows are added or moved; the same content is the same id."""
    named = [p if isinstance(p, bytes) else p.name.encode() for p in pictures]
    return content_key(question, scenario, *named).hex()[:16]


PICTURE_ENDINGS: Final = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif"})
OTHER_PICTURES: Final = frozenset(
    {".avif", ".bmp", ".heic", ".heif", ".ico", ".jfif", ".jp2", ".svg", ".tif", ".tiff"}
)
"""Endings of pictures that models do not take."""
PICTURES: Final = PICTURE_ENDINGS | OTHER_PICTURES
MAPPING: Final = "mapping.yaml"

_MAX_TEXT: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class OwnImages(_Mapped):
    """Read the images in ``root`` and its folders; ``mapping`` may be ``root/mapping.yaml``.

    A picture in a format that models do not take is an error, and is not left out. An item's id is
    its path in the folder. What is asked is the mapping's text, or the text in a file beside each
    picture. Raises DatasetError if the mapping is wrong.
    """

    name = "images"

    root: Path = field(compare=False)
    mapping: Path | None = field(default=None, compare=False)
    _mapping: FolderMapping = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.root.is_dir():
            raise DatasetError("there is no such folder", path=self.root)
        found = read(self.mapping or self.root / MAPPING, FolderMapping)
        object.__setattr__(self, "_mapping", found)

    def tables(self) -> Iterator[Table]:
        """Yield the pictures, in the order of their paths."""
        rows = ((str(p.relative_to(self.root)), {"path": p}) for p in pictures(self.root))
        yield Table(Source(self.root, self.root, _WHERE), self.root, rows)

    def left_out(self) -> Iterator[str]:
        """Yield the files that are neither pictures nor texts beside them, nor the mapping."""
        asked = self._mapping.question
        beside = asked.beside if isinstance(asked, Beside) else None
        shown = {path.with_suffix("") for path in pictures(self.root)}
        for folder, folders, names in os.walk(self.root):
            folders.sort()
            for name in sorted(names):
                path = Path(folder, name)
                text = path.suffix == beside and path.with_suffix("") in shown
                if path.suffix.lower() not in PICTURES and not text and name != MAPPING:
                    yield path.relative_to(self.root).as_posix()

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield the item of a picture."""
        path = row["path"]
        if path.suffix.lower() in OTHER_PICTURES:
            raise ImageError(f"models take no {path.suffix} pictures: convert it to PNG or JPEG")
        inside = path.relative_to(self.root)
        scenario = self._mapping.scenario
        folder = inside.parent.as_posix() if len(inside.parts) > 1 else self._mapping.name
        yield Draft(
            id=inside.as_posix(),
            scenario=scenario.value if isinstance(scenario, Value) else folder,
            question=self._question(path),
            kind=ItemKind(self._mapping.kind),
            images=(path,),
        )

    def _question(self, path: Path) -> str:
        asked = self._mapping.question
        return _text_beside(path, asked, self.root) if isinstance(asked, Beside) else asked.value


def pictures(root: Path) -> Iterator[Path]:
    """Yield the files in ``root`` and its folders that are named like images, sorted by path.

    Links to folders are not followed; a link to a file is yielded, and refused by who loads it.
    """
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            if Path(name).suffix.lower() in PICTURES:
                yield Path(folder, name)


def _text_beside(path: Path, asked: Beside, root: Path) -> str:
    beside = path.with_suffix(asked.beside)
    try:
        if not beside.resolve().is_relative_to(root.resolve()):
            raise DatasetError(f"the text file {beside.name} lies outside the folder")
        with beside.open("rb") as file:
            data = file.read(_MAX_TEXT + 1)
    except OSError as error:
        raise EmptyTextError(
            f"the text file {beside.name} cannot be read: {reason_of(error)}"
        ) from error
    if len(data) > _MAX_TEXT:
        raise DatasetError(f"the text file {beside.name} has more than {_MAX_TEXT:,} bytes")
    text = data.decode("utf-8-sig", errors="surrogateescape")
    if files.is_broken(text):
        raise DatasetError(f"the text file {beside.name} is not UTF-8 text")
    return text.strip()
