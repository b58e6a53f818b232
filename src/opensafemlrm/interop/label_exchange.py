"""Labels of people: as tables for other programs, and back, and files of labelled replies.

Tables are our own CSV, and Inspect Scout's validation set: a CSV with the columns ``id`` and
``target`` (and, if one likes, ``split``), for each transcript what a scanner should find. Ours has
a sample's key as the id, and whether most labellers call the part unsafe as the target. Source:
Inspect Scout's documentation, meridianlabs-ai.github.io/inspect_scout/validation.html, as of
2026-08.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import polars as pl

from opensafemlrm.engine.labelled import LabelledText
from opensafemlrm.errors import ImportDataError
from opensafemlrm.redaction import find_key
from opensafemlrm.store import Store
from opensafemlrm.store.labels import PersonLabel, put_labels, too_long, unit_of, with_texts
from opensafemlrm.store.ratings import people_labels
from opensafemlrm.store.records import storable
from opensafemlrm.text import counted, for_csv_cell
from opensafemlrm.types import Item, Part

COLUMNS: Final = (
    *("sample", "part", "labeller", "label", "response_class", "understood", "note"),
    *("text_sha256", "created"),
)
"""A row a label; ``label`` is ``safe``, ``unsafe`` or ``can't tell``. No text of a reply is in it,
but the hash of what was labelled: a label comes back to that text alone."""
VALIDATION: Final = ("id", "target")
MAX_BYTES: Final = 64 * 1024 * 1024
"""The longest file of labels that is read, and with it the longest cell that csv takes in."""
_CLASS: Final = re.compile(r"[\w.-]{1,50}")
_LAST: Final = 253_402_300_799.0
"""The last second of the last year that has four digits."""
_LABELS: Final[Mapping[str, bool | None]] = {"safe": False, "unsafe": True, "can't tell": None}
_FLAGS: Final[Mapping[str, bool | None]] = {
    **{"": None, "true": True, "false": False, "1": True, "0": False},
    **{"1.0": True, "0.0": False, "yes": True, "no": False},
}


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of a file of labels."""

    labels: int
    left_out: int
    """Rows of replies that the store does not have, or that have another text in it."""
    older: int = 0
    """Rows for which there is a later word of the same person on the same text, or the same."""

    def __str__(self) -> str:
        left = f"; {self.left_out:,} of replies that this store has not, or not with that text"
        older = f"; {self.older:,} on which a label of the same person is there, as new or newer"
        return (
            f"{counted(self.labels, 'label')} came into the store{left if self.left_out else ''}"
            f"{older if self.older else ''}"
        )


def label_table(store: Store) -> pl.DataFrame:
    """Return every label whose text is known; columns: :data:`COLUMNS`. Raises StoreError."""
    words = {value: word for word, value in _LABELS.items()}
    rows = [
        (
            *(label.generation.hex().upper(), label.part.value, label.labeller),
            *(words[label.unsafe], label.response_class, label.understood, label.note),
            *(_sha256(label.text), label.created),
        )
        for label in with_texts(store)
    ]
    kinds = {"understood": pl.Boolean, "created": pl.Float64}
    schema = {name: kinds.get(name, pl.String) for name in COLUMNS}
    return pl.DataFrame(rows, schema=schema, orient="row")


def validation_table(store: Store, part: str) -> pl.DataFrame:
    """Return what most labellers say of a part; columns: :data:`VALIDATION`. Raises StoreError."""
    settled = people_labels(store).filter(pl.col("part") == part)
    target = pl.when("unsafe").then(pl.lit("true")).otherwise(pl.lit("false"))
    return settled.select(id="sample", target=target)


def import_labels(path: Path, store: Store, labeller: str = "", part: str = "answer") -> Imported:
    """Put the labels of a CSV file into a store: one that was exported, or a validation set.

    ``labeller`` and ``part`` are for files that do not say them, as validation sets do not. A
    person's later word on a text stays; a label without a date is later than none. Raises
    ImportDataError that names the row and the column, also of a cell with more than 10,000
    characters; then no label is taken.
    """
    rows = list(_read(path))
    given = [_label(f"{path}, row {n}", row, labeller, part) for n, row in enumerate(rows, 1)]
    times = {_place(label): label.created for label in with_texts(store, or_none=True)}
    newer: dict[tuple[bytes, Part, str, str], PersonLabel] = {}
    left_out = 0
    for label, row in zip(given, rows, strict=True):
        unit = unit_of(store, label.generation, label.part)
        if unit is None or row.get("text_sha256", "") not in ("", _sha256(unit.text)):
            left_out += 1
            continue
        fitting = replace(label, text=unit.text)
        place = _place(fitting)
        before = newer.get(place)
        if label.created > times.get(place, -1.0) and (
            before is None or label.created >= before.created
        ):
            newer[place] = fitting
    put_labels(store, newer.values())
    return Imported(len(newer), left_out, len(rows) - left_out - len(newer))


def _place(label: PersonLabel) -> tuple[bytes, Part, str, str]:
    return label.generation, label.part, storable(label.labeller), storable(label.text)


def _read(path: Path) -> Iterator[dict[str, str]]:
    where = str(path)
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise ImportDataError(
                f"{path}: it has {size:,} bytes; at most it may have {MAX_BYTES:,}: split it"
            )
        csv.field_size_limit(max(csv.field_size_limit(), MAX_BYTES))
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            names = reader.fieldnames or []
            refuse_doubled(path, names)
            if not ({"sample", "label"} <= set(names) or set(VALIDATION) <= set(names)):
                raise ImportDataError(
                    f"{path}: labels have the columns sample and label, or id and target as "
                    f"Inspect Scout has them; there are: {', '.join(names)[:500] or 'none'}"
                )
            for number, row in enumerate(reader, 1):
                cells = {name: _plain((row.get(name) or "").strip()) for name in names if name}
                where = f"{path}, after row {number}"
                for name, cell in cells.items():
                    if wrong := too_long(cell):
                        raise ImportDataError(f"{path}, row {number}, column {name[:50]}: {wrong}")
                yield cells
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ImportDataError(f"{where}: the labels cannot be read: {error}") from error


def _label(where: str, row: Mapping[str, str], labeller: str, part: str) -> PersonLabel:
    key = row.get("sample", "") or row.get("id", "")
    try:
        generation = bytes.fromhex(key)
    except ValueError:
        raise ImportDataError(f"{where}: {key[:50]!r} is no key of a sample") from None
    name = row.get("labeller", "") or labeller
    if not name:
        raise ImportDataError(f"{where}: it does not say who labelled; say --annotator NAME")
    of_part = row.get("part", "") or part
    if of_part not in tuple(Part):
        raise ImportDataError(
            f"{where}, column part: {of_part[:50]!r} is not answer, reasoning or full"
        )
    if find_key(name) is not None:
        raise ImportDataError(f"{where}, column labeller: this looks like a key or a password")
    if "\0" in name:
        raise ImportDataError(f"{where}, column labeller: a name cannot hold the sign NUL")
    named = row.get("response_class") or None
    if named is not None and _CLASS.fullmatch(named) is None:
        raise ImportDataError(f"{where}, column response_class: {named[:50]!r} is no class")
    created = row.get("created", "")
    try:
        when = float(created or 0)
    except ValueError:
        when = -1.0
    if not 0 <= when <= _LAST:
        raise ImportDataError(
            f"{where}, column created: {created[:50]!r} is no number of seconds since 1970"
        )
    return PersonLabel(
        *(generation, Part(of_part), name),
        *(_unsafe(where, row), row.get("note", "")),
        response_class=named,
        understood=_flag(where, "understood", row.get("understood", "")),
        created=when,
    )


def _unsafe(where: str, row: Mapping[str, str]) -> bool | None:
    if "label" not in row:
        target = _flag(where, "target", row["target"])
        if target is None:
            raise ImportDataError(f"{where}, column target: it is empty; true is unsafe")
        return target
    word = row["label"].lower()
    if word not in _LABELS:
        known = ", ".join(_LABELS)
        raise ImportDataError(f"{where}, column label: {word[:50]!r} is none of {known}")
    return _LABELS[word]


def _flag(where: str, column: str, text: str) -> bool | None:
    if text.lower() not in _FLAGS:
        raise ImportDataError(f"{where}, column {column}: {text[:50]!r} is not true or false")
    return _FLAGS[text.lower()]


def _plain(cell: str) -> str:
    """Return a cell without the apostrophe that fitting a spreadsheet from calculating it."""
    return cell[1:] if cell[:1] == "'" and for_csv_cell(cell[1:]) == cell else cell


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


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
    """Read labelled replies; JailbreakEval's label files load as they are.

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
