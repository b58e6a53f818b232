"""Writing a frame to a file: Parquet, CSV, JSON as one document, or in lines."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import BinaryIO, Final

import polars as pl
import polars.selectors as cs

from opensafemlrm.errors import OptionError
from opensafemlrm.files import replacing
from opensafemlrm.text import for_csv_cell

FORMATS: Final = ("parquet", "csv", "json", "jsonl")
_CHUNK: Final = 50_000
_NOT_ASCII: Final = re.compile("[^\\x00-\\x7f]")


def write_frame(frame: pl.DataFrame, path: Path, to: str | None = None) -> None:
    """Write a frame as ``parquet``, ``csv``, ``json``, ``jsonl``: the file's ending, if left out.

    In CSV, lists are JSON, and texts that a spreadsheet would take for formulas are quoted. Raises
    OptionError where there is no such format, and OSError where the file cannot be written.
    """
    to = path.suffix.removeprefix(".").lower() if to is None else to
    if to not in FORMATS:
        endings = ", ".join(f".{known}" for known in FORMATS)
        raise OptionError(f"{path}: give the file one of the endings {endings}")
    frame = frame.with_columns(cs.categorical().cast(pl.String))
    # Opened here: the errors of polars name neither the file nor what is wrong with it.
    with replacing(path) as draft, draft.open("wb") as file:
        if to == "parquet":
            frame.write_parquet(file)
        elif to == "csv":
            _for_spreadsheets(frame).write_csv(file)
        elif to == "json":
            _write_document(frame, file)
        else:
            for some in frame.iter_slices(_CHUNK):
                file.write(_ascii(some.write_ndjson()).encode("ascii"))


def _write_document(frame: pl.DataFrame, file: BinaryIO) -> None:
    """Write rows as one list, some at a time."""
    for number, some in enumerate(frame.iter_slices(_CHUNK)):
        rows = _ascii(some.write_ndjson()).rstrip("\n").replace("\n", ",\n")
        file.write((("," if number else "[") + f"\n{rows}").encode("ascii"))
    file.write(b"\n]\n" if frame.height else b"[]\n")


def csv_of(frame: pl.DataFrame) -> str:
    """Return a frame as CSV, in which no text is a formula to a spreadsheet."""
    return _for_spreadsheets(frame).write_csv()


def _ascii(text: str) -> str:
    """Return JSON with escapes for all that is not ASCII: it drives no terminal that shows it."""
    # DEL is ASCII, and the only control character that JSON lets through.
    text = text.replace("\x7f", "\\u007f")
    return text if text.isascii() else _NOT_ASCII.sub(lambda c: json.dumps(c[0])[1:-1], text)


def _for_spreadsheets(frame: pl.DataFrame) -> pl.DataFrame:
    columns = []
    for name, dtype in frame.schema.items():
        column = frame[name]
        if isinstance(dtype, pl.List):
            lists = [None if values is None else json.dumps(values.to_list()) for values in column]
            column = pl.Series(name, lists, dtype=pl.String)
        if column.dtype == pl.String:
            # Each different text once: there are few of them in most columns.
            texts = column.unique().drop_nulls()
            changed = {text: safe for text in texts if (safe := for_csv_cell(text)) != text}
            column = column.replace(changed) if changed else column
        columns.append(column)
    return pl.DataFrame(columns)
