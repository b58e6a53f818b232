"""Records for programs: CSV, one document of JSON, or a line of JSON each."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from opensafemlrm.text import for_csv_cell


def as_csv(names: Sequence[str], records: Iterable[Mapping[str, Any]]) -> str:
    """Return records under a line of ``names``, in which no text is a formula to a spreadsheet."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(map(_csv_cell, record.values()) for record in records)
    return out.getvalue()


def _csv_cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return for_csv_cell(json.dumps(value))
    return for_csv_cell(value) if isinstance(value, str) else value


def as_json(value: Any) -> str:
    """Return a value as one document."""
    return _dump(value, indent=2)


def as_lines(records: Iterable[Any]) -> str:
    """Return each record as a line."""
    return "".join(map(_dump, records))


def _dump(value: Any, indent: int | None = None) -> str:
    # ASCII: a terminal that shows the file is not driven by what a model's name holds.
    # DEL is ASCII, and the only control character that JSON lets through.
    text = json.dumps(value, indent=indent, ensure_ascii=True, allow_nan=False)
    return text.replace("\x7f", "\\u007f") + "\n"
