"""Columns in groups, side by side over the same rows, in as few lines as hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import altair as alt

from opensafemlrm.report.figures import drawing
from opensafemlrm.report.figures.theme import LIGHT

_GAP: Final = 18
"""Pixels between two groups."""
HEADING: Final = 26
"""Height of a group's heading with the rule below it."""


@dataclass(frozen=True, slots=True)
class Block:
    """A group of columns: its heading, the line it stands in, and where each column begins."""

    heading: str
    line: int
    lefts: Mapping[str, float]
    right: float


def blocks(
    groups: Mapping[str, Sequence[str]], room: float, least: float, greatest: float
) -> tuple[list[Block], float]:
    """Lay out groups of columns in ``room`` pixels; return them, and the width of every column.

    A column is ``least`` to ``greatest`` pixels wide. A group is never broken: one that is wider
    than the room reaches beyond it.
    """
    lines: list[list[str]] = [[]]
    for name in groups:
        if lines[-1] and _needed([*lines[-1], name], groups, least) > room:
            lines.append([])
        lines[-1].append(name)
    width = greatest
    for line in lines:
        columns = sum(len(groups[name]) for name in line)
        width = min(width, (room - _GAP * (len(line) - 1)) / columns)
    width = max(width, least)
    placed = []
    for number, line in enumerate(lines):
        x = 0.0
        for name in line:
            lefts = {column: x + place * width for place, column in enumerate(groups[name])}
            x += len(groups[name]) * width
            placed.append(Block(name, number, lefts, x))
            x += _GAP
    return placed, width


def headings(placed: Sequence[Block], tops: Sequence[float]) -> list[alt.Chart]:
    """Return the layers of the groups' headings; ``tops`` are the pixels at which lines begin."""
    named = [block for block in placed if block.heading]
    words, lines = [], []
    for block in named:
        left, top = min(block.lefts.values()), tops[block.line]
        text = drawing.fit(block.heading, block.right - left)
        words.append({"x": left, "y": top + 9, "text": text})
        lines.append(drawing.across(left, block.right, top + 20))
    return [drawing.texts(words, color=LIGHT["ink"]), drawing.rules(lines, color=LIGHT["rule"])]


def _needed(names: Sequence[str], groups: Mapping[str, Sequence[str]], least: float) -> float:
    return sum(len(groups[name]) for name in names) * least + _GAP * (len(names) - 1)
