"""The flow from reasoning to answer: how much of either is unsafe, and where it ends."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any, Final

import altair as alt
import polars as pl

from opensafemlrm.report.figures import drawing
from opensafemlrm.report.figures.drawing import Marks, Row, Size
from opensafemlrm.report.figures.theme import LIGHT, SMALL

_HEIGHT: Final = 150
_TOP: Final = 62
_BOTTOM: Final = 40
_WHOLE: Final = _HEIGHT + _TOP + _BOTTOM
_NODE: Final = 11
_APART: Final = 8
_LEAST_NAMED: Final = 14
_SMOOTH: Final = 24
_KIND: Final = 40
"""Room for the word left of a node."""


COLUMNS: Final = pl.Schema(
    {
        "panel": pl.String,
        "under": pl.String,
        "both_unsafe": pl.Int64,
        "corrected": pl.Int64,
        "reverse": pl.Int64,
        "both_safe": pl.Int64,
    }
)
"""A panel and what stands ``under`` its name; samples by the safety of their reasoning and of
their answer, as in :mod:`opensafemlrm.analysis.correction`; ``bounds`` may be there too: what is
written where they stand in place of the share that is corrected."""


def flows(rows: pl.DataFrame, size: Size) -> alt.LayerChart:
    """Draw a panel a row: reasoning at the left, answers at the right, unsafe on top.

    ``rows`` has :data:`COLUMNS`. A ribbon has the colour of the reasoning it comes from.
    """
    across = min(len(rows), 2 if size.narrow else 3)
    column = size.width / across
    marks: Marks = defaultdict(list)
    corners = drawing.corners(len(rows), across, column, _WHOLE, 0)
    for row, (left, top) in zip(rows.iter_rows(named=True), corners, strict=True):
        width = column - 24
        marks["titles"].append(
            {"x": left, "y": top + 10, "text": drawing.fit(row["panel"], width + 10)}
        )
        under = drawing.fit(row["under"], width + 10, SMALL)
        marks["unders"].append({"x": left, "y": top + 26, "text": under})
        _put_panel(marks, row, left, top + _TOP, width)
    quiet = {"fontSize": 10, "color": LIGHT["muted"]}
    layers = [
        drawing.texts(marks["titles"]),
        drawing.texts(marks["unders"], **drawing.QUIET),
        drawing.texts(marks["lefts"], **quiet),
        drawing.texts(marks["rights"], align="right", **quiet),
        drawing.areas(marks["ribbons"], opacity=0.55),
        drawing.boxes(marks["nodes"]),
        drawing.texts(marks["kinds"], align="right", **quiet),
        drawing.texts(marks["said"], fontSize=SMALL),
    ]
    return drawing.finish(layers, size.width - 24, math.ceil(len(rows) / across) * _WHOLE)


def _put_panel(marks: Marks, row: Row, left: float, start: float, width: float) -> None:
    end = start + _HEIGHT
    both_unsafe, corrected, reverse, both_safe = (row[name] for name in list(COLUMNS)[2:])
    n = both_unsafe + corrected + reverse + both_safe
    if not n:
        marks["said"].append({"x": left, "y": start + 10, "text": "nothing to compare"})
        return
    scale = (_HEIGHT - _APART) / n
    word, left, width = left + _KIND - 5, left + _KIND, width - _KIND
    inner, outer = left + _NODE, left + width - _NODE
    unsafe_left = start + (both_unsafe + corrected) * scale
    unsafe_right = start + (both_unsafe + reverse) * scale
    safe_left, safe_right = unsafe_left + _APART, unsafe_right + _APART
    for x, y, y2, kind in (
        (left, start, unsafe_left, "unsafe"),
        (left, safe_left, end, "safe"),
        (outer, start, unsafe_right, "unsafe"),
        (outer, safe_right, end, "safe"),
    ):
        if y2 > y:
            marks["nodes"].append({"x": x, "x2": x + _NODE, "y": y, "y2": y2, "role": kind})
        if x == left and y2 - y >= _LEAST_NAMED:
            marks["kinds"].append({"x": word, "y": (y + y2) / 2, "text": kind})
    # Of each node the ribbons to the top of the other side lie on top: none cross needlessly.
    to_answer = start + both_unsafe * scale
    for y, y2, count, kind in (
        (start, start, both_unsafe, "unsafe"),
        (to_answer, safe_right, corrected, "unsafe"),
        (safe_left, to_answer, reverse, "safe"),
        (
            safe_left + reverse * scale,
            safe_right + corrected * scale,
            both_safe,
            "safe",
        ),
    ):
        if count:
            edge = _ribbon(inner, outer, y, y2, count * scale)
            area = f"{left:g} {start:g} {y:g} {y2:g}"
            marks["ribbons"] += [{**at, "area": area, "role": kind} for at in edge]
    marks["lefts"].append({"x": left, "y": start - 10, "text": "reasoning"})
    marks["rights"].append({"x": left + width, "y": start - 10, "text": "answer"})
    unsafe = both_unsafe + corrected
    bounds = row.get("bounds")
    share = f"% corrected: {bounds}" if bounds else ""
    if unsafe and not bounds:
        share = f"{100 * corrected / unsafe:.0f}% of {unsafe:,} corrected"
    text = share or "no unsafe reasoning"
    marks["said"].append({"x": left - _KIND, "y": end + 12, "text": text})


def _ribbon(x: float, x2: float, y: float, y2: float, height: float) -> list[dict[str, Any]]:
    """Return a band of one height that bends from ``y`` to ``y2`` (its upper edge's ends)."""
    edge = []
    for step in range(_SMOOTH + 1):
        part = step / _SMOOTH
        bend = part * part * (3 - 2 * part)
        upper = y + (y2 - y) * bend
        edge.append({"x": x + (x2 - x) * part, "y": upper, "y2": upper + max(height, 0.5)})
    return edge
