"""Laying out a table in text: aligned, within a width, and without ever cutting a number."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Final

from rich.cells import cell_len, chop_cells

_GAP: Final = "  "
_INDENT: Final = 2
_NARROWEST: Final = 8
"""Columns of the terminal below which names are not folded further."""
_LONG_WORD: Final = 20
"""Longer words may be cut: paths, keys."""


def grid(
    titles: Sequence[str], rows: Sequence[Sequence[str]], is_text: Sequence[bool], width: int
) -> list[str]:
    """Return the lines of a table; text is set to the left, numbers to the right.

    Where the table is too wide, as many of the first text columns as it takes become a line above
    the rows they name; where that is not enough, titles and text are folded, between words as long
    as that is enough. Numbers that cannot fit grow beyond ``width``: see :func:`least_width`.
    Names that are the same as in the row above are not repeated.
    """
    columns = list(zip(titles, *rows, strict=True))
    widths, named = _widest(columns), 0
    while named < _leading(is_text) and _total(widths[named:], bool(named)) > width:
        named += 1
    least = _narrowest(columns, is_text)[named:]
    titles, names = titles[named:], ", ".join(titles[:named])
    widths, is_text, indent = widths[named:], is_text[named:], " " * (_INDENT if named else 0)
    _narrow(widths, least, width - len(indent))
    floor = [_NARROWEST if text else low for low, text in zip(least, is_text, strict=True)]
    _narrow(widths, floor, width - len(indent))
    lines = _fold(names, width) if names else []
    lines += [indent + line for line in _lines(titles, widths, [True] * len(titles), is_text)]
    lines.append("─" * _total(widths, bool(named)))
    head = ""
    above: Sequence[str] = ()
    for row in rows:
        name, cells = ", ".join(row[:named]), row[named:]
        if name != head:
            lines += _fold(name, width, at_hyphens=False)
            head, above = name, ()
        changed = without_repeats(cells, above, is_text)
        lines += [indent + line for line in _lines(changed, widths, is_text)]
        above = cells
    return [line.rstrip() for line in lines]


def least_width(
    titles: Sequence[str], rows: Sequence[Sequence[str]], is_text: Sequence[bool]
) -> int:
    """Return the width that the table fits without a word being cut."""
    named, columns = _leading(is_text), list(zip(titles, *rows, strict=True))
    return _total(_narrowest(columns, is_text)[named:], bool(named))


def _leading(is_text: Sequence[bool]) -> int:
    """Return how many columns may become a line above the rows: the first of text, but for one."""
    return max(0, [*is_text, False].index(False) - 1)


def _widest(columns: Iterable[Iterable[str]]) -> list[int]:
    return [max(map(cell_len, column), default=0) for column in columns]


def _narrowest(columns: Sequence[Sequence[str]], is_text: Sequence[bool]) -> list[int]:
    """Return how narrow each column may be with its words whole; a number is one word."""
    of_text = [
        _longest_word(column if text else column[:1])
        for column, text in zip(columns, is_text, strict=True)
    ]
    numbers = _widest(
        [] if text else column[1:] for column, text in zip(columns, is_text, strict=True)
    )
    return list(map(max, of_text, numbers))


def _longest_word(texts: Iterable[str]) -> int:
    words = (word for text in set(texts) for word in textwrap.wrap(text, 1, break_long_words=False))
    return min(_LONG_WORD, max(map(cell_len, words), default=0))


def _narrow(widths: list[int], least: Sequence[int], width: int) -> None:
    """Take from the widest column that can give, until the table fits or none can."""
    while _total(widths) > width:
        candidates = [i for i, low in enumerate(least) if widths[i] > low]
        if not candidates:
            return
        widths[max(candidates, key=widths.__getitem__)] -= 1


def without_repeats(row: Sequence[str], above: Sequence[str], is_text: Sequence[bool]) -> list[str]:
    """Leave out the leading names that are the same as in the row above."""
    same = 0
    while same < len(above) - 1 and is_text[same] and row[same] == above[same]:
        same += 1
    return [""] * same + list(row[same:])


def _lines(
    row: Sequence[str],
    widths: Sequence[int],
    is_folded: Sequence[bool],
    is_left: Sequence[bool] | None = None,
) -> list[str]:
    """Return one row, in as many lines as its longest text needs."""
    folded = [
        _fold(cell, width) if folds else [cell]
        for cell, width, folds in zip(row, widths, is_folded, strict=True)
    ]
    height = max(map(len, folded))
    return [
        _GAP.join(
            _pad(parts[line] if line < len(parts) else "", width, left)
            for parts, width, left in zip(folded, widths, is_left or is_folded, strict=True)
        )
        for line in range(height)
    ]


def _fold(text: str, width: int, *, at_hyphens: bool = True) -> list[str]:
    pieces = textwrap.wrap(text, width, break_on_hyphens=at_hyphens) or [""]
    return [part for piece in pieces for part in chop_cells(piece, width) or [""]]


def _pad(text: str, width: int, is_text: bool) -> str:
    space = " " * (width - cell_len(text))
    return text + space if is_text else space + text


def _total(widths: Sequence[int], is_indented: bool = False) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1) + _INDENT * is_indented
