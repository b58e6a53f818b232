"""Slopes: each scenario's rate for the base and for the reasoning model, one panel a pair."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any, Final

import altair as alt
import polars as pl

from opensafemlrm.report.figures import drawing
from opensafemlrm.report.figures.drawing import Marks, Size
from opensafemlrm.report.figures.theme import LIGHT, SMALL

_HEIGHT: Final = 190
_TOP: Final = 44
_BOTTOM: Final = 40
_LINE: Final = 12
"""Least distance of two names beside a panel."""
_NAMED: Final = 3
"""Scenarios named in a panel: those in which the reasoning model gained most."""


COLUMNS: Final = pl.Schema(
    {
        "panel": pl.String,
        "under": pl.String,
        "scenario": pl.String,
        "base": pl.Float64,
        "reasoner": pl.Float64,
    }
)
"""A scenario's two rates, from 0 to 1, in the panel of one pair; the base stands ``under`` its
name."""


def slopes(rows: pl.DataFrame, size: Size) -> alt.LayerChart:
    """Draw a panel a pair; the scenarios that rose most are in colour and named.

    ``rows`` has :data:`COLUMNS`.
    """
    panels = rows.select("panel", "under").unique(maintain_order=True).rows()
    across = min(len(panels), 2 if size.narrow else 3)
    column = size.width / across
    most = rows.select(pl.max_horizontal(pl.col("base", "reasoner").max())).item()
    top_rate = max(0.1, math.ceil(most * 10) / 10)
    marks: Marks = defaultdict(list)
    for number, (panel, under) in enumerate(panels):
        left = (number % across) * column
        top = (number // across) * (_HEIGHT + _TOP + _BOTTOM)
        mine = rows.filter(panel=panel, under=under)
        below = drawing.fit(under, column - 14, SMALL)
        marks["titles"].append({"x": left, "y": top + 10, "text": drawing.fit(panel, column - 14)})
        marks["unders"].append({"x": left, "y": top + 26, "text": below})
        _put_panel(marks, mine, left + 4, top + _TOP, column, top_rate)
    quiet = {"fontSize": 10, "color": LIGHT["muted"]}
    layers = [
        drawing.rules(marks["grid"], color=LIGHT["grid"]),
        drawing.texts(marks["numbers"], align="right", **quiet),
        drawing.texts(marks["feet"], align="center", **quiet),
        drawing.texts(marks["titles"]),
        drawing.texts(marks["unders"], fontSize=SMALL, color=LIGHT["muted"]),
        drawing.rules(marks["others"], color=LIGHT["blocked"], strokeWidth=1.2, opacity=0.75),
        drawing.rules(marks["risen"], color=LIGHT["reasoner"], strokeWidth=2),
        drawing.points(marks["ends"], "reasoner"),
        drawing.texts(marks["names"], fontSize=10, color=LIGHT["reasoner"]),
    ]
    lines = math.ceil(len(panels) / across)
    return drawing.finish(layers, size.width - 12, lines * (_HEIGHT + _TOP + _BOTTOM))


def _put_panel(
    marks: Marks, rows: pl.DataFrame, left: float, top: float, column: float, top_rate: float
) -> None:
    start, end = left + 22, left + column * (0.46 if column < 200 else 0.42)

    def at(rate: float) -> float:
        return top + _HEIGHT * (1 - rate / top_rate)

    for tick in (0.0, top_rate / 2, top_rate):
        marks["grid"].append({"x": start, "x2": end, "y": at(tick), "y2": at(tick)})
        marks["numbers"].append({"x": start - 5, "y": at(tick), "text": f"{100 * tick:.0f}"})
    for x, foot in ((start, "base"), (end, "reasoning")):
        marks["feet"].append({"x": x, "y": top + _HEIGHT + 13, "text": foot})
    by_rise = rows.sort(pl.col("base") - pl.col("reasoner"), maintain_order=True)
    named = by_rise.head(_NAMED).filter(pl.col("reasoner") > pl.col("base"))
    for scenario, base, reasoner in rows.select("scenario", "base", "reasoner").iter_rows():
        line = {"x": start, "x2": end, "y": at(base), "y2": at(reasoner)}
        (marks["risen"] if scenario in named["scenario"] else marks["others"]).append(line)
    room = left + column - end - 18
    names = []
    for scenario, reasoner in named.select("scenario", "reasoner").iter_rows():
        text = drawing.fit(f"{100 * reasoner:.0f} {scenario}", room, 10)
        marks["ends"].append({"x": end, "y": at(reasoner)})
        names.append({"x": end + 8, "y": at(reasoner), "text": text})
    marks["names"] += _apart(names)


def _apart(names: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Move names down until no two lie on each other."""
    placed: list[dict[str, Any]] = []
    for name in sorted(names, key=lambda one: float(one["y"])):
        least = placed[-1]["y"] + _LINE if placed else name["y"]
        placed.append({**name, "y": max(name["y"], least)})
    return placed
