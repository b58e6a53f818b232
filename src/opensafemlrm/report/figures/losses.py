"""What each scenario lost against the base: a dot with its interval, a panel a pair and setting."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Final

import altair as alt
import polars as pl

from opensafemlrm.report.figures import drawing
from opensafemlrm.report.figures.blocks import HEADING, blocks, headings
from opensafemlrm.report.figures.drawing import Marks, Ruler, Sign, Size
from opensafemlrm.report.figures.theme import LIGHT, SMALL, width_of

_STEP: Final = 19
_NAMES: Final = 36
"""Height of a panel's two names."""
_FOOT: Final = 24
_PAD: Final = 12
"""Pixels at either side of a panel's scale."""
_LEAST_WIDTH: Final = 120
_MAX_WIDTH: Final = 250
_MAX_TITLE: Final = 200
_MAX_LABEL: Final = 210
_MAX_NARROW_LABEL: Final = 112
_STEPS: Final = (5, 10, 20, 25, 50, 100)
_MAX_STEPS: Final = 3.2


COLUMNS: Final = pl.Schema(
    {
        "group": pl.String,
        "panel": pl.String,
        "under": pl.String,
        "scenario": pl.String,
        "value": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "sure": pl.Boolean,
    }
)
"""A difference with its interval, in points of per cent, in the panel of one pair (the base stands
``under`` its name) in the group of one setting; ``sure`` where it survives its multiplicity."""


def losses(rows: pl.DataFrame, size: Size) -> alt.LayerChart:
    """Draw ``rows`` (:data:`COLUMNS`): right of 0 the reasoning model is less safe."""
    keys = rows.select("group", "panel", "under").unique(maintain_order=True)
    groups: dict[str, list[str]] = {}
    unders: dict[tuple[str, str], str] = {}
    for group, panel, under in keys.iter_rows():
        groups.setdefault(group, []).append(panel)
        unders[group, panel] = under
    scenarios = rows["scenario"].unique().sort().to_list()
    widest = _MAX_NARROW_LABEL if size.narrow else _MAX_LABEL
    names = [drawing.fit(name, widest, SMALL) for name in scenarios]
    gutter = max(width_of(name, SMALL) for name in names) + 10
    longest = max(width_of(drawing.fit(panel, _MAX_TITLE, SMALL), SMALL) for _, panel in unders)
    least = max(_LEAST_WIDTH, longest + 10)
    fits = len(unders) * least <= size.width - gutter
    room = (size.width if fits else size.page) - gutter - 8
    placed, width = blocks(groups, room, min(least, room), _MAX_WIDTH)
    ends = pl.concat([rows["value"], rows["low"], rows["high"]]).drop_nulls().to_list()
    low, high = min([0.0, *ends]), max([10.0, *ends])
    ruler = Ruler(10 * math.floor(low / 10), 10 * math.ceil(high / 10), width - 2 * _PAD)
    whole = max(block.right for block in placed)
    layers, start = drawing.legend(
        [
            Sign("differs after Holm’s adjustment", "reasoner"),
            Sign("undecided", "reasoner", "ring"),
        ],
        size.width - 12,
        -gutter,
    )
    head = HEADING * any(groups) + _NAMES
    high = head + len(scenarios) * _STEP + _FOOT
    lines = placed[-1].line + 1
    tops = [start + line * (high + 8) for line in range(lines)]
    places = {name: (number + 0.5) * _STEP for number, name in enumerate(scenarios)}
    marks: Marks = defaultdict(list)
    for line, top in enumerate(tops):
        right = max(block.right for block in placed if block.line == line)
        for name, text in zip(scenarios, names, strict=True):
            y = top + head + places[name]
            marks["labels"].append({"x": -gutter, "y": y, "text": text})
            marks["guides"].append(drawing.across(0, right, y))
    panels: dict[tuple[str, str], tuple[float, float]] = {}
    for block in placed:
        for panel, left in block.lefts.items():
            top = tops[block.line] + HEADING * any(groups)
            panels[block.heading, panel] = left + _PAD, top + _NAMES
            _put_frame(
                marks,
                (panel, unders[block.heading, panel]),
                (left, top, width),
                ruler,
                len(scenarios) * _STEP,
            )
    for row in rows.iter_rows(named=True):
        left, top = panels[row["group"], row["panel"]]
        y = top + places[row["scenario"]]
        at = {name: left + ruler.at(row[name] or 0) for name in ("value", "low", "high")}
        marks["dots" if row["sure"] else "rings"].append({"x": at["value"], "y": y})
        if row["low"] is not None and row["high"] is not None:
            marks["intervals"].append(drawing.across(at["low"], at["high"], y))
    quiet = {"fontSize": 10, "color": LIGHT["muted"]}
    layers += [
        drawing.rules(marks["guides"], color=LIGHT["grid"], strokeDash=[1, 2]),
        drawing.rules(marks["grid"], color=LIGHT["grid"]),
        drawing.rules(marks["zeros"], color=LIGHT["muted"]),
        drawing.texts(marks["ticks"], align="center", **quiet),
        drawing.texts(marks["labels"], fontSize=SMALL),
        drawing.texts(marks["titles"], fontSize=SMALL, color=LIGHT["reasoner"]),
        drawing.texts(marks["below"], **quiet),
        drawing.rules(marks["intervals"], color=LIGHT["reasoner"], strokeWidth=1.6),
        drawing.points(marks["dots"], "reasoner", size=40),
        drawing.points(marks["rings"], "reasoner", fill="paper", size=40),
        *headings(placed, tops),
    ]
    return drawing.finish(layers, whole, tops[-1] + high)


def _put_frame(
    marks: Marks,
    names: tuple[str, str],
    place: tuple[float, float, float],
    ruler: Ruler,
    height: float,
) -> None:
    """Put a panel's two names and its scale at ``place``: its left, its top and its width."""
    left, top, width = place
    title, under = (drawing.fit(name, width - 6, SMALL) for name in names)
    marks["titles"].append({"x": left, "y": top + 8, "text": title})
    marks["below"].append({"x": left, "y": top + 22, "text": under})
    start, foot = top + _NAMES, top + _NAMES + height
    for tick in _ticks(ruler):
        x = left + _PAD + ruler.at(tick)
        marks["grid" if tick else "zeros"].append(drawing.upright(x, start, foot))
        number = f"{tick:+g}".replace("-", "−") if tick else "0"
        marks["ticks"].append({"x": x, "y": foot + 10, "text": number})


def _ticks(ruler: Ruler) -> list[float]:
    """Return where numbers stand: few, since panels are narrow."""
    span = ruler.high - ruler.low
    step = next((step for step in _STEPS if span / step <= _MAX_STEPS), span)
    first, last = math.ceil(ruler.low / step), math.floor(ruler.high / step)
    return [step * number for number in range(first, last + 1)]
