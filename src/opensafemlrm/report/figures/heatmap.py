"""A heat map of rates: one cell a scenario and a model, with the rate and how many were scored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import altair as alt
import polars as pl

from opensafemlrm.report.figures import drawing
from opensafemlrm.report.figures.drawing import Size
from opensafemlrm.report.figures.theme import LIGHT, RAMP, SMALL, STEPS, ink_on, step_of
from opensafemlrm.report.forms import BOUNDS_MARK

_HEIGHT: Final = 34
_MAX_NAME: Final = 170
_KEY: Final = 34
_SINE: Final = 0.66
"""Height of a slanted name for each pixel of its width."""
_LEAST_WIDTH: Final = 34


COLUMNS: Final = pl.Schema(
    {
        "row": pl.String,
        "column": pl.String,
        "rate": pl.Float64,
        "scored": pl.Int64,
        "role": pl.String,
    }
)
"""A rate from 0 to 1, null where none was scored, and the number of samples it is of; ``role`` is
the colour of the column's name. ``bounds`` may be there too: what is written where they stand
in place of a rate."""


def heatmap(cells: pl.DataFrame, size: Size) -> alt.LayerChart:
    """Draw ``cells`` (:data:`COLUMNS`); rows and columns stand in the order they come in."""
    rows = cells["row"].unique(maintain_order=True).to_list()
    columns = dict(cells.select("column", "role").iter_rows())
    names = {name: drawing.fit(name, _MAX_NAME, SMALL) for name in columns}
    longest = max(drawing.width_of(name, SMALL) for name in names.values())
    top = 12 + longest * (1 if size.narrow else _SINE)
    layout = drawing.bands([("", row) for row in rows], size, step=_HEIGHT, top=top)
    places = dict(zip(rows, layout.rows, strict=True))
    # Slanted names of the last columns reach beyond the cells.
    slack = 8 if size.narrow else 74
    width = max((size.width - layout.gutter - slack) / len(columns), _LEAST_WIDTH)
    lefts = {name: place * width for place, name in enumerate(columns)}
    measured = {(cell["row"], cell["column"]): cell for cell in cells.iter_rows(named=True)}
    boxes, rates, counts = [], [], []
    for row in rows:
        for column, left in lefts.items():
            y = places[row].y
            cell = measured.get((row, column), {"rate": None, "scored": 0})
            rate, bounds = cell["rate"], cell.get("bounds")
            role = "missing" if rate is None else RAMP[step_of(rate)]
            boxes.append(
                {
                    "x": left + 1,
                    "x2": left + width - 1,
                    "y": y - _HEIGHT / 2 + 1,
                    "y2": y + _HEIGHT / 2 - 1,
                    "role": role,
                }
            )
            ink = "on-low" if rate is None else ink_on(step_of(rate))
            instead = f"{bounds} {BOUNDS_MARK}" if bounds else "–"
            shown = instead if rate is None else f"{100 * rate:.0f}"
            middle = left + width / 2
            rates.append({"x": middle, "y": y - 5, "text": shown, "role": ink})
            counts.append({"x": middle, "y": y + 9, "text": f"{cell['scored']:,}", "role": ink})
    layers = [
        drawing.boxes(boxes),
        drawing.texts(rates, align="center", fontSize=13),
        drawing.texts(counts, align="center", fontSize=9),
        _names(names, columns, lefts, width, top, size.narrow),
        *_key(layout.height + 8, len(columns) * width),
        *drawing.labels(layout, 0),
    ]
    return drawing.finish(layers, len(columns) * width, layout.height + _KEY)


def _names(
    names: Mapping[str, str],
    columns: Mapping[str, str],
    lefts: Mapping[str, float],
    width: float,
    y: float,
    upright: bool,
) -> alt.Chart:
    """Write the columns' names: slanted, or upright where there is no room to slant into."""
    return drawing.texts(
        (
            {
                "x": lefts[column] + width / 2,
                "y": y - 5,
                "text": names[column],
                "role": role,
            }
            for column, role in columns.items()
        ),
        angle=270 if upright else 320,
        fontSize=SMALL,
    )


def _key(y: float, width: float) -> list[alt.Chart]:
    """Draw the ramp, from 0 to 100 per cent, and the colour of what was not measured."""
    step = min(22.0, (width - 110) / STEPS)
    boxes = [
        {"x": n * step, "x2": (n + 1) * step, "y": y, "y2": y + 9, "role": role}
        for n, role in enumerate(RAMP)
    ]
    right = STEPS * step + 20
    boxes.append({"x": right, "x2": right + 14, "y": y, "y2": y + 9, "role": "missing"})
    numbers = [
        {"x": step * n, "y": y + 18, "text": f"{10 * n}{'%' if n == STEPS else ''}"}
        for n in (0, 5, STEPS)
    ]
    quiet = {"fontSize": 10, "color": LIGHT["muted"]}
    return [
        drawing.boxes(boxes),
        drawing.texts(numbers, align="center", **quiet),
        drawing.texts([{"x": right + 19, "y": y + 5, "text": "not measured"}], **quiet),
    ]
