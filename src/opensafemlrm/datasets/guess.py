"""A first mapping for a file or a folder, written by looking at it.

Only names of columns, and words such as ``safe`` that say a kind, are looked at and written:
no text of a row ever gets into the mapping.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from opensafemlrm.datasets import files, own, parquet
from opensafemlrm.datasets.audit import IMAGE_MARK
from opensafemlrm.errors import DatasetError

LOOKED_AT: Final = 200
"""Rows that are looked at."""

_QUESTION: Final = (
    "question", "prompt", "query", "instruction", "behavior", "behaviour", "goal", "text", "input"
)  # fmt: skip
_ID: Final = (
    "id", "question_id", "item_id", "instruction_id", "prompt_id", "test_case_id", "uid", "uuid",
    "behaviorid", "index", "key"
)  # fmt: skip
_SCENARIO: Final = ("scenario", "category", "policy", "semanticcategory", "topic", "type", "class")
_IMAGE: Final = (
    "image", "images", "image_path", "image_paths", "img", "img_path", "file_name", "filename",
    "image_file", "image_name", "picture", "pictures", "photo", "photos"
)  # fmt: skip
_KIND: Final = ("kind", "label", "safety", "safe", "is_safe", "harmful", "is_harmful", "unsafe")
_FIELDS: Final = ("key_phrase", "rephrased", "rephrased_sd", "instruction")
_HARMFUL: Final = frozenset({"harmful", "unsafe"})
_BENIGN: Final = frozenset({"benign", "safe"})
_TRUE: Final = frozenset({"1", "true", "yes"})
_FALSE: Final = frozenset({"0", "false", "no"})
_WHERE: Final = "where you keep it"


@dataclass(frozen=True, slots=True)
class Guess:
    """The text of a mapping, where it belongs, and what a person should look at."""

    text: str
    path: Path
    doubts: tuple[str, ...]


def guess(path: Path) -> Guess:
    """Look at a table or a folder of images and say how to map it.

    Raises DatasetError if it is neither, or if no column looks like a question.
    """
    if path.is_dir():
        return _folder(path)
    if path.suffix.lower() not in own.ENDINGS:
        known = ", ".join(own.ENDINGS)
        raise DatasetError(f"this is neither a folder of images nor a {known} file", path=path)
    columns, rows = _look(path)
    return _table(path, columns, rows)


def _look(path: Path) -> tuple[list[str], list[Mapping[str, Any]]]:
    read = own.read_rows(path)
    looked = itertools.islice(read, LOOKED_AT)
    rows: list[Mapping[str, Any]] = [r[1] for r in looked if not isinstance(r, DatasetError)]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    if not columns and path.suffix.lower() in (".csv", ".tsv"):
        columns = files.csv_header(path, _WHERE, tabs=path.suffix.lower() == ".tsv")
    return columns, rows


def _table(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Guess:
    doubts = []
    question = _named(columns, _QUESTION)
    if question is None:
        listed = ", ".join(columns) or "none"
        raise DatasetError(
            f"no column looks like a question (columns: {listed}); write the mapping by hand: "
            "docs/datasets.md shows its keys",
            path=path,
        )
    rest = [name for name in columns if name != question]
    identity = _named(rest, _ID)
    scenario = _named(rest, _SCENARIO)
    pictures, unclear = _pictures(rest, rows, path.parent)
    doubts += unclear
    if any(IMAGE_MARK.search(str(row.get(question))) for row in rows):
        doubts.append(
            f"{question!r} holds marks such as <image>, which are sent as text: take them out"
        )
    lines = [_head(path.name), f"name: {_name(path)}", _line("question", question)]
    if identity is not None:
        lines.append(_line("id", identity))
    else:
        doubts.append("no column looks like an id: ids are made from the content")
    if scenario is not None:
        lines.append(_line("scenario", scenario))
    else:
        doubts.append("no column looks like a scenario: all items are in one, called 'all'")
        lines.append("scenario: {value: all}")
    kind, sure = _kind(rest, rows)
    lines.append(kind)
    if not sure:
        doubts.append("no column surely says what is harmful: all items count as harmful")
    if pictures:
        lines.append(f"images: {_quote(pictures)}")
    fields = {name: name for name in _FIELDS if name in rest}
    if fields:
        lines.append(f"fields: {_quote(fields)}")
    lines += ["licence: ''", "paper: ''"]
    return Guess("\n".join(lines) + "\n", own.mapping_beside(path), tuple(doubts))


def _folder(path: Path) -> Guess:
    first = list(itertools.islice(own.pictures(path), LOOKED_AT))
    if not first:
        raise DatasetError("there is no image in this folder", path=path)
    doubts = []
    if all(one.with_suffix(".txt").is_file() for one in first):
        question = "question: {beside: .txt}"
    else:
        question = "question: {value: Describe this image.}"
        doubts.append("not every image has a text file: all are asked to be described")
    doubts.append("all items count as harmful: write `kind: benign` if they are not")
    nested = any(one.parent != path for one in first)
    scenario = "scenario: folder" if nested else "scenario: {value: all}"
    lines = [_head(path.name), f"name: {_name(path)}", question, scenario, "kind: harmful"]
    text = "\n".join([*lines, "licence: ''", "paper: ''"]) + "\n"
    return Guess(text, path / own.MAPPING, tuple(doubts))


def _named(columns: Iterable[str], names: Sequence[str]) -> str | None:
    by_name = {column.strip().lower().replace(" ", "_"): column for column in columns}
    return next((by_name[name] for name in names if name in by_name), None)


def _pictures(
    columns: Sequence[str], rows: Sequence[Mapping[str, Any]], root: Path
) -> tuple[list[str], list[str]]:
    """Return the columns that hold pictures, and what is doubtful about columns that seem to."""
    named = _named(columns, _IMAGE)
    found: list[str] = []
    doubts: list[str] = []
    for column in sorted(columns, key=lambda column: column != named):
        cells = [row[column] for row in rows if row.get(column) not in (None, "", [])]
        pictures = [one for cell in cells for one in (cell if isinstance(cell, list) else [cell])]
        if not pictures or not (column == named or all(map(_is_picture, pictures))):
            continue
        found.append(column)
        texts = [one for one in pictures if isinstance(one, str)]
        elsewhere = next(filter(None, map(parquet.not_a_file_name, texts)), None)
        if elsewhere is not None:
            doubts.append(f"{column!r} holds {elsewhere}")
        elif missing := [name for name in texts if not (root / name).is_file()]:
            doubts.append(
                f"{len(missing):,} of {len(texts):,} pictures that {column!r} names are not in "
                f"{root}: give the folder that holds them as `root`"
            )
    return found, doubts


def _is_picture(value: Any) -> bool:
    if isinstance(value, str):
        return Path(value).suffix.lower() in own.PICTURES or parquet.is_encoded(value)
    return isinstance(value, bytes) or (
        isinstance(value, dict) and {"bytes", "path"} >= set(value) and bool(value)
    )


def _kind(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> tuple[str, bool]:
    """Return the line of the key ``kind``, and whether a column surely says it."""
    column = _named(columns, _KIND)
    if column is not None:
        values = {_plain(row.get(column)) for row in rows}
        harmful, benign = _split(column.strip().lower(), values)
        if values and values <= harmful | benign:
            sides = {"harmful": sorted(values & harmful), "benign": sorted(values & benign)}
            return f"kind: {_quote({'column': column, **sides})}", True
    return "kind: harmful", False


def _split(column: str, values: set[str]) -> tuple[set[str], set[str]]:
    lower = {value: value.lower() for value in values}
    harmful = {value for value in values if lower[value] in _HARMFUL}
    benign = {value for value in values if lower[value] in _BENIGN}
    true = {value for value in values if lower[value] in _TRUE}
    false = {value for value in values if lower[value] in _FALSE}
    if column in ("safe", "is_safe"):
        return harmful | false, benign | true
    if column in ("harmful", "is_harmful", "unsafe"):
        return harmful | true, benign | false
    return harmful, benign  # a bare "label" of 0 and 1 may mean either


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _name(path: Path) -> str:
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-._")[:64]
    return name or "my-data"


def _head(name: str) -> str:
    shown = re.sub(r"[^A-Za-z0-9._ -]", "?", name)
    return f"# Written by looking at {shown}: check every line. docs/datasets.md explains the keys."


def _line(key: str, column: str) -> str:
    return f"{key}: {_quote(column)}"


def _quote(value: Any) -> str:
    """Write a value in YAML's flow style, which JSON is part of."""
    return json.dumps(value, ensure_ascii=True)
