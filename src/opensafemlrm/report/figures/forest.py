"""A forest plot: estimates with their intervals, one row each, around a line of no difference."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final

import altair as alt
import polars as pl

from opensafemlrm.report.figures import drawing
from opensafemlrm.report.figures.drawing import Row, Ruler, Sign, Size
from opensafemlrm.report.figures.theme import LIGHT, SMALL
from opensafemlrm.report.forms import BOUNDS_MARK, signed

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
``bound_low`` and ``bound_high`` may be there too: bounds that stand in place of an estimate; and
``role``, the colour of the row's marks, that of reasoning models if it is left out.
What is ``strict`` is drawn as a ring beside the row of the same label before it."""


def forest(
    rows: pl.DataFrame,
    size: Size,
    title: str,
    *,
    plain: bool = False,
    signs: Sequence[Sign] = (),
) -> alt.LayerChart:
    """Draw estimates (rows of :data:`COLUMNS`) in points of per cent; ``title`` says of what.

    ``signs`` are those of the legend, if there is one.

    A lenient and a strict estimate of one label share a row: a dot and, below it, a ring. Numbers
    have their sign, as differences do, unless they are ``plain``.
    """
    write = "{:.1f}".format if plain else signed
    keys = rows.select("heading", "label").unique(maintain_order=True).rows()
    two = bool(rows["strict"].any())
    gutter = drawing.bands(keys, size).gutter
    key, top = drawing.legend(signs, size.width, -gutter) if signs else ([], 0.0)
    layout = drawing.bands(keys, size, step=30 if two else 24, top=top)
    places = dict(zip(keys, layout.rows, strict=True))
    width = size.width - layout.gutter - (10 if size.narrow else _NUMBERS + 14)
    drawn = [name for name in ("low", "high", "value", *_BOUNDS) if name in rows.columns]
    ends = pl.concat(rows[name] for name in drawn).drop_nulls()
    ruler = Ruler.around(ends.to_list() or [0.0, 100.0 * plain], width)
    lines: list[Row] = []
    points: defaultdict[tuple[str, bool], list[Row]] = defaultdict(list)
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
            bounds.append(drawing.across(low, high, y))
        if row["value"] is None or row["low"] is None or row["high"] is None:
            continue
        role = row.get("role", "reasoner")
        points[role, row["strict"]].append({"x": ruler.at(row["value"]), "y": y})
        low, high = ruler.at(row["low"]), ruler.at(row["high"])
        lines.append({**drawing.across(low, high, y), "role": role})
    zero = drawing.upright(ruler.at(0), top, layout.height)
    layers = [
        *key,
        *ruler.layers(layout.height, title, top=top),
        drawing.rules([zero], color=LIGHT["muted"]),
        drawing.rules(lines, strokeWidth=1.8),
        drawing.rules(bounds, color=LIGHT["muted"], strokeDash=[3, 3]),
        *(
            drawing.points(marks, role, fill="paper" if strict else "")
            for (role, strict), marks in points.items()
        ),
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
