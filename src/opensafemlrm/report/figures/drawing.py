"""What all charts are made with: sizes, measured text, rows of marks, and files.

A chart is a layer of marks whose vertical places are pixels that the project works out, so that
labels, headings and numbers stand where a reader looks for them at any width. A mark is a row with
its ``x`` and ``y``, in pixels, and the ``role`` of its colour. Every text is made visible first
(:func:`opensafemlrm.text.for_terminal`) and escaped by the renderer.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from typing import Any, Final, TypeAlias

import altair as alt
import vl_convert

from opensafemlrm.report.figures.theme import FONT, LIGHT, SIZE, SMALL, config, width_of
from opensafemlrm.text import for_terminal

Chart: TypeAlias = "alt.LayerChart | alt.Chart"
Row: TypeAlias = Mapping[str, Any]
Corner: TypeAlias = tuple[float, float]
Marks: TypeAlias = "defaultdict[str, list[Row]]"
"""The marks of all panels by what they are, each kind in one layer."""

WIDE: Final = 720
NARROW: Final = 350
"""Whole widths in pixels: of a text column, and of a telephone held upright."""
_MAX_LABEL: Final = 210
_LABEL_LINE: Final = 21
_NUMBER_ROOM: Final = 124
"""Room that numbers have at the right of a label's line."""
QUIET: Final = {"fontSize": SMALL, "color": LIGHT["muted"]}
"""The style of what is read last: numbers of scales, names of axes, legends."""
EDGE: Final = {"stroke": LIGHT["edge"], "strokeWidth": 0.75}
"""The edge of a box, without which the lightest colours would not be seen."""
_ELLIPSIS: Final = "…"
_VEGA_LITE: Final = "6.1"
_PNG_SCALE: Final = 3.0
_SIDE: Final = re.compile(r'\b(width|height)="([0-9.]+)"')
_LEGEND_LINE: Final = 18
_HATCH: Final = 6
"""Pixels along an edge from one line of a hatching to the next."""
_POINTS: Final = 0.75
"""Points of paper in a pixel of the chart: a wide chart is 19 cm, two columns of a paper."""


@dataclass(frozen=True, slots=True)
class Size:
    """The room a chart has: its whole width, and whether labels go above what they name."""

    width: int
    narrow: bool
    page: int
    """The width that a chart with many columns may grow to."""


SIZES: Final = (Size(WIDE, narrow=False, page=1160), Size(NARROW, narrow=True, page=NARROW))


@dataclass(frozen=True, slots=True)
class Band:
    """A row of a chart: its label, where its marks stand, and the heading it is under."""

    label: str
    y: float
    label_y: float


@dataclass(frozen=True, slots=True)
class Bands:
    """Rows under headings, from top to bottom, in pixels."""

    rows: tuple[Band, ...]
    headings: tuple[tuple[str, float], ...]
    height: float
    gutter: float
    """Room for labels left of the marks; 0 where they stand above."""


def bands(keys: Sequence[tuple[str, str]], size: Size, step: float = 24, top: float = 0) -> Bands:
    """Lay out rows of (heading, label), ``step`` pixels each, from ``top`` down.

    Rows of one heading stand together, in their order. On a narrow page a label stands above its
    marks, and takes room of its own.
    """
    y = top
    last: str | None = None
    rows: list[Band] = []
    headings: list[tuple[str, float]] = []
    above = _LABEL_LINE if size.narrow else 0
    for heading, label in keys:
        if heading != last and heading:
            y += 12 if rows else 0
            headings.append((for_terminal(heading), y + 10))
            y += 24
        last = heading
        shown = fit(label, size.width - _NUMBER_ROOM if size.narrow else _MAX_LABEL)
        middle = y + above + step / 2
        rows.append(Band(shown, middle, y + 11 if size.narrow else middle))
        y += step + above
    gutter = 0 if size.narrow else max((width_of(row.label) for row in rows), default=0) + 14
    return Bands(tuple(rows), tuple(headings), y + 4, gutter)


def fit(text: str, width: float, size: int = SIZE) -> str:
    """Return ``text``, made visible, with its middle left out where it is wider than ``width``.

    The end of a model's name tells as much as its beginning.
    """
    whole = shown = for_terminal(text)
    kept = len(whole)
    while width_of(shown, size) > width and kept > 2:
        kept -= 1
        head = (kept + 1) // 2
        shown = whole[:head] + _ELLIPSIS + whole[len(whole) - (kept - head) :]
    return shown


def texts(rows: Iterable[Row], **mark: Any) -> alt.Chart:
    """Return a layer that writes each row's ``text`` at its ``x`` and ``y``."""
    usual = {"baseline": "middle", "align": "left", "fontSize": SIZE, "color": LIGHT["ink"]}
    return _layer("text", rows, alt.Text("text:N"), **{**usual, **mark})


def labels(layout: Bands, width: float) -> list[alt.Chart]:
    """Return the layers that write the labels and the headings of ``layout``."""
    left = -layout.gutter
    return [
        texts({"x": left, "y": row.label_y, "text": row.label} for row in layout.rows),
        rules((across(left, width, y + 9) for _, y in layout.headings), color=LIGHT["rule"]),
        texts(
            ({"x": left, "y": y, "text": text} for text, y in layout.headings),
            color=LIGHT["muted"],
        ),
    ]


def across(x: float, x2: float, y: float) -> Row:
    """Return the row of a level line."""
    return {"x": x, "x2": x2, "y": y, "y2": y}


def upright(x: float, y: float, y2: float) -> Row:
    """Return the row of an upright line."""
    return {"x": x, "x2": x, "y": y, "y2": y2}


def around(x: float, y: float, wide: float, high: float, **more: Any) -> Row:
    """Return the row of a box whose middle is at ``x``, ``y``."""
    return {"x": x - wide / 2, "x2": x + wide / 2, "y": y - high / 2, "y2": y + high / 2, **more}


def rules(rows: Iterable[Row], **mark: Any) -> alt.Chart:
    """Return a layer of lines from ``x``, ``y`` to ``x2``, ``y2``."""
    return _layer("rule", rows, _X2, _Y2, **mark)


def boxes(rows: Iterable[Row], **mark: Any) -> alt.Chart:
    """Return a layer of boxes from ``x``, ``y`` to ``x2``, ``y2``."""
    return _layer("rect", rows, _X2, _Y2, **mark)


def hatched(rows: Iterable[Row]) -> list[alt.Chart]:
    """Return the layers of boxes for what was not measured: empty, with slanted lines in them."""
    rows = list(rows)
    lines: list[Row] = []
    for row in rows:
        wide, high = row["x2"] - row["x"], row["y2"] - row["y"]
        for step in range(1, math.ceil((wide + high) / _HATCH)):
            # The line on which x + y is this far from the upper left corner.
            away = step * _HATCH
            ends = (
                (max(0.0, away - high), min(high, away)),
                (min(wide, away), max(0.0, away - wide)),
            )
            (x, y), (x2, y2) = ((row["x"] + x, row["y"] + y) for x, y in ends)
            lines.append({"x": x, "y": y, "x2": x2, "y2": y2})
    empty = [{**row, "role": "paper"} for row in rows]
    return [
        boxes(empty, **EDGE),
        rules(lines, color=LIGHT["edge"], strokeWidth=0.75, opacity=0.8),
    ]


def areas(rows: Iterable[Row], **mark: Any) -> alt.Chart:
    """Return a layer of areas between ``y`` and ``y2`` over ``x``, one for each ``area``."""
    return _layer("area", rows, _Y2, alt.Detail("area:N"), **mark)


def points(rows: Iterable[Row], role: str, *, fill: str = "", size: int = 64) -> alt.Chart:
    """Return a layer of dots at ``x``, ``y``, in the colour of ``role``.

    They are rings where ``fill`` is another role, or ``transparent``.
    """
    line = {"size": size, "opacity": 1, "strokeWidth": 1.8, "stroke": LIGHT[role]}
    return _layer("point", rows, fill=LIGHT.get(fill or role, fill), **line)


@dataclass(frozen=True, slots=True)
class Sign:
    """A sign of a chart and what it means."""

    text: str
    role: str
    shape: str = "dot"
    """``dot``, ``ring``, ``box`` or ``hatch``."""


def legend(signs: Sequence[Sign], width: float, left: float = 0) -> tuple[list[alt.Chart], float]:
    """Return the layers of a legend at the top of a chart, and how high it is."""
    lines: list[list[tuple[float, Sign]]] = [[]]
    x = 0.0
    for sign in signs:
        needed = 16 + width_of(sign.text, SMALL) + 18
        if x + needed > width + 18 and lines[-1]:
            lines.append([])
            x = 0.0
        lines[-1].append((x, sign))
        x += needed
    layers: list[alt.Chart] = []
    for number, line in enumerate(lines):
        y = 8 + number * _LEGEND_LINE
        words = [{"x": left + x + 16, "y": y, "text": sign.text} for x, sign in line]
        layers.append(texts(words, **QUIET))
        for x, sign in line:
            box = {"x": left + x, "x2": left + x + 11, "y": y - 6, "y2": y + 5, "role": sign.role}
            if sign.shape == "box":
                layers.append(boxes([box], **EDGE))
            elif sign.shape == "hatch":
                layers += hatched([box])
            else:
                ring = "paper" if sign.shape == "ring" else ""
                layers.append(points([{"x": left + x + 6, "y": y}], sign.role, fill=ring))
    return layers, len(lines) * _LEGEND_LINE + 6


def with_caveat(chart: alt.LayerChart, caveat: str, size: Size) -> alt.LayerChart:
    """Return the chart with a caveat below it, which no one who copies it can leave behind."""
    if not caveat:
        return chart
    own = float(chart.width) if isinstance(chart.width, int | float) else 0.0
    room = max(size.width, own) - 12
    lines: list[str] = []
    for word in for_terminal(caveat).split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and width_of(longer, SMALL) <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    noted: alt.LayerChart = chart.copy(deep=False)
    noted.title = alt.TitleParams(
        text=lines,
        orient="bottom",
        anchor="start",
        frame="bounds",
        font=FONT,
        fontSize=SMALL,
        fontWeight="normal",
        color=LIGHT["muted"],
        lineHeight=15,
        offset=12,
    )
    return noted


@dataclass(frozen=True, slots=True)
class Ruler:
    """A scale: values from ``low`` to ``high`` over ``width`` pixels."""

    low: float
    high: float
    width: float

    @classmethod
    def around(cls, values: Sequence[float], width: float) -> Ruler:
        """Return a ruler that holds ``values`` and 0, from one round number to another."""
        low, high = min([0.0, *values]), max([0.0, *values])
        step = _round_step((high - low) or 1.0)
        return cls(math.floor(low / step) * step, math.ceil(high / step) * step or step, width)

    def at(self, value: float) -> float:
        """Return the pixel of ``value``."""
        return (value - self.low) / (self.high - self.low) * self.width

    def layers(self, height: float, title: str, unit: str = "", top: float = 0) -> list[alt.Chart]:
        """Return grid, numbers and title, for marks from ``top`` to ``height`` above."""
        step = _round_step(self.high - self.low)
        count = round((self.high - self.low) / step)
        ticks = [self.low + number * step for number in range(count + 1)]
        lines = [upright(self.at(t), top, height) for t in ticks]
        numbers = [
            {"x": self.at(t), "y": height + 12, "text": f"{t:g}{unit}".replace("-", "−")}
            for t in ticks
        ]
        name = {"x": self.width / 2, "y": height + 32, "text": title}
        return [
            rules(lines, color=LIGHT["grid"]),
            texts([*numbers, name], align="center", **QUIET),
        ]


@dataclass(frozen=True, slots=True)
class Panel:
    """A plot beside others: where its upper left corner is, and its scales to the right and up."""

    left: float
    top: float
    to_right: Ruler
    up: Ruler

    def x(self, value: float) -> float:
        """Return the pixel of a value on the scale to the right."""
        return self.left + self.to_right.at(value)

    def y(self, value: float) -> float:
        """Return the pixel of a value on the scale up."""
        return self.top + self.up.width - self.up.at(value)


def corners(number: int, across: int, width: float, height: float, top: float) -> Iterator[Corner]:
    """Yield the upper left corner of each of so many panels, ``across`` of them in a line."""
    for place in range(number):
        yield (place % across) * width, top + (place // across) * height


def _round_step(span: float) -> float:
    """Return 1, 2 or 5 times a power of ten that divides ``span`` into four to nine steps."""
    power = 10.0 ** math.floor(math.log10(span / 4))
    return next((m * power for m in (1, 2, 5) if span / (m * power) <= 8), 10 * power)


def finish(layers: Sequence[alt.Chart], width: float, height: float) -> alt.LayerChart:
    """Return the layers as one chart of a plot's width and height."""
    # At once: each of Altair's methods that add something copies the whole chart.
    return alt.LayerChart(
        layer=list(layers), width=width, height=height, config=alt.Config(**config())
    )


def to_svg(chart: Chart) -> str:
    """Draw a chart. Nothing is fetched, whatever its data hold."""
    _register_fonts()
    # Checking against the schema takes longer than drawing; the tests do it.
    spec = chart.to_dict(validate=False)
    return str(vl_convert.vegalite_to_svg(spec, vl_version=_VEGA_LITE, allowed_base_urls=[]))


def to_png(svg: str) -> bytes:
    """Return a drawn chart as PNG on white, three pixels for one."""
    head, _, rest = svg.partition(">")
    white = f'{head}><rect width="100%" height="100%" fill="{LIGHT["paper"]}"/>{rest}'
    return bytes(vl_convert.svg_to_png(white, scale=_PNG_SCALE))


def to_pdf(svg: str) -> bytes:
    """Return a drawn chart as PDF with its text as text, sized for paper."""
    head, _, rest = svg.partition(">")
    for_paper = _SIDE.sub(lambda side: f'{side[1]}="{_POINTS * float(side[2]):g}"', head)
    return bytes(vl_convert.svg_to_pdf(f"{for_paper}>{rest}"))


_X: Final = alt.X("x:Q", axis=None, scale=None)
_Y: Final = alt.Y("y:Q", axis=None, scale=None)
_X2: Final = alt.X2("x2:Q")
_Y2: Final = alt.Y2("y2:Q")
_COLOUR: Final = alt.Color("colour:N", scale=None)


def _layer(mark: str, rows: Iterable[Row], *channels: Any, **style: Any) -> alt.Chart:
    """Return a layer of marks at their pixels; those whose rows name a ``role`` in its colour."""
    values = [{**row, "colour": LIGHT[row["role"]]} if "role" in row else {**row} for row in rows]
    coloured = [_COLOUR] if values and "role" in values[0] else []
    # A tuple: Altair copies lists and all they hold at each step, which took a third of a report.
    chart = getattr(alt.Chart({"values": tuple(values)}), f"mark_{mark}")(**style)
    layer: alt.Chart = chart.encode(_X, _Y, *channels, *coloured)
    return layer


@cache
def _register_fonts() -> None:
    """Make the bundled fonts known, so that charts are the same on machines without any."""
    with as_file(files("opensafemlrm.attacks") / "fonts") as folder:
        vl_convert.register_font_directory(str(folder))
