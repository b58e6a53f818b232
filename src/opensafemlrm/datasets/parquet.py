"""Parquet files, read a few rows at a time."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl

from opensafemlrm.datasets.files import check_kind, missing
from opensafemlrm.datasets.source import Picture, Source
from opensafemlrm.errors import DatasetError, ImageError, MissingImageError

_BATCH: Final = 64
"""Rows that are handed over together; how many are decoded together is up to the file's groups."""
_MAX_FILE_NAME: Final = 255
_ENCODED: Final = re.compile(
    r"\s*(?:data:image/[\w.+-]+;base64,\s*)?(?=iVBORw0KGgo|/9j/[A-Za-z0-9+/]{20}|R0lGOD|UklGR)"
)
"""How a PNG, JPEG, GIF or WebP image begins in Base64."""
_BASE64: Final = re.compile(r"[A-Za-z0-9+/\s]{64}")
_ERRORS: Final = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)


def files(source: Source, *patterns: str) -> list[Path]:
    """Return the files of the first pattern that has any, in order.

    Raises DatasetError if none has, or if one lies outside of the release.
    """
    fence = source.fence.resolve()
    for pattern in patterns:
        paths = sorted(source.folder.glob(pattern))
        for path in paths:
            if not path.resolve().is_relative_to(fence):
                raise DatasetError(f"the file lies outside the folder {source.fence}", path=path)
        if paths:
            return paths
    raise missing(source.folder, patterns, source.where)


def columns(path: Path) -> list[str]:
    """Return the names of the columns. Raises DatasetError if the file cannot be read."""
    try:
        check_kind(path)
        return pl.scan_parquet(path, glob=False).collect_schema().names()
    except _ERRORS as error:
        raise _unreadable(error, path, None) from error


def parts(path: Path) -> list[str]:
    """Return the names of the columns, and as ``a.b`` those of the fields of structs.

    Raises DatasetError if the file cannot be read.
    """
    columns(path)
    schema = pl.scan_parquet(path, glob=False).collect_schema()
    return [name for column, kind in schema.items() for name in _parts(column, kind)]


def _parts(name: str, kind: Any) -> Iterator[str]:
    yield name
    for field in kind.fields if isinstance(kind, pl.Struct) else ():
        yield from _parts(f"{name}.{field.name}", field.dtype)


def rows(
    path: Path, needed: Sequence[str], *, more: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield number (from 1) and cells of each row: ``needed``, and those of ``more`` there are.

    Raises DatasetError if the file cannot be read or lacks a column.
    """
    number = 0
    try:
        check_kind(path)
        frame = pl.scan_parquet(path, glob=False)
        there = frame.collect_schema().names()
        for column in needed:
            if column not in there:
                raise DatasetError(f"there is no column {column!r}", path=path)
        wanted = [*needed, *(column for column in more if column in there)]
        batches = frame.select(wanted).collect_batches(chunk_size=_BATCH, lazy=True)
        for batch in batches:
            for row in batch.iter_rows(named=True):
                number += 1
                yield number, row
    except _ERRORS as error:
        raise _unreadable(error, path, number + 1) from error


def _unreadable(error: BaseException, path: Path, row: int | None) -> DatasetError:
    lines = str(error).splitlines() or [type(error).__name__]
    return DatasetError(
        f"this is not a Parquet file that can be read: {lines[0]}", path=path, row=row
    )


def pictures(value: Any, folder: Path) -> list[Picture]:
    """Return the pictures in a cell: one, as :func:`picture` takes it, or a list of such.

    Raises ImageError as :func:`picture` does.
    """
    return (
        [picture(one, folder) for one in value if one is not None]
        if isinstance(value, list | tuple)
        else [picture(value, folder)]
    )


def is_encoded(value: str) -> bool:
    """Tell whether a text is an image in Base64, bare or as a ``data:`` address."""
    return _ENCODED.match(value) is not None


def not_a_file_name(value: str) -> str | None:
    """Return what a text is that stands for a picture and names no file, with what to do."""
    if value.startswith(("http://", "https://")):
        return "a web address; nothing is fetched: save it as a file and name that"
    if is_encoded(value):
        return None
    if value.startswith("data:") or (len(value) > _MAX_FILE_NAME and _BASE64.match(value)):
        return "base64 text, but not of a PNG, JPEG, GIF or WebP image"
    return None


def picture(value: Any, folder: Path) -> Picture:
    """Return the picture in a cell: bytes, Base64, a path in ``folder``, or a struct of two.

    Raises ImageError if it holds neither.
    """
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return value
    if isinstance(value, str) and value.strip():
        if elsewhere := not_a_file_name(value):
            raise ImageError(f"the image in the table is {elsewhere}")
        if begin := _ENCODED.match(value):
            return _decoded(value[begin.end() :])
        return folder / value
    if value is None:
        raise MissingImageError("the image in the table is missing")
    raise ImageError(f"the image in the table is {type(value).__name__}, not an image")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageError(f"the image in the table is no whole Base64 text: {error}") from error
