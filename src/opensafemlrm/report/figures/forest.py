"""A forest plot: estimates with their intervals, one row each, around a line of no difference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import altair as alt
import polars as pl

from opensafemlrm.report.figures import drawing
from opensafemlrm.report.figures.drawing import Row, Ruler, Size
from opensafemlrm.report.figures.theme import LIGHT, SMALL
from opensafemlrm.report.forms import BOUNDS_MARK

_NUMBERS = 128
"""Room for ``+12.3 (+10.1, +14.5)`` right of the plot."""

_BOUNDS: Final = ("bound_low", "bound_high")

COLUMNS: Final = pl.Schema(
    {
        "heading": pl.String,
        "label": pl.String,
        "value": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "strict": pl.Boolean,
    }
)
"""Estimates with their intervals; ``value`` is null where it was not measured, and so are its ends.
``bound_low`` and ``bound_high`` may be there too: bounds that stand in place of an estimate.
What is ``strict`` is drawn as a ring beside the row of the same label before it."""


def forest(rows: pl.DataFrame, size: Size, title: str, *, plain: bool = False) -> alt.LayerChart:
    """Draw estimates (rows of :data:`COLUMNS`) in points of per cent; ``title`` says of what.

    A lenient and a strict estimate of one label share a row: a dot and, below it, a ring. Numbers
    have their sign, as differences do, unless they are ``plain``.
    """
    write = "{:.1f}".format if plain else signed
    keys = rows.select("heading", "label").unique(maintain_order=True).rows()
    two = bool(rows["strict"].any())
    layout = drawing.bands(keys, size, step=30 if two else 24)
    places = dict(zip(keys, layout.rows, strict=True))
    width = size.width - layout.gutter - (10 if size.narrow else _NUMBERS + 14)
    drawn = [name for name in ("low", "high", "value", *_BOUNDS) if name in rows.columns]
    ends = pl.concat(rows[name] for name in drawn).drop_nulls()
    ruler = Ruler.around(ends.to_list(), width)
    lines: list[Row] = []
    dots: list[Row] = []
    rings: list[Row] = []
    numbers: list[Row] = []
    bounds: list[Row] = []
    for row in rows.iter_rows(named=True):
        place = places[row["heading"], row["label"]]
        y = place.y + (6 if row["strict"] else -6) * two
        if not size.narrow:
            numbers.append({"x": width + _NUMBERS + 10, "y": y, "text": estimate_text(row, write)})
        elif not row["strict"]:
            numbers.append({"x": width, "y": place.label_y, "text": estimate_text(row, write)})
        if row["value"] is None and row.get("bound_low") is not None:
            low, high = (ruler.at(row[name]) for name in _BOUNDS)
            bounds.append({"x": low, "x2": high, "y": y, "y2": y})
        if row["value"] is None or row["low"] is None or row["high"] is None:
            continue
        x = ruler.at(row["value"])
        (rings if row["strict"] else dots).append({"x": x, "y": y})
        lines.append({"x": ruler.at(row["low"]), "x2": ruler.at(row["high"]), "y": y, "y2": y})
    zero = {"x": ruler.at(0), "x2": ruler.at(0), "y": 0, "y2": layout.height}
    layers = [
        *ruler.layers(layout.height, title),
        drawing.rules([zero], color=LIGHT["muted"]),
        drawing.rules(lines, color=LIGHT["reasoner"], strokeWidth=1.8),
        drawing.rules(bounds, color=LIGHT["muted"], strokeDash=[3, 3]),
        drawing.points(dots, "reasoner"),
        drawing.points(rings, "reasoner", fill="paper"),
        drawing.texts(numbers, align="right", fontSize=SMALL),
        *drawing.labels(layout, size.width - layout.gutter - 10),
    ]
    return drawing.finish(layers, width, layout.height)


def estimate_text(row: Row, write: Callable[[float], str]) -> str:
    """Return an estimate and its interval, or its bounds; ``write`` writes one number."""
    if row["value"] is None:
        low, high = (row.get(name) for name in _BOUNDS)
        return (
            "not measured"
            if low is None or high is None
            else f"{write(low)} to {write(high)} {BOUNDS_MARK}"
        )
    if row["low"] is None or row["high"] is None:
        return f"{write(row['value'])} (no interval)"
    return f"{write(row['value'])} ({write(row['low'])}, {write(row['high'])})"


def signed(value: float) -> str:
    """Return a number with one decimal and its sign; 0.0 has none."""
    text = f"{value:+.1f}".replace("-", "−")
    return "0.0" if text in {"+0.0", "−0.0"} else text
