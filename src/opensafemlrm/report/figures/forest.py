"""A forest plot: estimates with their intervals, one row each, around a line of no difference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import altair as alt

from opensafemlrm.report.figures import drawing
from opensafemlrm.report.figures.drawing import Row, Ruler, Size
from opensafemlrm.report.figures.theme import LIGHT, SMALL

_NUMBERS = 128
"""Room for ``+12.3 (+10.1, +14.5)`` right of the plot."""


@dataclass(frozen=True, slots=True)
class ForestRow:
    """One estimate. ``value`` is ``None`` where it was not measured; then so are its ends."""

    heading: str
    label: str
    value: float | None
    low: float | None
    high: float | None
    strict: bool = False
    """Drawn as a ring beside the row of the same label before it."""


def forest(
    rows: Sequence[ForestRow], size: Size, title: str, *, plain: bool = False
) -> alt.LayerChart:
    """Draw estimates in points of per cent; ``title`` says what they are estimates of.

    A lenient and a strict estimate of one label share a row: a dot and, below it, a ring. Numbers
    have their sign, as differences do, unless they are ``plain``.
    """
    write = "{:.1f}".format if plain else signed
    keys = list(dict.fromkeys((row.heading, row.label) for row in rows))
    two = any(row.strict for row in rows)
    layout = drawing.bands(keys, size, step=30 if two else 24)
    places = dict(zip(keys, layout.rows, strict=True))
    width = size.width - layout.gutter - (10 if size.narrow else _NUMBERS + 14)
    ends = [x for row in rows for x in (row.low, row.high, row.value) if x is not None]
    ruler = Ruler.around(ends, width)
    lines: list[Row] = []
    dots: list[Row] = []
    rings: list[Row] = []
    numbers: list[Row] = []
    for row in rows:
        place = places[row.heading, row.label]
        y = place.y + (6 if row.strict else -6) * two
        if not size.narrow:
            numbers.append({"x": width + _NUMBERS + 10, "y": y, "text": estimate_text(row, write)})
        elif not row.strict:
            numbers.append({"x": width, "y": place.label_y, "text": estimate_text(row, write)})
        if row.value is None or row.low is None or row.high is None:
            continue
        x = ruler.at(row.value)
        (rings if row.strict else dots).append({"x": x, "y": y})
        lines.append({"x": ruler.at(row.low), "x2": ruler.at(row.high), "y": y, "y2": y})
    zero = {"x": ruler.at(0), "x2": ruler.at(0), "y": 0, "y2": layout.height}
    layers = [
        *ruler.layers(layout.height, title),
        drawing.rules([zero], color=LIGHT["muted"]),
        drawing.rules(lines, color=LIGHT["reasoner"], strokeWidth=1.8),
        drawing.points(dots, "reasoner"),
        drawing.points(rings, "reasoner", fill="paper"),
        drawing.texts(numbers, align="right", fontSize=SMALL),
        *drawing.labels(layout, size.width - layout.gutter - 10),
    ]
    return drawing.finish(layers, width, layout.height)


def estimate_text(row: ForestRow, write: Callable[[float], str]) -> str:
    """Return an estimate and its interval; ``write`` writes one number."""
    if row.value is None:
        return "not measured"
    if row.low is None or row.high is None:
        return f"{write(row.value)} (no interval)"
    return f"{write(row.value)} ({write(row.low)}, {write(row.high)})"


def signed(value: float) -> str:
    """Return a number with one decimal and its sign; 0.0 has none."""
    text = f"{value:+.1f}".replace("-", "−")
    return "0.0" if text in {"+0.0", "−0.0"} else text
