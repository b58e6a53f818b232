"""Laying out a table in text: aligned, within a width, and without ever cutting a number."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len, chop_cells

_GAP: Final = "  "
_INDENT: Final = 2
_NARROWEST: Final = 8
"""Columns of the terminal below which names are not folded further."""


def grid(
    titles: Sequence[str], rows: Sequence[Sequence[str]], is_text: Sequence[bool], width: int
) -> list[str]:
    """Return the lines of a table; text is set to the left, numbers to the right.

    Where the table is too wide, as many of the first text columns as it takes become a line above
    the rows they name; where that is not enough, text is folded. A table of numbers that cannot
    fit grows beyond ``width``. Names that are the same as in the row above are not repeated.
    """
    columns = [[title, *(row[i] for row in rows)] for i, title in enumerate(titles)]
    widths = [max(map(cell_len, column)) for column in columns]
    named = 0
    while (
        named + 1 < len(titles)
        and is_text[named + 1]
        and _total(widths[named:]) + (_INDENT if named else 0) > width
    ):
        named += 1
    titles, names = titles[named:], ", ".join(titles[:named])
    widths, is_text, indent = widths[named:], is_text[named:], " " * (_INDENT if named else 0)
    width -= len(indent)
    _narrow(widths, is_text, width)
    lines = [names] if named else []
    lines += [indent + line for line in _lines(titles, widths, is_text)]
    lines.append("─" * (len(indent) + _total(widths)))
    head = ""
    above: Sequence[str] = ()
    for row in rows:
        name, cells = ", ".join(row[:named]), row[named:]
        if name != head:
            lines.append(name)
            head, above = name, ()
        lines += [
            indent + line for line in _lines(_changed(cells, above, is_text), widths, is_text)
        ]
        above = cells
    return [line.rstrip() for line in lines]


def _narrow(widths: list[int], is_text: Sequence[bool], width: int) -> None:
    """Take from the widest text column until the table fits or no text can give more."""
    while _total(widths) > width:
        candidates = [i for i, text in enumerate(is_text) if text and widths[i] > _NARROWEST]
        if not candidates:
            return
        widths[max(candidates, key=widths.__getitem__)] -= 1


def _changed(row: Sequence[str], above: Sequence[str], is_text: Sequence[bool]) -> list[str]:
    """Leave out the leading names that are the same as in the row above."""
    same = 0
    while same < len(above) - 1 and is_text[same] and row[same] == above[same]:
        same += 1
    return [""] * same + list(row[same:])


def _lines(row: Sequence[str], widths: Sequence[int], is_text: Sequence[bool]) -> list[str]:
    """Return one row, in as many lines as its longest text needs."""
    folded = [
        _fold(cell, width) if text else [cell]
        for cell, width, text in zip(row, widths, is_text, strict=True)
    ]
    height = max(map(len, folded))
    return [
        _GAP.join(
            _pad(parts[line] if line < len(parts) else "", width, text)
            for parts, width, text in zip(folded, widths, is_text, strict=True)
        )
        for line in range(height)
    ]


def _fold(text: str, width: int) -> list[str]:
    pieces = textwrap.wrap(text, width) or [""]
    return [part for piece in pieces for part in chop_cells(piece, width) or [""]]


def _pad(text: str, width: int, is_text: bool) -> str:
    space = " " * (width - cell_len(text))
    return text + space if is_text else space + text


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)
