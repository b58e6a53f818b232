"""Reading the files of a release: row by row, naming file and row of what is wrong.

Text is decoded so that a broken byte spoils its own row and no other. Lines of a table count from
1, the header's, as an editor or a spreadsheet shows them.
What is not where it should be, or not what it should be, is met with what to do about it.
"""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TextIO, TypeAlias

from opensafemlrm import images
from opensafemlrm.errors import DatasetError, nearest
from opensafemlrm.types import Image

MAX_TEXT_BYTES: Final = 64 * 1024 * 1024
"""Largest JSON file that is read whole, in bytes; tables are read row by row, however large."""
MAX_LINE_BYTES: Final = 16 * 1024 * 1024
"""Longest line of a JSON Lines file, in bytes."""
MAX_CELL: Final = 16 * 1024 * 1024
"""Longest cell of a CSV or TSV file, in characters: an image of some 12 MiB in Base64."""

_MAX_COLUMNS: Final = 40
"""Columns that a message names."""

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_MAX_CACHED: Final = 65_536
"""Images whose hash and size are remembered: half a kilobyte each, and never their bytes."""

Row: TypeAlias = "tuple[int, dict[str, str]]"


def find_root(root: Path, inside: str, title: str, where: str) -> Path:
    """Return ``root`` or ``root/data``, whichever holds the folder ``inside``.

    Raises DatasetError saying what to provide and ``where`` to get it.
    """
    for folder in (root, root / "data"):
        if (folder / inside).is_dir():
            return folder
    error = missing(root, [f"{inside}/*"], where)
    reason = f"this is not {title} in its upstream layout: {error.reason}"
    raise DatasetError(reason, path=error.path)


def csv_header(path: Path, where: str, *, tabs: bool = False) -> list[str]:
    """Return the names of the columns; ``tabs`` separate those of a TSV file.

    Raises DatasetError if they cannot be read.
    """
    check_file(path, where)
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        return _header(_reader(file, tabs), path)


def csv_rows(
    path: Path, columns: Sequence[str], where: str, *, tabs: bool = False
) -> Iterator[Row | DatasetError]:
    """Yield line number and cells (by column) of each row, or the error that spoils it.

    ``tabs`` separate the cells of a TSV file, which may hold images in Base64.

    Raises DatasetError if the file is missing or lacks a column.
    """
    check_file(path, where)
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        reader = _reader(file, tabs)
        header = _header(reader, path)
        if lacking := [(column,) for column in columns if column not in header]:
            raise DatasetError(no_column(lacking, header), path=path, row=1)
        yield from _cells(reader, header, columns, path)


def _reader(file: TextIO, tabs: bool) -> Any:
    if csv.field_size_limit() < MAX_CELL:
        csv.field_size_limit(MAX_CELL)
    return csv.reader(file, strict=True, delimiter="\t" if tabs else ",")


def no_column(lacking: Sequence[Sequence[str]], there: Sequence[str]) -> str:
    """Say which columns are not there, what they may be called, and which ones are there.

    Of several in one entry of ``lacking``, one would do.
    """
    reason = " and no ".join(" or ".join(map(repr, names)) for names in lacking)
    reason = f"there is no column {reason}"
    if not there:
        return f"{reason}: the file is empty"
    if len(there) == 1:
        for mark, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
            if mark in there[0]:
                return f"{reason}: its cells are separated by {name}: save it with commas"
    near = dict.fromkeys(
        name for names in lacking for column in names for name in nearest(column, there, 1)
    )
    hint = f"; did you mean {' and '.join(map(_quoted, near))}?" if near else ""
    more = f" and {len(there) - _MAX_COLUMNS} more" if len(there) > _MAX_COLUMNS else ""
    return f"{reason}{hint} (columns: {', '.join(map(_quoted, there[:_MAX_COLUMNS]))}{more})"


def _quoted(column: str) -> str:
    """Return a column's name, in quotes where one could not see where it ends."""
    return column if column and column.strip() == column else repr(column)


def _header(reader: Any, path: Path) -> list[str]:
    try:
        header: list[str] = next(reader, [])
    except csv.Error as error:
        raise DatasetError(f"the header cannot be read: {error}", path=path, row=1) from error
    if twice := [name for name, count in Counter(header).items() if count > 1]:
        raise DatasetError(
            f"two columns have the same name: {', '.join(map(repr, twice))}", path=path, row=1
        )
    return header


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


def jsonl_rows(path: Path, where: str) -> Iterator[tuple[int, dict[str, Any]] | DatasetError]:
    """Yield line number and object of each line that is not blank, or the error that spoils it.

    Raises DatasetError if the file is missing.
    """
    check_file(path, where)
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES):
            number += 1
            if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
                yield DatasetError(
                    f"the line is longer than {MAX_LINE_BYTES:,} bytes", path=path, row=number
                )
                while (rest := file.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                    pass
            elif line.strip():
                yield _json_line(line, path, number)


def _json_line(line: bytes, path: Path, number: int) -> tuple[int, dict[str, Any]] | DatasetError:
    try:
        value = json.loads(line.decode("utf-8-sig", errors="surrogateescape"))
    except (RecursionError, ValueError) as error:
        return DatasetError(f"this is not a line of JSON: {error}", path=path, row=number)
    if not isinstance(value, dict):
        return DatasetError("the line is not a JSON object", path=path, row=number)
    return number, value


def json_list(path: Path, where: str) -> Iterator[tuple[int, dict[str, Any]] | DatasetError]:
    """Yield place (from 1) and object of each entry of the JSON list in ``path``, or its error.

    The file is read whole. Raises DatasetError if it is missing, too large, or holds no list.
    """
    entries = read_json(path, where)
    if not isinstance(entries, list):
        raise DatasetError("this is not a JSON list of rows", path=path)
    for number, entry in enumerate(entries, 1):
        if isinstance(entry, dict):
            yield number, entry
        else:
            yield DatasetError("the entry is not a JSON object", path=path, row=number)


def json_pairs(path: Path, where: str) -> list[tuple[str, Any]]:
    """Return the members of the JSON object in ``path``, in order, repeated names included.

    Raises DatasetError if the file is missing, too large, or holds something else.
    """
    value = read_json(path, where, object_pairs_hook=_Pairs)
    if not isinstance(value, _Pairs):
        raise DatasetError("this is not a JSON object of rows by id", path=path)
    return [(name, _plain(row)) for name, row in value]


def read_json(path: Path, where: str, **options: Any) -> Any:
    """Return the JSON value in ``path``. Raises DatasetError if it cannot be read."""
    check_file(path, where)
    size = path.stat().st_size
    if size > MAX_TEXT_BYTES:
        raise DatasetError(
            f"the file has {size:,} bytes; at most {MAX_TEXT_BYTES:,} are read", path=path
        )
    text = path.read_bytes().decode("utf-8-sig", errors="surrogateescape")
    try:
        return json.loads(text, **options)
    except json.JSONDecodeError as error:
        reason = f"this is not JSON: {error.msg} at column {error.colno}"
        if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated"):
            reason = "the file ends in the middle of its JSON: it was not downloaded whole"
        raise DatasetError(reason, path=path, row=error.lineno) from error
    except (RecursionError, ValueError) as error:
        raise DatasetError(f"this is not JSON that can be read: {error}", path=path) from error


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as its members, so that a repeated name is seen."""


def _plain(value: Any) -> Any:
    """Turn a row of pairs, and what is nested in it, into dicts."""
    if isinstance(value, _Pairs):
        return {name: _plain(inner) for name, inner in value}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def bad_text(row: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """Return why one of ``names`` is not good text in ``row``, ``None`` if all are."""
    for name in names:
        if name not in row:
            return f"there is no {name!r}"
        value = row[name]
        if not isinstance(value, str):
            return f"{name!r} is {type(value).__name__}, not text"
        if is_broken(value):
            return f"{name!r} holds bytes that are not UTF-8 text; save the file as UTF-8"
    return None


def is_broken(text: str) -> bool:
    """Tell whether ``text`` was read from bytes that are not UTF-8, or holds half a character."""
    return not text.isascii() and _SURROGATE.search(text) is not None


def load_once(path: Path, root: Path) -> Image:
    """Load an image as :func:`opensafemlrm.images.load` does, or remember it.

    A study reads a data set once for each model and attack; what was read and found sound is not
    read again while the file is the same one, of the same size and time. Whoever sends the image
    compares its bytes with its hash in any case.
    """
    try:
        seen = path.stat()
    except (OSError, ValueError):
        return images.load(path, root)
    return _loaded(path, root, (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns))


@lru_cache(maxsize=_MAX_CACHED)
def _loaded(path: Path, root: Path, _: tuple[int, ...]) -> Image:
    return images.load(path, root)


def check_file(path: Path, where: str) -> None:
    """Raise DatasetError if ``path`` is not a file of text, saying what to do about it."""
    if not path.is_file():
        raise missing(path.parent, [path.name], where)
    check_kind(path)


_NEAR: Final = 2
"""Levels above and below a folder in which a missing file is looked for."""
_PAGES: Final = (b"<!doctype html", b"<html")
_PARQUET: Final = b"PAR1"
"""How such a file begins and ends."""
_PACKED: Final = {
    b"\x1f\x8b": "this file is packed with gzip: unpack it (gunzip), and name what comes out",
    b"PK\x03\x04": "this file is a ZIP archive or an Excel workbook: unpack it, or export the "
    "sheet as CSV",
    _PARQUET: "this file is a Parquet file under another name",
}


def missing(folder: Path, patterns: Sequence[str], where: str) -> DatasetError:
    """Return the error of a folder that holds no file of ``patterns``, and what to do about it."""
    reason = f"this file of the release is missing; get it from {where}"
    if (packed := next(_files(folder, (f"{name}.gz" for name in patterns)), None)) is not None:
        reason = f"the file is here, but packed: unpack it with: gunzip {packed.name}"
    elif (meant := _folder_that_holds(folder, patterns)) is not None:
        reason = f"this file is not here, but {meant} holds it: give that folder as 'root'"
    return DatasetError(reason, path=folder / patterns[0])


def check_kind(path: Path) -> None:
    """Raise DatasetError where a file is there, and its first bytes say that it is another thing.

    A file that ends in ``.parquet`` should be one, and any other text.
    """
    parquet = path.suffix.lower() == ".parquet"
    with path.open("rb") as file:
        first = file.read(32)
        file.seek(max(0, path.stat().st_size - len(_PARQUET)))
        last = file.read()
    if not first:
        raise DatasetError("this file is empty: it was not downloaded whole", path=path)
    if first.startswith(images.LFS_POINTER):
        raise DatasetError(images.IS_A_POINTER, path=path)
    if first.lstrip().lower().startswith(_PAGES):
        raise DatasetError(
            "this is a web page, not the file that it is named after: download the file itself, "
            "logged in where its terms have to be accepted",
            path=path,
        )
    for begin, reason in _PACKED.items():
        if first.startswith(begin) and not (parquet and begin == _PARQUET):
            raise DatasetError(reason, path=path)
    if parquet and first.startswith(_PARQUET) and last != _PARQUET:
        raise DatasetError("this file has no end: it was not downloaded whole", path=path)
    if not parquet and first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        command = f"iconv -f UTF-16 -t UTF-8 {path.name} > utf8-{path.name}"
        raise DatasetError(
            f"this file is UTF-16; save it as UTF-8, for example with: {command}", path=path
        )


def _folder_that_holds(folder: Path, patterns: Sequence[str]) -> Path | None:
    """Return a folder up to two levels above or below ``folder`` that holds one of the files."""
    plain = [pattern for pattern in patterns if "**" not in pattern]
    for above in folder.resolve().parents[:_NEAR]:
        if next(_files(above, plain), None) is not None:
            return above
    for depth in range(1, _NEAR + 1):
        for pattern in plain:
            below = "/".join(["*"] * depth + [pattern])
            if (path := next(_files(folder, [below]), None)) is not None:
                return path.parents[len(Path(pattern).parts) - 1]
    return None


def _files(folder: Path, patterns: Iterable[str]) -> Iterator[Path]:
    return (path for name in patterns for path in sorted(folder.glob(name)) if path.is_file())
