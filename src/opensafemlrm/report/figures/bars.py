"""Stacked bars of shares: how scores, or outcomes, are spread over everything that was asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import altair as alt
import polars as pl

from opensafemlrm.analysis.coverage import TALLY
from opensafemlrm.report.figures import drawing
from opensafemlrm.report.figures.drawing import Size
from opensafemlrm.report.figures.theme import LIGHT, SMALL

_KEY: Final = 24
_BAR: Final = 16
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

    ``roles`` gives the kinds, from left to right, and the role of the colour each has. Where there
    is nothing to count the bar says so. Where ``most`` is less than 1, each bar ends in its counts.
    """
    keys = rows.select("heading", "label").unique(maintain_order=True).rows()
    columns = rows["column"].unique(maintain_order=True).to_list()
    counted = rows.select(pl.col("counts").explode().struct.unnest()).filter(pl.col("n") > 0)[
        "name"
    ]
    used = {kind: role for kind, role in roles.items() if kind in counted}
    key_lines = _key(used, size)
    top = _KEY * len(key_lines) + (18 if columns != [""] else 0)
    layout = drawing.bands(keys, size, step=24, top=top)
    places = dict(zip(keys, layout.rows, strict=True))
    width = size.width - layout.gutter - 10
    column = (width - (_ROOM_FOR_COUNTS if most < 1 else 0) - _GAP * (len(columns) - 1)) / len(
        columns
    )
    lefts = {name: place * (column + _GAP) for place, name in enumerate(columns)}
    boxes, texts, empty, ends = [], [], [], []
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
            boxes.append(
                {"x": x, "x2": x + part, "y": y - _BAR / 2, "y2": y + _BAR / 2, "role": role}
            )
            if part >= _ROOM_FOR_NUMBER:
                share = _share(counts[kind], whole, decimals)
                texts.append({"x": x + part / 2, "y": y + 0.5, "text": share, "role": _ink(role)})
            x += part
        if most < 1:
            of_whole = f"{sum(counts.values()):,} of {whole:,}"
            ends.append({"x": x + 6, "y": y, "text": of_whole})
    heads = [{"x": x, "y": top - 10, "text": name} for name, x in lefts.items()]
    left = -layout.gutter
    layers = [
        drawing.boxes(boxes, stroke=LIGHT["paper"], strokeWidth=0.75),
        drawing.texts(texts, align="center", fontSize=10),
        drawing.texts([*empty, *ends], fontSize=SMALL, color=LIGHT["muted"]),
        drawing.texts(heads, color=LIGHT["ink"]),
        *(layer for n, line in enumerate(key_lines) for layer in _key_layers(line, left, n)),
        *drawing.labels(layout, width),
    ]
    return drawing.finish(layers, width, layout.height)


def _share(count: int, whole: int, decimals: int) -> str:
    """Return a share in per cent; what is not all of it is never written as 100."""
    share = f"{100 * count / whole:.{decimals}f}"
    return (
        f"{share if float(share) < 100 or count == whole else f'>{99 if not decimals else 99.9}'}%"
    )


def _ink(role: str) -> str:
    if role in {"base", "blocked"}:
        return "paper"
    return "on-high" if role in {"harm-6", "harm-7", "harm-8", "harm-9"} else "on-low"


def _key(roles: Mapping[str, str], size: Size) -> list[list[tuple[float, str, str]]]:
    """Break the key into lines: for each kind its place, its name and its colour."""
    lines: list[list[tuple[float, str, str]]] = [[]]
    x = 0.0
    for kind, role in roles.items():
        needed = 16 + drawing.width_of(kind, SMALL) + 16
        if x + needed > size.width and lines[-1]:
            lines.append([])
            x = 0.0
        lines[-1].append((x, kind, role))
        x += needed
    return lines


def _key_layers(line: list[tuple[float, str, str]], left: float, number: int) -> list[alt.Chart]:
    y = 8 + number * (_KEY - 6)
    return [
        drawing.boxes(
            {"x": left + x, "x2": left + x + 11, "y": y - 6, "y2": y + 5, "role": role}
            for x, _, role in line
        ),
        drawing.texts(
            ({"x": left + x + 16, "y": y, "text": kind} for x, kind, _ in line),
            fontSize=SMALL,
            color=LIGHT["muted"],
        ),
    ]
