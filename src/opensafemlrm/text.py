"""Making text of models, datasets and servers harmless where it is shown; counting in words.

One function for each place that text goes to. All of them first make every character visible:
an escape sequence, a bidirectional override or a zero-width character is written out as
``\\x1b`` or ``\\u202e``, so that nothing is hidden and nothing is lost. None of them touches the
text that is stored or judged.
"""

from __future__ import annotations

import html
import re
import unicodedata
from enum import StrEnum
from typing import Final

# Printable to Unicode, blank or invisible to a reader: fillers, and the selectors that are used
# to smuggle bytes through text.
_UNSEEN: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\U000e0100-\U000e01ef]"
)


class Format(StrEnum):
    """What a table is written as."""

    TEXT = "text"
    MD = "md"
    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"
    LATEX = "latex"


_CSV_FORMULA: Final = re.compile(r"\s*[=+\-@\t\r＝＋－＠]")

_MARKDOWN_INLINE: Final = re.compile(r"[\\`*_\[\]|~#!$]|:(?=//)|(?<=www)\.", re.IGNORECASE)
_MARKDOWN_BLOCK: Final = re.compile(r"(\s*\d*)([.)](?=\s|$)|[-+](?=[-+\s]|$)|=)")

_LATEX: Final = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "≤": r"\ensuremath{\leq}",
        "≥": r"\ensuremath{\geq}",
        "−": r"\ensuremath{-}",
        "|": r"\textbar{}",
        "`": r"\textasciigrave{}",
        "'": r"\textquotesingle{}",
        **{special: f"\\{special}" for special in "{}$&#%_"},
        # After a row's end a bracket or a star would be read as the row's options; babel gives
        # the double quote a meaning of its own in some languages.
        **{special: f"{{{special}}}" for special in '[]*"'},
    }
)
_DASHES: Final = re.compile(r"-(?=-)")
"""A hyphen before another: LaTeX would make one dash of the two."""


def for_terminal(text: str, *, newlines: bool = False) -> str:
    """Return ``text`` with every control, format and invisible character written out.

    With ``newlines``, line feeds and tabs stay as they are; otherwise the result is one line.
    """
    if text.isprintable() and not _UNSEEN.search(text):
        return text
    allowed = "\n\t" if newlines else ""
    return "".join(c if c in allowed or _is_visible(c) else _written_out(c) for c in text)


def for_csv_cell(text: str) -> str:
    """Return ``text`` so that no spreadsheet takes it for a formula: with an apostrophe before it.

    For text only: numbers are written as numbers, also where they are negative.
    """
    visible = for_terminal(text, newlines=True)
    return f"'{visible}" if _CSV_FORMULA.match(text) else visible


def for_markdown(text: str) -> str:
    """Return ``text`` as one line of Markdown that shows it literally, also in a table's cell."""
    line = html.escape(_MARKDOWN_INLINE.sub(r"\\\g<0>", for_terminal(text)), quote=False)
    return _MARKDOWN_BLOCK.sub(r"\1\\\2", line, count=1) if _MARKDOWN_BLOCK.match(line) else line


def for_latex(text: str) -> str:
    """Return ``text`` as one line of LaTeX text mode that typesets it literally."""
    return _DASHES.sub("-{}", for_terminal(text).translate(_LATEX))


def for_html(text: str) -> str:
    """Return ``text`` for an HTML element or a quoted attribute, with its line feeds and tabs."""
    return html.escape(for_terminal(text, newlines=True), quote=True)


def counted(number: int, noun: str, otherwise: str = "") -> str:
    """Return a number with what it counts: ``1 reply``, ``2,000 replies``.

    ``otherwise`` follows any number but 1 where that is no plural: ``"row waits", "rows wait"``.
    """
    return f"{number:,} {otherwise if otherwise and number != 1 else plural(number, noun)}"


def plural(number: int, noun: str) -> str:
    """Return a noun as it stands behind ``number``."""
    if number == 1:
        return noun
    return f"{noun[:-1]}ies" if noun.endswith("ly") else f"{noun}s"


def _is_visible(character: str) -> bool:
    if _UNSEEN.match(character):
        return False
    return character.isprintable() or unicodedata.category(character) == "Zs"


def _written_out(character: str) -> str:
    named = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character)
    code = ord(character)
    if named:
        return named
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
