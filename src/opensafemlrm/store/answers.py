"""Whether answers are right: items with a reference answer, matched by rule.

An item has one where its field ``reference`` does; a table's mapping says which column holds it
(``fields: {reference: COLUMN}``). A rule reads the final answer, the way accuracy sets are scored:
what stands in the last ``\\boxed{…}``, else behind the last "answer is" or "answer:", else on the
last line. It is compared with the reference as a number, as the letter of a choice, or as words.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

import orjson
import polars as pl

from opensafemlrm import reasoning
from opensafemlrm.store import records
from opensafemlrm.store.source import Source
from opensafemlrm.store.tables import RESPONSE, TABLES, columns_of
from opensafemlrm.types import Part, ResponseStatus

REFERENCE: Final = "reference"
"""The field of an item that holds its right answer."""

_SCHEMA: Final = {"sample": pl.String, "correct": pl.Boolean}
_COLUMNS: Final = columns_of(RESPONSE)
_ANSWERS: Final = (
    "SELECT g.key AS key, i.content AS content, g.splitter AS splitter, "
    + ", ".join(f"g.{column} AS {column}" for column in _COLUMNS)
    + f" FROM generations g JOIN items i ON i.key = g.item "
    f"WHERE i.content LIKE '%\"{REFERENCE}\":%'"
)
_BOXED: Final = re.compile(r"\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}")
_ANSWER: Final = re.compile(r"\banswer(?: is|:)[*_\s:]*([^\n]*)", re.IGNORECASE)
_TEX: Final = re.compile(r"\\(?:text|mathrm|mathbf)\{([^{}]*)\}|\\[,;! ]|\$")
_FRACTION: Final = re.compile(r"\\[dt]?frac\{([^{}]+)\}\{([^{}]+)\}")
_NUMBER: Final = re.compile(r"-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:\s*/\s*\d+)?|-?\.\d+")
_CHOICE: Final = re.compile(r"(?<![A-Za-z])\(?([A-J])\)?(?![A-Za-z'’])")
_ARTICLES: Final = re.compile(r"\b(?:a|an|the)\b")
_NO_WORD: Final = re.compile(r"[^\w\s]")


def correct_answers(source: Source) -> pl.DataFrame:
    """Return which replies to items with a reference are right: columns sample and correct.

    Null where there is no answer to match, such as of a reply that failed or was cut. Raises
    StoreError.
    """
    stored = TABLES["generations"].schema()
    schema = {"key": pl.Binary(), "content": pl.String(), "splitter": pl.String()}
    schema |= {name: stored[name] for name in _COLUMNS}
    rows = []
    for key, content, parser, *columns in source.query(_ANSWERS, schema).iter_rows():
        reference = orjson.loads(content)["fields"].get(REFERENCE)
        if not isinstance(reference, str):
            continue
        response = records.response_from_row(columns)
        answer = None
        if response.status is ResponseStatus.OK:
            answer = reasoning.parse(response, records.format_of(parser)).part(Part.ANSWER)
        rows.append((key.hex().upper(), None if answer is None else is_correct(answer, reference)))
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")


def is_correct(answer: str, reference: str) -> bool:
    """Return whether the final answer of a text is the reference.

    A number equals any way of writing it (1,000 and 1000.0; 1/2, \\frac{1}{2} and .5), a letter
    from A to J any way of choosing it (B, (B), B.), words the same words whatever their case,
    punctuation and articles.
    """
    final, wanted = _plain(final_answer(answer)), _plain(reference)
    number = _NUMBER.fullmatch(wanted.strip().rstrip("%"))
    if number:
        values = [_value(match[0]) for match in _NUMBER.finditer(final)]
        return bool(values) and values[-1] == _value(number[0])
    choice = _CHOICE.fullmatch(wanted.strip().rstrip("."))
    if choice:
        letters = _CHOICE.findall(final)
        return bool(letters) and letters[0] == choice[1]
    return _words(final) == _words(wanted)


def final_answer(text: str) -> str:
    """Return the part of a text that is its final answer."""
    if boxed := _BOXED.findall(text):
        return str(boxed[-1])
    if named := [match for match in _ANSWER.findall(text) if match.strip()]:
        return str(named[-1])
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _plain(text: str) -> str:
    text = _FRACTION.sub(r"\1/\2", text)
    return _TEX.sub(lambda match: match[1] or "", text)


def _value(number: str) -> Fraction:
    above, _, below = number.replace(",", "").replace(" ", "").partition("/")
    return Fraction(above) / (Fraction(below) if below.strip("0") else 1)


def _words(text: str) -> list[str]:
    return _ARTICLES.sub(" ", _NO_WORD.sub(" ", text.casefold())).split()
