"""Reading the files of a release: row by row, naming file and row of what is wrong.

Text is decoded so that a broken byte spoils its own row and no other. Lines of a table count from
1, the header's, as an editor or a spreadsheet shows them.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from opensafemlrm import images
from opensafemlrm.errors import DatasetError, ImageError
from opensafemlrm.types import Image

MAX_TEXT_BYTES: Final = 64 * 1024 * 1024
"""Largest text file that is read, in bytes."""

Row: TypeAlias = "tuple[int, dict[str, str]]"


def find_root(root: Path, inside: str, title: str, where: str) -> Path:
    """Return ``root`` or ``root/data``, whichever holds the folder ``inside``.

    Raises DatasetError saying what to provide and ``where`` to get it.
    """
    for folder in (root, root / "data"):
        if (folder / inside).is_dir():
            return folder
    raise DatasetError(
        f"this folder holds no {inside!r}, so it is not {title} in its upstream layout; get it "
        f"from {where} and give its folder as 'root'",
        path=root,
    )


def csv_rows(path: Path, columns: Sequence[str], where: str) -> Iterator[Row | DatasetError]:
    """Yield line number and cells (by column) of each row, or the error that spoils it.

    Raises DatasetError if the file is missing, too large, or lacks a column.
    """
    _check_file(path, where)
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        reader = csv.reader(file, strict=True)
        try:
            header = next(reader, [])
        except csv.Error as error:
            raise DatasetError(f"the header cannot be read: {error}", path=path, row=1) from error
        for column in columns:
            if column not in header:
                raise DatasetError(f"there is no column {column!r}", path=path, row=1)
        yield from _cells(reader, header, columns, path)


def _cells(
    reader: Any, header: Sequence[str], columns: Sequence[str], path: Path
) -> Iterator[Row | DatasetError]:
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield DatasetError(f"this is not a row of a CSV file: {error}", path=path, row=line)
            continue
        if not cells:  # an empty line
            continue
        if len(cells) != len(header):
            reason = f"it has {len(cells)} cells; the header has {len(header)} columns"
            yield DatasetError(reason, path=path, row=line)
            continue
        row = dict(zip(header, cells, strict=True))
        spoilt = bad_text(row, columns)
        yield (line, row) if spoilt is None else DatasetError(spoilt, path=path, row=line)


def json_pairs(path: Path, where: str) -> list[tuple[str, Any]]:
    """Return the members of the JSON object in ``path``, in order, repeated names included.

    Raises DatasetError if the file is missing, too large, or holds something else.
    """
    value = read_json(path, where, object_pairs_hook=_Pairs)
    if not isinstance(value, _Pairs):
        raise DatasetError("this is not a JSON object of rows by id", path=path)
    return [(name, dict(row) if isinstance(row, _Pairs) else row) for name, row in value]


def read_json(path: Path, where: str, **options: Any) -> Any:
    """Return the JSON value in ``path``. Raises DatasetError if it cannot be read."""
    _check_file(path, where)
    text = path.read_bytes().decode("utf-8-sig", errors="surrogateescape")
    try:
        return json.loads(text, **options)
    except json.JSONDecodeError as error:
        raise DatasetError(
            f"this is not JSON: {error.msg} at column {error.colno}", path=path, row=error.lineno
        ) from error
    except (RecursionError, ValueError) as error:
        raise DatasetError(f"this is not JSON that can be read: {error}", path=path) from error


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as its members, so that a repeated name is seen."""


def bad_text(row: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """Return why one of ``names`` is not good text in ``row``, ``None`` if all are."""
    for name in names:
        if name not in row:
            return f"there is no {name!r}"
        value = row[name]
        if not isinstance(value, str):
            return f"{name!r} is {type(value).__name__}, not text"
        if any("\ud800" <= char <= "\udfff" for char in value):
            return f"{name!r} holds bytes that are not UTF-8 text"
    return None


def image(path: Path, root: Path, *, listed_in: Path, row: int | str) -> Image:
    """Return the image that a row names. Raises ImageError that names the row and the image."""
    try:
        return images.load(path, root)
    except ImageError as error:
        name = path.relative_to(root)
        raise ImageError(f"image {name}: {error.reason}", path=listed_in, row=row) from error


def _check_file(path: Path, where: str) -> None:
    if not path.is_file():
        raise DatasetError(f"this file of the release is missing; get it from {where}", path=path)
    size = path.stat().st_size
    if size > MAX_TEXT_BYTES:
        raise DatasetError(
            f"the file has {size:,} bytes; at most {MAX_TEXT_BYTES:,} are read", path=path
        )
