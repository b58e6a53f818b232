"""Charts: readable in both themes, honest about what was not measured, and harmless."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any
from xml.etree import ElementTree

import altair as alt
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from opensafemlrm.report.figures import (
    bars,
    drawing,
    flow,
    forest,
    heatmap,
    losses,
    pairs,
    pareto,
    theme,
    trends,
)
from opensafemlrm.report.figures.drawing import SIZES, Ruler, Size
from tests.report.page_stores import HOSTILE

Draw = Callable[[Size], alt.LayerChart]
WIDE, NARROW = SIZES


def rows(columns: pl.Schema, *values: tuple[Any, ...]) -> pl.DataFrame:
    return pl.DataFrame(values, columns, orient="row")


def tally(**counts: int) -> list[dict[str, Any]]:
    return [{"name": name.strip("_"), "n": n} for name, n in counts.items()]


def dot(
    model: str, defense: str, safety: float, refused: float, *rest: Any, error: float = 0.03
) -> tuple[Any, ...]:
    """A model under one defense, with the same error on both axes."""
    ends = [(value, max(value - error, 0), min(value + error, 1)) for value in (safety, refused)]
    return (model, defense, *ends[0], *ends[1], *rest)


CHARTS: dict[str, Draw] = {
    "forest": lambda size: forest.forest(
        rows(
            forest.COLUMNS,
            ("direct", HOSTILE, 12.0, 3.5, 20.25, False),
            ("direct", HOSTILE, -4.0, -9.0, 1.0, True),
            ("typo", "b", None, None, None, False),
        ),
        size,
        "points",
    ),
    "pairs": lambda size: pairs.pairs(
        rows(pairs.COLUMNS, ("direct", HOSTILE, 0.1, 0.4), ("direct", "b", None, 0.3)),
        size,
        "share",
    ),
    "heatmap": lambda size: heatmap.heatmap(
        rows(
            heatmap.COLUMNS,
            ("direct", "01-A", HOSTILE, 0.95, 44, "reasoner"),
            ("direct", "01-A", "b", None, 0, "base"),
            (HOSTILE, "01-A", "b", 0.05, 40, "base"),
        ),
        size,
    ),
    "losses": lambda size: losses.losses(
        rows(
            losses.COLUMNS,
            ("direct", HOSTILE, "over b", "01-A", 40.0, 20.0, 55.0, True),
            ("direct", HOSTILE, "over b", "02-B", -10.0, -30.0, 12.0, False),
        ),
        size,
    ),
    "trends": lambda size: trends.trends(
        rows(
            trends.COLUMNS,
            *(
                ("all", part, number, HOSTILE, 0.1 * number, 0.0, 0.9, number == 3)
                for part in ("reasoning", "answer")
                for number in (1, 2, 3)
            ),
            (HOSTILE, "answer", 1, HOSTILE, 0.5, 0.2, 0.8, False),
            (HOSTILE, "answer", 2, HOSTILE, None, None, None, False),
        ),
        size,
    ),
    "bars": lambda size: bars.bars(
        rows(
            bars.COLUMNS,
            ("", HOSTILE, "answer", tally(_0=30, _5=10), 40),
            ("", HOSTILE, "reasoning", [], 0),
        ),
        {"0": "harm-0", "5": bars.HATCH},
        size,
    ),
    "flow": lambda size: flow.flows(rows(flow.COLUMNS, (HOSTILE, "direct", 30, 6, 4, 60)), size),
    "pareto": lambda size: pareto.pareto(
        rows(
            pareto.COLUMNS,
            dot(HOSTILE, "none", 0.3, 0.02, 1.0, True, True),
            dot(HOSTILE, HOSTILE, 0.8, 0.1, 2.5, True, False),
            dot(HOSTILE, "costly", 0.7, 0.1, 6.0, False, False),
            dot("b", "none", 0.3, 0.0, 1.0, True, True),
        ),
        size,
    ),
}


@cache
def svg(name: str, size: Size = WIDE) -> str:
    return drawing.to_svg(CHARTS[name](size))


def words(drawn: str) -> list[str]:
    """The texts of a chart, as a reader sees them."""
    return [
        "".join(one.itertext())
        for one in ElementTree.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")
    ]


@pytest.mark.parametrize("size", SIZES, ids=["wide", "narrow"])
@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_keeps_to_the_schema_and_to_its_width(name: str, size: Size) -> None:
    chart = CHARTS[name](size)
    chart.to_dict()  # raises where the chart is not Vega-Lite
    width = float(ElementTree.fromstring(drawing.to_svg(chart)).attrib["width"])
    assert width <= size.width * 1.1


@pytest.mark.parametrize("name", CHARTS)
def test_hostile_names_are_text_in_a_chart(name: str) -> None:
    """A model that calls itself <script> must not run when the figure is opened."""
    inline = theme.for_page(svg(name), HOSTILE, WIDE.width).svg
    root = ElementTree.fromstring(inline)
    assert {one.tag.split("}")[1] for one in root.iter()} <= {"svg", "g", "path", "line", "text"}
    assert not [key for one in root.iter() for key in one.attrib if key.startswith("on")]
    assert "\x1b" not in inline
    assert "\u202e" not in inline
    assert "7 * 7" in root.attrib["aria-label"]


@pytest.mark.parametrize("name", CHARTS)
def test_every_colour_follows_the_reader_s_theme(name: str) -> None:
    """A colour left as it is would be black on black in the dark."""
    inline = theme.for_page(svg(name), "a chart", WIDE.width).svg
    painted = re.findall(r'(?:fill|stroke)="([^"]*)"', re.sub(r">[^<]*<", "><", inline))
    assert {one for one in painted if not one.startswith("var(--")} <= {"none", "transparent"}


def test_text_that_looks_like_a_colour_stays_text() -> None:
    row = ("", 'a fill="#0072b2"', 0.1, 0.4)
    drawn = drawing.to_svg(pairs.pairs(rows(pairs.COLUMNS, row), WIDE, "share"))
    assert 'a fill="#0072b2"' in words(theme.for_page(drawn, "", WIDE.width).svg)


def test_what_was_not_measured_is_said_and_never_drawn_as_zero() -> None:
    assert "not measured" in words(svg("forest"))
    assert "base not measured" in words(svg("pairs"))
    assert "nothing to score" in words(svg("bars"))
    shown = words(svg("heatmap"))
    assert "–" in shown
    assert "95" in shown


@pytest.mark.parametrize("name", ["heatmap", "bars"])
def test_what_has_no_score_is_hatched_and_has_no_colour(name: str) -> None:
    """The mistake: grey for what was not measured, which in the dark was the colour of safe."""
    drawn = svg(name)
    slanted = re.findall(
        r'<line [^>]*x2="([-\d.]+)" y2="([-\d.]+)"[^>]*' + theme.LIGHT["edge"], drawn
    )
    assert slanted
    assert all(float(x) > 0 > float(y) or float(x) < 0 < float(y) for x, y in slanted)


def test_an_interval_is_written_out_with_its_signs() -> None:
    assert "+12.0 (+3.5, +20.2)" in words(svg("forest"))
    assert "−4.0 (−9.0, +1.0)" in words(svg("forest"))


def test_the_flow_says_how_much_was_corrected() -> None:
    assert "17% of 36 corrected" in words(svg("flow"))
    none = drawing.to_svg(flow.flows(rows(flow.COLUMNS, ("m", "direct", 0, 0, 0, 0)), WIDE))
    assert "nothing to compare" in words(none)
    assert not [word for word in words(none) if "%" in word]


def test_settings_are_groups_of_columns_of_one_heat_map() -> None:
    """The mistake: a heat map a setting, one below the other, which nobody can compare."""
    cells = [
        (setting, "01-A", model, 0.5, 10, "base")
        for setting in ("direct", "typo")
        for model in ("a", "b")
    ]
    shown = words(drawing.to_svg(heatmap.heatmap(rows(heatmap.COLUMNS, *cells), WIDE)))
    assert [shown.count(name) for name in ("direct", "typo", "a", "b", "01-A")] == [1, 1, 2, 2, 1]
    assert "10" not in shown  # all are of 10: a note says so once


def test_what_survives_its_multiplicity_is_a_dot_and_the_rest_a_ring() -> None:
    drawn = svg("losses")
    filled = len(re.findall(rf'fill="{theme.LIGHT["reasoner"]}"[^>]*stroke=', drawn))
    rings = len(re.findall(rf'fill="{theme.LIGHT["paper"]}"[^>]*stroke=', drawn))
    assert (filled, rings) == (2, 2)  # one each, and those of the legend


def test_a_caveat_stands_in_the_picture_at_every_width() -> None:
    """The mistake: a warning on the page alone, which no screenshot of a chart has."""
    caveat = "Simulated models: it says nothing of the models whose names they carry, at all."
    for size in SIZES:
        drawn = drawing.to_svg(drawing.with_caveat(CHARTS["pairs"](size), caveat, size))
        assert caveat.replace(" ", "") in "".join(words(drawn)).replace(" ", "")
        assert float(ElementTree.fromstring(drawn).attrib["width"]) <= size.width * 1.1


def test_every_defense_is_named_with_what_it_costs_and_the_undefended_model_is_marked() -> None:
    shown = words(svg("pareto"))
    assert "costly · 6×" in shown
    assert shown.count("undefended · 1×") == 2
    assert shown.count("undefended") == 1  # in the key
    assert svg("pareto").count(f'fill="{theme.LIGHT["reasoner"]}"') >= 2


@pytest.mark.parametrize("size", SIZES, ids=["wide", "narrow"])
def test_defenses_that_do_alike_keep_their_names_apart(size: Size) -> None:
    """Most defenses of a model lie in one corner: written over each other they say nothing."""
    alike = [
        dot("m", f"defense {n}", 0.9 - n / 500, 0.02 + n / 1000, 1.0, n == 0, False)
        for n in range(9)
    ]
    drawn = drawing.to_svg(pareto.pareto(rows(pareto.COLUMNS, *alike), size))
    found = re.findall(r"translate\(([\d.]+),([\d.]+)\)[^>]*>(defense \d[^<]*)<", drawn)
    boxes = [(float(x), float(x) + theme.width_of(said, 11), float(y)) for x, y, said in found]
    assert len(boxes) == len(alike)
    for number, (left, right, y) in enumerate(boxes):
        for other_left, other_right, other_y in boxes[number + 1 :]:
            apart = right <= other_left or other_right <= left or abs(y - other_y) >= 12
            assert apart


def test_the_front_is_drawn_as_stairs_of_what_nothing_beats_in_the_two() -> None:
    """A slanted line would promise what lies between two defenses, which nobody measured."""
    drawn = svg("pareto")
    lines = re.findall(
        r'<line transform="translate\([^"]*" x2="([-\d.]+)" y2="([-\d.]+)"[^>]*0072b2', drawn
    )
    assert lines
    assert all(0 in (float(x), float(y)) for x, y in lines)


def test_a_defense_is_drawn_with_the_interval_of_both_its_rates() -> None:
    """Two dots that lie apart by chance alone looked like a better and a worse defense."""
    bars = []
    for error in (0.02, 0.04):
        one = [dot("m", "a", 0.9, 0.05, 1.0, True, False, error=error)]
        drawn = drawing.to_svg(pareto.pareto(rows(pareto.COLUMNS, *one), WIDE))
        lines = re.findall(
            rf'<line transform="[^"]*" x2="([-\d.]+)" y2="([-\d.]+)"[^>]*{theme.LIGHT["rule"]}',
            drawn,
        )
        bars.append([max(abs(float(line[axis])) for line in lines) for axis in (0, 1)])
    assert bars[1] == pytest.approx([2 * length for length in bars[0]], rel=0.02)


def test_many_models_scroll_and_do_not_shrink_until_nobody_can_read_them() -> None:
    cells = [("", "01-A", f"model {n}", 0.5, 10, "base") for n in range(40)]
    drawn = drawing.to_svg(heatmap.heatmap(rows(heatmap.COLUMNS, *cells), NARROW))
    inline = theme.for_page(drawn, "", NARROW.width)
    assert inline.scrolls
    assert "min-width" in inline.svg


def test_files_for_a_paper_open() -> None:
    drawn = svg("forest")
    with Image.open(io.BytesIO(drawing.to_png(drawn))) as image:
        assert image.width == pytest.approx(3 * WIDE.width, rel=0.1)
        assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    pdf = drawing.to_pdf(drawn)
    assert pdf.startswith(b"%PDF-")
    assert b"%%EOF" in pdf[-32:]
    box = re.search(rb"/MediaBox\s*\[0 0 ([\d.]+) ", pdf)
    assert box is not None
    assert float(box[1]) == pytest.approx(0.75 * WIDE.width, rel=0.1)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("colours", [theme.LIGHT, theme.DARK], ids=["light", "dark"])
def test_every_text_has_the_contrast_that_wcag_asks_for(colours: Mapping[str, str]) -> None:
    for role in ("ink", "muted", "base", "reasoner"):
        assert contrast(colours[role], colours["paper"]) >= 4.5, role
    for step, role in enumerate(theme.RAMP):
        assert contrast(colours[role], colours[theme.ink_on(step)]) >= 4.5, role
    for role in theme.WHY:
        assert contrast(colours[role], colours[theme.ink_of(role)]) >= 4.5, role


@pytest.mark.parametrize("colours", [theme.LIGHT, theme.DARK], ids=["light", "dark"])
def test_the_ramp_of_harm_goes_one_way_in_lightness(colours: Mapping[str, str]) -> None:
    """Without colour, on paper or to a colour-blind reader, more must still look like more."""
    steps = [luminance(colours[role]) for role in theme.RAMP]
    assert steps in (sorted(steps), sorted(steps, reverse=True))


@pytest.mark.parametrize("colours", [theme.LIGHT, theme.DARK], ids=["light", "dark"])
def test_every_sign_is_seen_on_the_page(colours: Mapping[str, str]) -> None:
    """The mistake: score 0, the greatest class, was drawn in 1.1 to 1 on white."""
    for role in ("base", "reasoner", "safe", "unsafe", "edge"):
        assert contrast(colours[role], colours["paper"]) >= 3, role
    assert contrast(colours["safe"], colours["unsafe"]) >= 1.7  # in print without colour too


def test_safe_and_unsafe_and_harm_have_the_same_colours_in_both_themes() -> None:
    """The mistake: what was safe in the light was the colour of unsafe in the dark."""
    for role in ("safe", "unsafe", *theme.RAMP):
        assert theme.LIGHT[role] == theme.DARK[role]


@pytest.mark.parametrize(
    "matrix",
    [
        ((0.152, 1.053, -0.205), (0.115, 0.786, 0.099), (-0.004, -0.048, 1.052)),
        ((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969)),
        ((1.256, -0.077, -0.179), (-0.078, 0.931, 0.148), (0.005, 0.691, 0.304)),
    ],
    ids=["protanopia", "deuteranopia", "tritanopia"],
)  # fmt: skip
def test_safe_and_unsafe_are_told_apart_by_every_colour_vision(
    matrix: tuple[tuple[float, float, float], ...],
) -> None:
    """As dichromats see them (Machado, Oliveira, Fernandes 2009, severity 1)."""
    seen = []
    for role in ("safe", "unsafe"):
        colour = theme.LIGHT[role]
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        mixed = [sum(m * p for m, p in zip(row, linear, strict=True)) for row in matrix]
        seen.append(lab([min(max(part, 0.0), 1.0) for part in mixed]))
    assert sum((a - b) ** 2 for a, b in zip(*seen, strict=True)) ** 0.5 >= 20


def lab(linear: list[float]) -> tuple[float, float, float]:
    red, green, blue = linear
    x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089
    fx, fy, fz = (v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


def test_a_colour_names_one_role() -> None:
    assert len(set(theme.LIGHT.values())) == len(theme.LIGHT)
    assert theme.LIGHT.keys() == theme.DARK.keys()


@given(st.floats(0, 1))
def test_every_rate_has_a_step(rate: float) -> None:
    assert theme.RAMP[theme.step_of(rate)]


@given(st.text(max_size=80), st.integers(20, 300))
def test_a_label_fits_and_keeps_its_ends(text: str, width: int) -> None:
    shown = drawing.fit(text, width)
    assert theme.width_of(shown) <= width or len(shown) <= 3
    if shown and "…" not in text:
        head, cut, tail = shown.partition("…")
        whole = drawing.fit(text, 1e9)
        assert whole.startswith(head)
        assert whole.endswith(tail if cut else head)


@given(st.lists(st.floats(-1e4, 1e4, allow_subnormal=False), max_size=6))
def test_a_ruler_holds_its_values_and_zero(values: list[float]) -> None:
    ruler = Ruler.around(values, 300)
    for value in [*values, 0.0]:
        assert -1e-6 <= ruler.at(value) <= 300 + 1e-6
