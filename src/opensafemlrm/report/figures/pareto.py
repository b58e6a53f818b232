"""Safety against over-refusal: every defense of a model a dot, one panel a model."""

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
from opensafemlrm.report.figures.drawing import Marks, Panel, Row, Ruler, Sign, Size
from opensafemlrm.report.figures.theme import LIGHT, SMALL, width_of

_HEIGHT: Final = 220
_TOP: Final = 44
_BOTTOM: Final = 54
_LEFT: Final = 46
"""Room for the numbers of the scale of safety, and for its name."""
_LINE: Final = 13
"""Height of a name."""
_AWAY: Final = 9
"""From the middle of a dot to its name."""
_DOT: Final = 5
_OVER: Final = 14
"""How far a name may stand out of its panel at the right."""
_MAX_STEPS: Final = 30
_NEAR: Final = 20
"""Places next to its dot in which a name looks for one that is on no bar."""


COLUMNS: Final = pl.Schema(
    {
        "model": pl.String,
        "defense": pl.String,
        **dict.fromkeys(("safety", "safety_low", "safety_high"), pl.Float64),
        **dict.fromkeys(("overrefusal", "overrefusal_low", "overrefusal_high"), pl.Float64),
        "requests": pl.Float64,
        "front": pl.Boolean,
        "undefended": pl.Boolean,
    }
)
"""A model under one defense: safety and over-refusal are from 0 to 1, with the ends of their
intervals, which are drawn as far as the panel goes. ``front`` says that no other
defense of its panel is as good in safety, over-refusal and requests and better in one."""


@dataclass(frozen=True, slots=True)
class _Box:
    """A part of the picture that something lies on."""

    left: float
    right: float
    top: float
    bottom: float

    def meets(self, other: _Box) -> bool:
        across = self.left < other.right + 1 and other.left < self.right + 1
        return across and self.top < other.bottom + 1 and other.top < self.bottom + 1


def pareto(rows: pl.DataFrame, size: Size) -> alt.LayerChart:
    """Draw a panel for each model (rows of :data:`COLUMNS`); up is safer, left helps more.

    The scales are the same in all panels. A name is followed by the requests a reply takes.
    """
    panels = rows["model"].unique(maintain_order=True).to_list()
    across = min(len(panels), 1 if size.narrow else 2)
    column = size.width / across
    low = min(math.floor(5 * rows.select(pl.col("safety").min()).item() - 0.2) / 5, 0.8)
    low = max(low, 0.0)
    most = max(0.1, math.ceil(10 * rows.select(pl.col("overrefusal").max()).item()) / 10)
    key, start = drawing.legend(
        [
            Sign("undefended", "reasoner"),
            Sign("on the front", "base"),
            Sign("not on it", "blocked", "ring"),
        ],
        size.width,
    )
    marks: Marks = defaultdict(list)
    whole = _HEIGHT + _TOP + _BOTTOM
    corners = drawing.corners(len(panels), across, column, whole, start)
    to_right, up = Ruler(0, most, column - _LEFT - 22), Ruler(low, 1, _HEIGHT)
    for model, (left, top) in zip(panels, corners, strict=True):
        mine = list(rows.filter(model=model).iter_rows(named=True))
        shown = drawing.fit(model, column - 14)
        marks["titles"].append({"x": left, "y": top + 12, "text": shown})
        _put_panel(marks, mine, Panel(left + _LEFT, top + _TOP, to_right, up))
    layers = [
        drawing.rules(marks["grid"], color=LIGHT["grid"]),
        drawing.texts(marks["ticks"], align="right", **drawing.QUIET),
        drawing.texts(marks["feet"], align="center", **drawing.QUIET),
        drawing.texts(marks["titles"]),
        drawing.rules(marks["intervals"], color=LIGHT["rule"]),
        drawing.rules(marks["line"], color=LIGHT["base"], strokeWidth=1.8, opacity=0.55),
        drawing.rules(marks["leaders"], color=LIGHT["rule"]),
        drawing.points(marks["others"], "blocked", fill="paper"),
        drawing.points(marks["front"], "base"),
        drawing.points(marks["undefended"], "reasoner"),
        drawing.texts(marks["names"], fontSize=SMALL),
        *key,
    ]
    lines = math.ceil(len(panels) / across)
    return drawing.finish(layers, size.width - 12, start + lines * whole)


def _put_panel(marks: Marks, rows: Sequence[Row], panel: Panel) -> None:
    right, bottom = panel.x(panel.to_right.high), panel.top + _HEIGHT
    for safety in _ticks(panel.up.low, 1.0):
        y = panel.y(safety)
        marks["grid"].append(drawing.across(panel.left, right, y))
        marks["ticks"].append({"x": panel.left - 6, "y": y, "text": f"{100 * safety:.0f}%"})
    for refused in _ticks(0.0, panel.to_right.high):
        x = panel.x(refused)
        marks["grid"].append(drawing.upright(x, panel.top, bottom))
        marks["feet"].append({"x": x, "y": bottom + 13, "text": f"{100 * refused:.0f}%"})
    marks["feet"].append(
        {"x": (panel.left + right) / 2, "y": bottom + 31, "text": "benign requests refused →"}
    )
    marks["ticks"].append({"x": panel.left + 2, "y": panel.top - 10, "text": "↑ safe"})
    for row in rows:
        on_front = "front" if row["front"] else "others"
        x, y = panel.x(row["overrefusal"]), panel.y(row["safety"])
        marks["undefended" if row["undefended"] else on_front].append({"x": x, "y": y})
        ends = [min(row[f"overrefusal_{end}"], panel.to_right.high) for end in ("low", "high")]
        marks["intervals"].append(drawing.across(panel.x(ends[0]), panel.x(ends[1]), y))
        ends = [max(row[f"safety_{end}"], panel.up.low) for end in ("low", "high")]
        marks["intervals"].append(drawing.upright(x, panel.y(ends[0]), panel.y(ends[1])))
    _put_names(marks, rows, panel, _put_line(marks, rows, panel))


def _put_line(marks: Marks, rows: Sequence[Row], panel: Panel) -> list[_Box]:
    """Draw the stairs under which safety and over-refusal alone are not improved on.

    Returns where they lie.
    """
    stairs: list[Row] = []
    for row in sorted(rows, key=lambda one: (one["overrefusal"], -one["safety"])):
        if not stairs or row["safety"] > stairs[-1]["safety"]:
            stairs.append(row)
    taken = []
    for one, other in pairwise(stairs):
        here, there = panel.x(one["overrefusal"]), panel.x(other["overrefusal"])
        y, up = panel.y(one["safety"]), panel.y(other["safety"])
        marks["line"] += [drawing.across(here, there, y), drawing.upright(there, y, up)]
        taken += [_Box(here, there, y, y), _Box(there, there, up, y)]
    return taken


def _put_names(marks: Marks, rows: Sequence[Row], panel: Panel, taken: Sequence[_Box]) -> None:
    """Write every name as near to its dot as there is room, with a line to it where that is far."""
    busy = list(taken)
    dots = [(panel.x(row["overrefusal"]), panel.y(row["safety"])) for row in rows]
    busy += [_Box(x - _DOT, x + _DOT, y - _DOT, y + _DOT) for x, y in dots]
    bars = [_Box(bar["x"], bar["x2"], bar["y2"], bar["y"]) for bar in marks["intervals"]]
    for row in sorted(rows, key=lambda one: (-one["safety"], one["overrefusal"])):
        x, y = panel.x(row["overrefusal"]), panel.y(row["safety"])
        name = "undefended" if row["undefended"] else row["defense"]
        text = drawing.fit(f"{name} · {row['requests']:.3g}×", 0.7 * panel.to_right.width, SMALL)
        box = _room(x, y, width_of(text, SMALL), busy, bars, panel)
        busy.append(box)
        middle = (box.top + box.bottom) / 2
        marks["names"].append({"x": box.left, "y": middle, "text": text})
        if abs(middle - y) > _LINE:
            end = min(max(x, box.left), box.right)
            edge = box.top if middle > y else box.bottom
            marks["leaders"].append({"x": x, "x2": end, "y": y, "y2": edge})


def _room(
    x: float, y: float, wide: float, busy: Sequence[_Box], bars: Sequence[_Box], panel: Panel
) -> _Box:
    """Return where a name of a dot at ``x``, ``y`` lies on nothing, the nearest such place; on a
    bar where it would else be far.
    """
    beside = [x + _AWAY, x - _AWAY - wide]
    around = [*beside, x - 4, x - wide + 4]
    places = [(start, y) for start in beside]
    for step in range(1, _MAX_STEPS):
        away = _LINE * step / 2
        starts = around if away >= _LINE else beside
        places += [(start, y + way * away) for start in starts for way in (-1, 1)]
    boxes = [_Box(left, left + wide, at - _LINE / 2, at + _LINE / 2) for left, at in places]
    inside = [
        box
        for box in boxes
        if box.left >= panel.left + 2
        and box.right <= panel.left + panel.to_right.width + _OVER
        and box.top >= panel.top - 4
        and box.bottom <= panel.top + _HEIGHT
    ]
    free = [box for box in inside if not any(map(box.meets, busy))]
    clear = (box for box in free[:_NEAR] if not any(map(box.meets, bars)))
    return next(clear, next(iter(free), next(iter(inside), boxes[0])))


def _ticks(low: float, high: float) -> list[float]:
    step = 0.1 if high - low <= 0.5 else 0.2
    count = round((high - low) / step + 1e-9)
    ticks = [high - step * number for number in range(count + 1)]
    return [tick for tick in ticks if tick >= low - 1e-9]
