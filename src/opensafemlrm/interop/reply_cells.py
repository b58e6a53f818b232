"""What the cells of a row of another tool's replies say: texts, numbers, verdicts and labels."""

from __future__ import annotations

import contextlib
import fnmatch
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from opensafemlrm.datasets import own
from opensafemlrm.datasets.mapping import Value
from opensafemlrm.errors import DatasetError, EmptyTextError
from opensafemlrm.interop.replies_in import ForeignJudge, ForeignVerdict
from opensafemlrm.interop.reply_mapping import (
    Column,
    LabelColumns,
    PartColumn,
    Text,
    VerdictColumns,
)
from opensafemlrm.models.http.replies import clip
from opensafemlrm.redaction import known
from opensafemlrm.store.labels import PersonLabel, too_long
from opensafemlrm.types import Part, Unscored, Verdict

Row = Mapping[str, Any]


def short(text: str) -> str:
    """Return the beginning of a text of another's, for a message."""
    return clip(text, known(), 80)


def reply_texts(row: Row, columns: Sequence[str]) -> list[str]:
    """Return the replies in the first of ``columns`` that a row has."""
    name = next((one for one in columns if own.value_in(row, one) is not None), columns[0])
    cell = _unwrapped(own.value_in(row, name))
    if not isinstance(cell, list):
        return [text_of(name, row, needed=False)]
    if any(not isinstance(text, str) for text in cell):
        raise DatasetError(
            f"column {name!r} holds no text, but lists: only what was written counts"
        )
    return cell


def text_of(text: Text | None, row: Row, *, needed: bool = True) -> str:
    """Return what a mapped text says; blank cells are empty unless it is ``needed``."""
    if isinstance(text, Value):
        return text.value
    if text is None:
        return ""
    column = text.column if isinstance(text, Column) else text
    try:
        return own.cell({column: _unwrapped(own.value_in(row, column))}, column)
    except EmptyTextError:
        if isinstance(text, Column):
            return text.default
        if needed:
            raise
        return ""


def bases_of(column: str | Column | None, row: Row) -> tuple[str, ...]:
    """Return the names in a cell: a list, JSON of one, or one name. Raises DatasetError."""
    if column is None:
        return ()
    column = column.column if isinstance(column, Column) else column
    cell = own.value_in(row, column)
    if isinstance(cell, str) and cell.startswith("["):
        with contextlib.suppress(ValueError, RecursionError):
            cell = json.loads(cell)
    names = [name for name in (cell if isinstance(cell, list) else [cell]) if name]
    if not all(isinstance(name, str) for name in names):
        raise DatasetError(f"column {column!r} holds no names of models")
    return tuple(names)


def _unwrapped(value: Any) -> Any:
    """Return what a list of one holds: several tools write replies so."""
    while isinstance(value, list) and len(value) == 1:
        (value,) = value
    return value


def count_in(row: Row, column: str | Column) -> int:
    """Return a count from 0. Raises DatasetError."""
    text = text_of(column, row)
    name = column.column if isinstance(column, Column) else column
    number = _number(name, text)
    if number < 0 or number != int(number) or number >= 2**31:
        raise DatasetError(f"column {name!r}: {short(text)!r} is no count from 0")
    return int(number)


def optional_count(row: Row, column: str | Column | None) -> int | None:
    """Return a count, ``None`` where the row has none. Raises DatasetError."""
    return None if column is None or number_in(row, column) is None else count_in(row, column)


def number_in(row: Row, column: str | Column | None) -> float | None:
    """Return a number, ``None`` where the row has none. Raises DatasetError."""
    text = "" if column is None else text_of(column, row, needed=False)
    name = column.column if isinstance(column, Column) else column
    return _number(str(name), text) if text else None


def _number(column: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DatasetError(f"column {column!r}: {short(text)!r} is no number")
    return number


def is_word(text: str, words: Sequence[str]) -> bool:
    """Whether a cell is one of a mapping's words, whose case does not matter."""
    lowered = text.strip().lower()
    return any(fnmatch.fnmatchcase(lowered, word.lower()) for word in words)


def _part(mapped: Part | PartColumn, row: Row) -> Part:
    if isinstance(mapped, Part):
        return mapped
    text = own.cell(row, mapped.column)
    if text not in tuple(Part):
        raise DatasetError(f"column {mapped.column!r}: {text!r} is not answer, reasoning or full")
    return Part(text)


def _unsafe(mapped: VerdictColumns | LabelColumns, column: str, text: str) -> bool:
    if is_word(text, mapped.unsafe):
        return True
    if is_word(text, mapped.safe):
        return False
    raise DatasetError(
        f"column {column!r}: {short(text)!r} is none of the mapping's words: "
        f"{', '.join((*mapped.safe, *mapped.unsafe))}"
    )


def verdicts_of(columns: Sequence[VerdictColumns], row: Row) -> Iterator[ForeignVerdict]:
    """Yield what judges say in a row. Raises DatasetError."""
    for mapped in columns:
        for entry in [row] if mapped.each is None else _entries(row, mapped.each):
            judge = text_of(mapped.judge, entry, needed=False)
            if judge:
                yield _verdict(mapped, judge, entry)


def _entries(row: Row, column: str) -> list[Row]:
    """Return the entries of a cell that holds a list: CSV has it as JSON."""
    value = own.value_in(row, column)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise DatasetError(f"column {column!r} holds no list of JSON: {error}") from error
    entries = [] if value is None else value
    if not isinstance(entries, list) or not all(isinstance(one, Mapping) for one in entries):
        raise DatasetError(f"column {column!r} holds no list of objects")
    return entries


def _verdict(mapped: VerdictColumns, judge: str, row: Row) -> ForeignVerdict:
    sign = -1.0 if mapped.lower_is_unsafe else 1.0
    limits, ends = _thresholds(mapped, row), _scale(mapped, row)
    low, high = sorted(sign * end for end in ends)
    of = ForeignJudge(judge, tuple(sign * limit for limit in limits), (low, high))
    why = text_of(mapped.rationale, row, needed=False)
    score = None if mapped.score is None else _score(mapped, mapped.score, row)
    label = None
    if mapped.label is not None:
        text = text_of(mapped.label, row, needed=False)
        if text and not is_word(text, mapped.unscored):
            label = _unsafe(mapped, mapped.label, text)
    if mapped.score is None and label is not None:
        score = sign * (max(ends) if label != mapped.lower_is_unsafe else min(ends))
    elif score is not None:
        score *= sign
    part = _part(mapped.part, row)
    if score is None:
        reason = text_of(mapped.reason, row, needed=False)
        why_not = Unscored(reason) if reason in tuple(Unscored) else Unscored.NOT_RECORDED
        return ForeignVerdict(of, part, Verdict.none(why_not, rationale=why))
    unsafe = score >= of.unsafe_from if label is None else label
    return ForeignVerdict(of, part, Verdict.scored(score, unsafe=unsafe, rationale=why))


def _thresholds(mapped: VerdictColumns, row: Row) -> tuple[float, ...]:
    limits = mapped.unsafe_from
    if isinstance(limits, str):
        return _numbers(row, limits) or (0.5,)
    return limits if isinstance(limits, tuple) else (limits,)


def _scale(mapped: VerdictColumns, row: Row) -> tuple[float, float]:
    if not isinstance(mapped.scale, str):
        return mapped.scale
    ends = _numbers(row, mapped.scale) or (0.0, 1.0)
    if len(ends) != 2:
        raise DatasetError(f"column {mapped.scale!r} holds no scale, as [0, 1] is")
    return ends[0], ends[1]


def _numbers(row: Row, column: str) -> tuple[float, ...]:
    """Return the numbers in a cell: one, or a list of them, which may be JSON."""
    value = own.value_in(row, column)
    try:
        value = json.loads(value) if isinstance(value, str) else value
        numbers = tuple(map(float, value if isinstance(value, list) else [value]))
    except (TypeError, ValueError, RecursionError):
        numbers = (math.nan,)
    if not all(map(math.isfinite, numbers)):
        raise DatasetError(f"column {column!r}: {short(repr(value))} is no number")
    return numbers


def _score(mapped: VerdictColumns, column: str, row: Row) -> float | None:
    text = text_of(column, row, needed=False)
    if not text or is_word(text, mapped.unscored):
        return None
    score = _number(column, text)
    return None if is_word(f"{score:g}", mapped.unscored) else score


def labels_of(columns: Sequence[LabelColumns], row: Row) -> Iterator[PersonLabel]:
    """Yield what people say in a row; where nobody is named, nothing. Raises DatasetError."""
    for mapped in columns:
        for entry in [row] if mapped.each is None else _entries(row, mapped.each):
            if labeller := text_of(mapped.labeller, entry, needed=False):
                yield _label(mapped, labeller, entry)


def _label(mapped: LabelColumns, labeller: str, row: Row) -> PersonLabel:
    text = text_of(mapped.label, row, needed=False)
    unsure = not text or is_word(text, mapped.unsure)
    understood = None
    if isinstance(mapped.not_understood, str):
        cell = text_of(mapped.not_understood, row, needed=False)
        understood = None if not cell else not is_word(cell, ("true", "1"))
    elif mapped.not_understood and not unsure:
        understood = not is_word(text, mapped.not_understood)
    of_class = None
    if isinstance(mapped.response_class, str):
        of_class = text_of(mapped.response_class, row, needed=False) or None
    elif mapped.response_class and not unsure:
        of_class = text.split()[0]
    note = text_of(mapped.note, row, needed=False)
    texts = {"labeller": labeller, "note": note, "response_class": of_class or ""}
    for name, value in texts.items():
        if wrong := too_long(value) or ("it holds the sign NUL" if "\0" in labeller else ""):
            column = getattr(mapped, name)
            raise DatasetError(f"column {getattr(column, 'column', column)!r}: {wrong}")
    return PersonLabel(
        b"",  # of which reply, whoever puts it into a store knows
        _part(mapped.part, row),
        labeller,
        None if unsure else _unsafe(mapped, mapped.label, text),
        note,
        response_class=of_class,
        understood=understood,
    )
