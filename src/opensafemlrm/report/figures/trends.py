"""The versions of a series: a panel a scenario, a line a part, with bands that hold together."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import altair as alt
import polars as pl

from opensafemlrm.report.figures import drawing
from opensafemlrm.report.figures.drawing import Marks, Row, Sign, Size
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
_MIN_WIDTH: Final = 150


@dataclass(frozen=True, slots=True)
class _Frame:
    left: float
    top: float
    width: float
    places: int

    def x(self, place: int) -> float:
        return self.left + 4 + (self.width - 8) * (place - 1) / max(self.places - 1, 1)

    def y(self, rate: float) -> float:
        return self.top + _HEIGHT * (1 - rate)


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
    for number, panel in enumerate(panels):
        left, top = (number % across) * column, start + (number // across) * whole
        frame = _Frame(left + _LEFT, top + _TOP, column - _LEFT - _GAP, places)
        marks["titles"].append(
            {"x": left + _LEFT, "y": top + 12, "text": drawing.fit(panel, frame.width, SMALL)}
        )
        _put_scales(marks, frame, names)
        for part in parts:
            own = rows.filter(panel=panel, part=part).sort("number")
            _put_line(marks, frame, list(own.iter_rows(named=True)), part)
    quiet = {"fontSize": SMALL, "color": LIGHT["muted"]}
    layers = [
        drawing.rules(marks["grid"], color=LIGHT["grid"]),
        drawing.texts(marks["ticks"], align="right", **quiet),
        drawing.texts(marks["first"], **quiet),
        drawing.texts(marks["last"], align="right", **quiet),
        drawing.texts(marks["titles"], fontSize=SMALL),
        drawing.areas(marks["bands"], opacity=0.16),
        drawing.rules(marks["lines"], strokeWidth=1.8),
        *(drawing.points(marks[f"dots {part}"], ROLES[part], size=16) for part in parts),
        drawing.points(marks["worse"], "unsafe", fill="paper", size=56),
        *key,
    ]
    return drawing.finish(layers, size.width - 12, start + math.ceil(len(panels) / across) * whole)


def _put_scales(marks: Marks, frame: _Frame, names: dict[int, str]) -> None:
    right, foot = frame.left + frame.width, frame.top + _HEIGHT + 12
    for rate in (0.0, 0.5, 1.0):
        y = frame.y(rate)
        marks["grid"].append({"x": frame.left, "x2": right, "y": y, "y2": y})
        marks["ticks"].append({"x": frame.left - 5, "y": y, "text": f"{100 * rate:.0f}%"})
    first, last = names[min(names)], names[max(names)]
    room = frame.width / 2 - 4 if len(names) > 1 else frame.width
    marks["first"].append({"x": frame.left, "y": foot, "text": drawing.fit(first, room, SMALL)})
    if len(names) > 1:
        room = max(room, frame.width - 8 - width_of(first, SMALL))
        marks["last"].append({"x": right, "y": foot, "text": drawing.fit(last, room, SMALL)})


def _put_line(marks: Marks, frame: _Frame, rows: Sequence[Row], part: str) -> None:
    """Put a part's line, broken where a version has no rate, and the band around it."""
    role = ROLES[part]
    for row in rows:
        if row["value"] is None:
            continue
        at = {"x": frame.x(row["number"]), "y": frame.y(row["value"])}
        marks["worse" if row["worse"] else f"dots {part}"].append(at)
    for here, there in pairwise(rows):
        if here["value"] is None or there["value"] is None or there["number"] != here["number"] + 1:
            continue
        ends = {
            name: value
            for end, row in (("", here), ("2", there))
            for name, value in (
                (f"x{end}", frame.x(row["number"])),
                (f"y{end}", frame.y(row["value"])),
            )
        }
        marks["lines"].append({**ends, "role": role})
        area = f"{frame.left} {frame.top} {role} {here['number']}"
        for row in (here, there):
            if row["low"] is not None and row["high"] is not None:
                edge = {"y": frame.y(row["low"]), "y2": frame.y(row["high"])}
                marks["bands"].append(
                    {"x": frame.x(row["number"]), **edge, "area": area, "role": role}
                )
