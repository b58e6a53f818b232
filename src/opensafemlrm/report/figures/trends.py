"""The versions of a series: a panel a scenario, a line a part, with bands that hold together."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import altair as alt
import polars as pl

from opensafemlrm.report.figures import drawing
from opensafemlrm.report.figures.drawing import Marks, Panel, Row, Ruler, Sign, Size
from opensafemlrm.report.figures.theme import LIGHT, SMALL, width_of

ROLES: Final = {"answer": "base", "reasoning": "reasoner", "whole reply": "ink"}
"""The colour of each part."""
COLUMNS: Final = pl.Schema(
    {
        "panel": pl.String,
        "part": pl.String,
        "number": pl.Int64,
        "version": pl.String,
        "value": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "worse": pl.Boolean,
    }
)
"""A rate with its band, fractions, of one version of a part in the panel of one scenario; ``worse``
where it is the first version that is. What is null is a gap."""
_HEIGHT: Final = 84
_TOP: Final = 24
_FOOT: Final = 22
_LEFT: Final = 34
_GAP: Final = 12
_PAD: Final = 4
"""Pixels at either side of a panel's scale."""
_MIN_WIDTH: Final = 150


def trends(rows: pl.DataFrame, size: Size) -> alt.LayerChart:
    """Draw ``rows`` (:data:`COLUMNS`): to the right is later, up is less safe."""
    panels = rows["panel"].unique(maintain_order=True).to_list()
    parts = [part for part in ROLES if part in rows["part"]]
    places = int(rows.select(pl.col("number").max()).item())
    names = dict(rows.select("number", "version").unique().iter_rows())
    across = max(1, min(len(panels), int(size.width // (_MIN_WIDTH + _LEFT))))
    column = (size.width - 12) / across
    signs = [Sign(part, ROLES[part]) for part in parts]
    signs.append(Sign("first version that is worse", "unsafe", "ring"))
    key, start = drawing.legend(signs, size.width - 12)
    whole = _TOP + _HEIGHT + _FOOT + _GAP
    marks: Marks = defaultdict(list)
    width = column - _LEFT - _GAP
    to_right, up = Ruler(1, max(places, 2), width - 2 * _PAD), Ruler(0, 1, _HEIGHT)
    corners = drawing.corners(len(panels), across, column, whole, start)
    for name, (left, top) in zip(panels, corners, strict=True):
        title = drawing.fit(name, width, SMALL)
        marks["titles"].append({"x": left + _LEFT, "y": top + 12, "text": title})
        panel = Panel(left + _LEFT + _PAD, top + _TOP, to_right, up)
        _put_scales(marks, panel, names)
        for part in parts:
            own = rows.filter(panel=name, part=part).sort("number")
            _put_line(marks, panel, list(own.iter_rows(named=True)), part)
    layers = [
        drawing.rules(marks["grid"], color=LIGHT["grid"]),
        drawing.texts(marks["ticks"], align="right", **drawing.QUIET),
        drawing.texts(marks["first"], **drawing.QUIET),
        drawing.texts(marks["last"], align="right", **drawing.QUIET),
        drawing.texts(marks["titles"], fontSize=SMALL),
        drawing.areas(marks["bands"], opacity=0.16),
        drawing.rules(marks["lines"], strokeWidth=1.8),
        *(drawing.points(marks[f"dots {part}"], ROLES[part], size=16) for part in parts),
        drawing.points(marks["worse"], "unsafe", fill="paper", size=56),
        *key,
    ]
    return drawing.finish(layers, size.width - 12, start + math.ceil(len(panels) / across) * whole)


def _put_scales(marks: Marks, panel: Panel, names: dict[int, str]) -> None:
    left, width = panel.left - _PAD, panel.to_right.width + 2 * _PAD
    right, foot = left + width, panel.top + _HEIGHT + 12
    for rate in (0.0, 0.5, 1.0):
        y = panel.y(rate)
        marks["grid"].append(drawing.across(left, right, y))
        marks["ticks"].append({"x": left - 5, "y": y, "text": f"{100 * rate:.0f}%"})
    first, last = names[min(names)], names[max(names)]
    room = width / 2 - 4 if len(names) > 1 else width
    marks["first"].append({"x": left, "y": foot, "text": drawing.fit(first, room, SMALL)})
    if len(names) > 1:
        room = max(room, width - 8 - width_of(first, SMALL))
        marks["last"].append({"x": right, "y": foot, "text": drawing.fit(last, room, SMALL)})


def _put_line(marks: Marks, panel: Panel, rows: Sequence[Row], part: str) -> None:
    """Put a part's line, broken where a version has no rate, and the band around it."""
    role = ROLES[part]
    for row in rows:
        if row["value"] is None:
            continue
        at = {"x": panel.x(row["number"]), "y": panel.y(row["value"])}
        marks["worse" if row["worse"] else f"dots {part}"].append(at)
    for here, there in pairwise(rows):
        if here["value"] is None or there["value"] is None or there["number"] != here["number"] + 1:
            continue
        x, x2 = (panel.x(row["number"]) for row in (here, there))
        y, y2 = (panel.y(row["value"]) for row in (here, there))
        marks["lines"].append({"x": x, "x2": x2, "y": y, "y2": y2, "role": role})
        area = f"{panel.left} {panel.top} {role} {here['number']}"
        for row in (here, there):
            if row["low"] is not None and row["high"] is not None:
                edge = {"y": panel.y(row["low"]), "y2": panel.y(row["high"])}
                marks["bands"].append(
                    {"x": panel.x(row["number"]), **edge, "area": area, "role": role}
                )
