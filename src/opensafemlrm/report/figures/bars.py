"""Stacked bars of shares: how scores, or outcomes, are spread over everything that was asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import altair as alt
import polars as pl

from opensafemlrm.analysis.coverage import TALLY
from opensafemlrm.report.figures import drawing
from opensafemlrm.report.figures.drawing import Row, Sign, Size
from opensafemlrm.report.figures.theme import LIGHT, SMALL, ink_of, width_of

HATCH: Final = "hatch"
"""In place of a colour: what has no score is hatched."""
_BAR: Final = 17
_GAP: Final = 18
_ROOM_FOR_NUMBER: Final = 30
_ROOM_FOR_COUNTS: Final = 92


COLUMNS: Final = pl.Schema(
    {
        "heading": pl.String(),
        "label": pl.String(),
        "column": pl.String(),
        "counts": TALLY,
        "whole": pl.Int64(),
    }
)
"""Counts by kind, in one ``column`` of the row ``label``; the whole bar is ``whole``: their sum, or
more."""


def bars(
    rows: pl.DataFrame, roles: Mapping[str, str], size: Size, *, most: float = 1.0
) -> alt.LayerChart:
    """Draw a bar for each row (of :data:`COLUMNS`); a share of ``most`` fills it.

    ``roles`` gives the kinds, from left to right, and the role of the colour each has, or
    :data:`HATCH`. Where there
    is nothing to count the bar says so. Where ``most`` is less than 1, each bar ends in its counts.
    """
    keys = rows.select("heading", "label").unique(maintain_order=True).rows()
    columns = rows["column"].unique(maintain_order=True).to_list()
    counted = rows.select(pl.col("counts").explode().struct.unnest()).filter(pl.col("n") > 0)[
        "name"
    ]
    used = {kind: role for kind, role in roles.items() if kind in counted}
    gutter = drawing.bands(keys, size).gutter
    signs = [Sign(k, role, "hatch" if role == HATCH else "box") for k, role in used.items()]
    key, top = drawing.legend(signs, size.width, -gutter)
    top += 18 if columns != [""] else 0
    layout = drawing.bands(keys, size, step=24, top=top)
    places = dict(zip(keys, layout.rows, strict=True))
    width = size.width - layout.gutter - 10
    column = (width - (_ROOM_FOR_COUNTS if most < 1 else 0) - _GAP * (len(columns) - 1)) / len(
        columns
    )
    lefts = {name: place * (column + _GAP) for place, name in enumerate(columns)}
    boxes: list[Row] = []
    hatches: list[Row] = []
    behind, texts, empty, ends = [], [], [], []
    decimals = 0 if most > 0.2 else 1
    for heading, label, name, tally, whole in rows.select(*COLUMNS).iter_rows():
        x, y = lefts[name], places[heading, label].y
        if not whole:
            empty.append({"x": x, "y": y, "text": "nothing to score"})
            continue
        counts = {entry["name"]: entry["n"] for entry in tally}
        for kind, role in used.items():
            part = counts.get(kind, 0) / whole / most * column
            if not part:
                continue
            box = drawing.around(x + part / 2, y, part, _BAR, role=role)
            (hatches if role == HATCH else boxes).append(box)
            if part >= _ROOM_FOR_NUMBER:
                share = _share(counts[kind], whole, decimals)
                ink = "ink" if role == HATCH else ink_of(role)
                texts.append({"x": x + part / 2, "y": y + 0.5, "text": share, "role": ink})
                if role == HATCH:
                    wide = width_of(share, SMALL) + 4
                    behind.append(drawing.around(x + part / 2, y, wide, _BAR, role="paper"))
            x += part
        if most < 1:
            of_whole = f"{sum(counts.values()):,} of {whole:,}"
            ends.append({"x": x + 6, "y": y, "text": of_whole})
    heads = [{"x": x, "y": top - 10, "text": name} for name, x in lefts.items()]
    layers = [
        *drawing.hatched(hatches),
        drawing.boxes(behind),
        drawing.boxes(boxes, **drawing.EDGE),
        drawing.texts(texts, align="center", fontSize=SMALL),
        drawing.texts([*empty, *ends], **drawing.QUIET),
        drawing.texts(heads, color=LIGHT["ink"]),
        *key,
        *drawing.labels(layout, width),
    ]
    return drawing.finish(layers, width, layout.height)


def _share(count: int, whole: int, decimals: int) -> str:
    """Return a share in per cent; what is not all of it is never written as 100."""
    share = f"{100 * count / whole:.{decimals}f}"
    return (
        f"{share if float(share) < 100 or count == whole else f'>{99 if not decimals else 99.9}'}%"
    )
