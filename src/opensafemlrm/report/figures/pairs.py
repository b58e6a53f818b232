"""Two rates on one line: the base model's, and that of the reasoning model made from it."""

from __future__ import annotations

from typing import Final

import altair as alt
import polars as pl

from opensafemlrm.report.figures import drawing
from opensafemlrm.report.figures.drawing import Row, Ruler, Sign, Size
from opensafemlrm.report.figures.theme import LIGHT, SMALL

_ROOM: Final = 36
"""Room for a rate beside an outer dot."""


COLUMNS: Final = pl.Schema(
    {"heading": pl.String, "label": pl.String, "base": pl.Float64, "reasoner": pl.Float64}
)
"""Rates of a base and of a reasoning model, from 0 to 1; null where not measured. ``base_bounds``
and ``reasoner_bounds`` may be there too: what is written where bounds stand in a rate's place."""


def pairs(rows: pl.DataFrame, size: Size, title: str) -> alt.LayerChart:
    """Draw rates in per cent, the base as a ring and the reasoning model as a dot.

    ``rows`` has :data:`COLUMNS`.
    """
    keys = rows.select("heading", "label").rows()
    gutter = drawing.bands(keys, size).gutter
    key, top = drawing.legend(
        [Sign("base model", "base", "ring"), Sign("reasoning model", "reasoner")],
        size.width,
        -gutter,
    )
    layout = drawing.bands(keys, size, step=26, top=top)
    width = size.width - layout.gutter - 2 * _ROOM
    rates = 100 * pl.concat([rows["base"], rows["reasoner"]]).drop_nulls()
    ruler = Ruler.around(rates.to_list() or [0, 100], width)
    links, rings, dots, missing = [], [], [], []
    lower, higher = [], []
    values = rows.iter_rows(named=True)
    for row, place in zip(values, layout.rows, strict=True):
        y, base, reasoner = place.y, row["base"], row["reasoner"]
        if base is not None:
            rings.append({"x": ruler.at(100 * base), "y": y})
        if reasoner is not None:
            dots.append({"x": ruler.at(100 * reasoner), "y": y})
        if base is None or reasoner is None:
            text = _instead(row)
            missing.append({"x": width + _ROOM, "y": place.label_y, "text": text})
            continue
        links.append(drawing.across(rings[-1]["x"], dots[-1]["x"], y))
        first, second = sorted((base, reasoner))
        lower.append({"x": ruler.at(100 * first) - 9, "y": y, "text": _rate(first)})
        higher.append({"x": ruler.at(100 * second) + 9, "y": y, "text": _rate(second)})
    layers = [
        *ruler.layers(layout.height, title, "%", top),
        drawing.rules(links, color=LIGHT["reasoner"], strokeWidth=1.8, opacity=0.45),
        drawing.points(rings, "base", fill="paper"),
        drawing.points(dots, "reasoner"),
        # Once more, so that a ring is seen around a dot that lies on it.
        drawing.points(rings, "base", fill="transparent"),
        drawing.texts(lower, align="right", fontSize=SMALL),
        drawing.texts(higher, fontSize=SMALL),
        drawing.texts(missing, align="right", **drawing.QUIET),
        *key,
        *drawing.labels(layout, width + _ROOM),
    ]
    return drawing.finish(layers, width, layout.height)


def _instead(row: Row) -> str:
    """Return what is written where a rate, or both, are not there."""
    names = {"base": "base", "reasoner": "reasoning model"}
    gone = [name for name in names if row[name] is None]
    bounds = [f"{names[n]} {row[f'{n}_bounds']}" for n in gone if row.get(f"{n}_bounds")]
    if bounds:
        return ", ".join(bounds)
    return "not measured" if len(gone) > 1 else f"{names[gone[0]]} not measured"


def _rate(rate: float) -> str:
    return f"{100 * rate:.1f}"
