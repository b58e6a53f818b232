"""A heat map of rates: a cell a scenario and a model, in a group of columns a setting."""

from __future__ import annotations

from typing import Final

import altair as alt
import polars as pl

from opensafemlrm.report.figures import drawing
from opensafemlrm.report.figures.blocks import HEADING, blocks, headings
from opensafemlrm.report.figures.drawing import Row, Size
from opensafemlrm.report.figures.theme import RAMP, SMALL, STEPS, ink_on, step_of, width_of
from opensafemlrm.report.forms import BOUNDS_MARK

_HEIGHT: Final = 34
_LOW_HEIGHT: Final = 25
"""Height of cells that hold the rate alone."""
_MAX_NAME: Final = 170
_KEY: Final = 40
_SINE: Final = 0.66
"""Height of a slanted name for each pixel of its width."""
_LEAST_WIDTH: Final = 36
_WIDTH: Final = 60
"""Width of a cell for which a chart grows beyond the width of a column of text."""
_MAX_WIDTH: Final = 96


COLUMNS: Final = pl.Schema(
    {
        "group": pl.String,
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
    """Draw ``cells`` (:data:`COLUMNS`); groups, rows and columns stand in the order they come in.

    Under each rate is the number of samples it is of, where these numbers differ.
    """
    rows = cells["row"].unique(maintain_order=True).to_list()
    groups: dict[str, list[str]] = {}
    for group, column in cells.select("group", "column").unique(maintain_order=True).iter_rows():
        groups.setdefault(group, []).append(column)
    roles = dict(cells.select("column", "role").iter_rows())
    names = {name: drawing.fit(name, _MAX_NAME, SMALL) for name in roles}
    longest = max(width_of(name, SMALL) for name in names.values())
    tall = longest * (1 if size.narrow else _SINE) + 10
    same = cells.filter(pl.col("rate").is_not_null())["scored"].n_unique() <= 1
    height = _LOW_HEIGHT if same else _HEIGHT
    head = tall + HEADING * any(groups)
    gutter = drawing.bands([("", row) for row in rows], size).gutter
    # Slanted names of the last columns reach beyond the cells.
    slack = 8 if size.narrow else min(74, 0.75 * longest)
    columns = sum(map(len, groups.values()))
    fits = columns * _WIDTH <= size.width - gutter - slack
    room = (size.width if fits else size.page) - gutter - slack
    placed, width = blocks(groups, room, _LEAST_WIDTH, _MAX_WIDTH)
    layers: list[alt.Chart] = []
    tops: list[float] = []
    boxes: list[Row] = []
    hatches: list[Row] = []
    texts: list[Row] = []
    counts: list[Row] = []
    measured = {(c["group"], c["row"], c["column"]): c for c in cells.iter_rows(named=True)}
    layout = drawing.Bands((), (), -24, 0)
    for line in range(placed[-1].line + 1):
        tops.append(layout.height + 24)
        layout = drawing.bands([("", row) for row in rows], size, step=height, top=tops[-1] + head)
        layers += drawing.labels(layout, 0)
        for block in (block for block in placed if block.line == line):
            for row, place in zip(rows, layout.rows, strict=True):
                for column, left in block.lefts.items():
                    cell = measured.get((block.heading, row, column), {"rate": None, "scored": 0})
                    middle = left + width / 2
                    box = drawing.around(middle, place.y, width - 2, height - 2)
                    at = {"x": middle, "y": place.y if same else place.y - 6}
                    rate = cell["rate"]
                    if rate is None:
                        hatches.append(box)
                        instead = _instead(cell.get("bounds"), width)
                        texts.append({**at, "y": place.y, "text": instead, "role": "ink"})
                        continue
                    step = step_of(rate)
                    boxes.append({**box, "role": RAMP[step]})
                    texts.append({**at, "text": f"{100 * rate:.0f}", "role": ink_on(step)})
                    if not same:
                        n = {"text": f"{cell['scored']:,}", "role": ink_on(step)}
                        counts.append({**at, "y": place.y + 8, **n})
    # Names are slanted, or upright where there is no room to slant into.
    over = [
        {
            "x": left + width / 2,
            "y": tops[block.line] + head - 5,
            "text": names[column],
            "role": roles[column],
        }
        for block in placed
        for column, left in block.lefts.items()
    ]
    behind = [
        drawing.around(text["x"], text["y"], width_of(text["text"]) + 6, 16, role="paper")
        for text in texts
        if text["role"] == "ink"
    ]
    whole = max(block.right for block in placed)
    layers += [
        *drawing.hatched(hatches),
        drawing.boxes(behind),
        drawing.boxes(boxes, **drawing.EDGE),
        drawing.texts(texts, align="center"),
        drawing.texts(counts, align="center", fontSize=10),
        drawing.texts(over, angle=270 if size.narrow else 320, fontSize=SMALL),
        *headings(placed, tops),
        *_key(layout.height + 10, whole),
    ]
    return drawing.finish(layers, whole, layout.height + _KEY)


def _instead(bounds: str | None, width: float) -> str:
    """Return what stands in a cell without a rate: bounds, or their mark where they do not fit."""
    if not bounds:
        return "–"
    fits = width_of(bounds) < width - 4
    return bounds if fits else BOUNDS_MARK if BOUNDS_MARK in bounds else "–"


def _key(y: float, width: float) -> list[alt.Chart]:
    """Draw the ramp, from 0 to 100 per cent, and what stands for "not measured"."""
    step = min(22.0, (max(width, 220) - 120) / STEPS)
    steps = [
        {"x": n * step, "x2": (n + 1) * step, "y": y, "y2": y + 11, "role": role}
        for n, role in enumerate(RAMP)
    ]
    right = STEPS * step + 24
    numbers = [
        {"x": step * n, "y": y + 22, "text": f"{10 * n}{'%' if n == STEPS else ''}"}
        for n in (0, 5, STEPS)
    ]
    return [
        drawing.boxes(steps, **drawing.EDGE),
        drawing.texts(numbers, align="center", **drawing.QUIET),
        *drawing.hatched([{"x": right, "x2": right + 16, "y": y, "y2": y + 11}]),
        drawing.texts([{"x": right + 22, "y": y + 6, "text": "not measured"}], **drawing.QUIET),
    ]
