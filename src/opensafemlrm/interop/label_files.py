"""Files of labelled replies: CSV, JSON lines or Parquet, with a question, an answer and a label.

JailbreakEval's label files (columns ``question``, ``answer``, ``label``, and more that do not
matter) load as they are.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from opensafemlrm.engine.labelled import LabelledText
from opensafemlrm.errors import ImportDataError
from opensafemlrm.store.labels import too_long
from opensafemlrm.types import Item

NEEDED: Final = ("question", "answer", "label")
OPTIONAL: Final = ("scenario",)
_UNSAFE: Final = frozenset({"1", "1.0", "true", "yes", "unsafe", "harmful", "jailbroken"})
_SAFE: Final = frozenset({"0", "0.0", "false", "no", "safe", "harmless", "not jailbroken"})


@dataclass(frozen=True, slots=True)
class LabelFile:
    """A file's labelled replies, and a name that changes with its content."""

    name: str
    texts: list[LabelledText]


def read_labels(path: Path, columns: Mapping[str, str] | None = None) -> LabelFile:
    """Read labelled replies.

    ``columns`` says which columns hold ``question``, ``answer``, ``label`` and ``scenario``, where
    they are called otherwise. A label is 0 or 1, true or false, safe or unsafe. Raises
    ImportDataError that names file, row and column.
    """
    try:
        content = path.read_bytes()
        table = _table(path)
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise ImportDataError(f"{path}: the labels cannot be read: {error}") from error
    names = {name: (columns or {}).get(name, name) for name in (*NEEDED, *OPTIONAL)}
    for name in (*NEEDED, *(columns or {})):
        if names.get(name) not in table.columns:
            known = ", ".join(table.columns)
            raise ImportDataError(
                f"{path}: there is no column {names.get(name, name)!r} for the {name}; there are: "
                f"{known}; say which one it is with --map {name}=COLUMN"
            )
    digest = hashlib.sha256(content).hexdigest()[:8]
    rows = table.iter_rows(named=True)
    texts = [_text(path, number, row, names) for number, row in enumerate(rows, 1)]
    if not texts:
        raise ImportDataError(f"{path}: there are no rows")
    return LabelFile(f"{path.name}#{digest}", texts)


def refuse_doubled(path: Path, columns: Sequence[str]) -> None:
    """Raise ImportDataError for a column that is there twice: one of the two would count unseen."""
    if twice := [repr(name) for name, count in Counter(columns).items() if name and count > 1]:
        raise ImportDataError(
            f"{path}: two columns have the same name: {', '.join(twice)}; keep one of them"
        )


def _table(path: Path) -> pl.DataFrame:
    kind = path.suffix.lower()
    if kind == ".csv":
        header = pl.read_csv(path, infer_schema=False, has_header=False, n_rows=1)
        refuse_doubled(path, header.row(0) if len(header) else ())
        return pl.read_csv(path, infer_schema=False)
    if kind in (".jsonl", ".ndjson"):
        return pl.read_ndjson(path, infer_schema_length=None)
    if kind == ".parquet":
        return pl.read_parquet(path)
    raise ImportDataError(f"{path}: labels are .csv, .jsonl or .parquet, not {kind or 'this'}")


def _text(
    path: Path, number: int, row: Mapping[str, Any], names: Mapping[str, str]
) -> LabelledText:
    def cell(name: str) -> str:
        value = row.get(names[name])
        return "" if value is None else str(value)

    if wrong := too_long(cell("scenario")):
        raise ImportDataError(f"{path}: row {number}, column {names['scenario']!r}: {wrong}")
    label = cell("label").strip().lower()
    if label not in _UNSAFE | _SAFE:
        raise ImportDataError(
            f"{path}: row {number}, column {names['label']!r}: {label[:50]!r} is no label; "
            "labels are 0 or 1, true or false, safe or unsafe"
        )
    item = Item(
        dataset=path.name,
        id=str(number),
        scenario=cell("scenario"),
        question=cell("question"),
        origin=f"{path}: row {number}",
    )
    return LabelledText(item, cell("answer"), label in _UNSAFE)
