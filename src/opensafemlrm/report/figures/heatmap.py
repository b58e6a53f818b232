"""A heat map of rates: one cell a scenario and a model, with the rate and how many were scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import altair as alt

from opensafemlrm.report.figures import drawing
from opensafemlrm.report.figures.drawing import Size
from opensafemlrm.report.figures.theme import LIGHT, RAMP, SMALL, STEPS, ink_on, step_of

_HEIGHT: Final = 34
_MAX_NAME: Final = 170
_KEY: Final = 34
_SINE: Final = 0.66
"""Height of a slanted name for each pixel of its width."""
_LEAST_WIDTH: Final = 34


@dataclass(frozen=True, slots=True)
class HeatCell:
    """A rate from 0 to 1 and the number of samples it is of; ``None`` where none was scored."""

    row: str
    column: str
    rate: float | None
    scored: int
    role: str
    """The colour of the column's name."""


def heatmap(cells: Sequence[HeatCell], size: Size) -> alt.LayerChart:
    """Draw ``cells``: rows from top to bottom and columns from left to right as they come."""
    rows = list(dict.fromkeys(cell.row for cell in cells))
    columns = {cell.column: cell.role for cell in cells}
    names = {name: drawing.fit(name, _MAX_NAME, SMALL) for name in columns}
    longest = max(drawing.width_of(name, SMALL) for name in names.values())
    top = 12 + longest * (1 if size.narrow else _SINE)
    layout = drawing.bands([("", row) for row in rows], size, step=_HEIGHT, top=top)
    places = dict(zip(rows, layout.rows, strict=True))
    # Slanted names of the last columns reach beyond the cells.
    slack = 8 if size.narrow else 74
    width = max((size.width - layout.gutter - slack) / len(columns), _LEAST_WIDTH)
    lefts = {name: place * width for place, name in enumerate(columns)}
    found = {(cell.row, cell.column): cell for cell in cells}
    boxes, rates, counts = [], [], []
    for row in rows:
        for column, left in lefts.items():
            y = places[row].y
            cell = found.get((row, column))
            rate = None if cell is None else cell.rate
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
            shown = "–" if rate is None else f"{100 * rate:.0f}"
            counted = "0" if cell is None else f"{cell.scored:,}"
            middle = left + width / 2
            rates.append({"x": middle, "y": y - 5, "text": shown, "role": ink})
            counts.append({"x": middle, "y": y + 9, "text": counted, "role": ink})
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
