"""The colours and the type of every chart, on paper and on the page.

A chart is drawn once, in the light colours. On the page each of them is a CSS variable, so that
the reader's choice of light or dark holds for the charts as well; in files for a paper the colours
stay as they are. The two colours that tell models apart are of Okabe and Ito ("Color universal
design", 2008); safe and unsafe differ in lightness as well as in hue, and the ramp of harm falls
evenly in lightness: they are told apart by every common kind of colour vision and in print without
colour.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from typing import Any, Final

from markupsafe import Markup
from PIL import ImageFont

from opensafemlrm.text import for_html

STEPS: Final = 10
"""Colours of the ramp of harm; step k is for rates from k/10 up."""

_SLATE: Final = ("#d5dbe3", "#b1bcc9", "#8d9bac", "#65758a", "#4c5c72", "#334159")
"""Colours for what is neither safe nor unsafe."""
_FIXED: Final[Mapping[str, str]] = {
    "safe": "#289d98",
    "unsafe": "#bb3446",
    "harm-0": "#f1e0c1",
    "harm-1": "#e9c896",
    "harm-2": "#e2b071",
    "harm-3": "#dc9751",
    "harm-4": "#d57e3b",
    "harm-5": "#cb6431",
    "harm-6": "#c04f37",
    "harm-7": "#a83f3b",
    "harm-8": "#8c3039",
    "harm-9": "#6d2432",
    **dict(zip((f"why-{step}" for step in range(6)), _SLATE, strict=True)),
    "edge": "#7d858f",
    "on-low": "#14181e",
    "on-high": "#fffffe",
}
"""Colours that mean the same to readers of both themes: safe, unsafe, and how harmful.

Each is seen on white and on the dark page (3 to 1 at least), the lightest and the darkest steps by
their edge.
"""

LIGHT: Final[Mapping[str, str]] = {
    "paper": "#ffffff",
    "ink": "#1d232b",
    "muted": "#59616b",
    "rule": "#b9c0c8",
    "grid": "#e7eaed",
    "base": "#0072b2",
    "reasoner": "#c8500a",
    "blocked": "#8a929c",
    **_FIXED,
}
"""The role of each colour and its value on white. No two are equal: a value names its role."""

DARK: Final[Mapping[str, str]] = {
    "paper": "#14171b",
    "ink": "#e8e6e1",
    "muted": "#a3abb5",
    "rule": "#4b535d",
    "grid": "#272d34",
    "base": "#56b4e9",
    "reasoner": "#f0894a",
    "blocked": "#737c87",
    **_FIXED,
}

WHY: Final = tuple(f"why-{step}" for step in range(len(_SLATE)))
"""The roles of colours for why there is no score."""
RAMP: Final = tuple(f"harm-{step}" for step in range(STEPS))
FONT: Final = "Liberation Sans, Arial, Helvetica, sans-serif"
SIZE: Final = 12
SMALL: Final = 11

_DARK_BOXES: Final = {"unsafe", *RAMP[6:], *WHY[3:]}
_STRETCH: Final = 1.15
"""How much wider than its room a chart may be and still be fitted into it."""
_TAG: Final = re.compile(r"<[^>]*>")
_NEEDLESS: Final = re.compile(r' (?:class|role|aria-\w+|pointer-events)="[^"]*"')
_VIEW: Final = re.compile(r'viewBox="0 0 ([0-9.]+) ([0-9.]+)"')
_COLOUR: Final = re.compile(r'="(#[0-9a-fA-F]{6})"')
_TEXT: Final = re.compile(
    r'(?P<tag><text\b[^>]*?font-size="(?P<size>\d+)px"[^>]*)>(?P<content>[^<]*)(?P<end></text>)'
)
_LINE: Final = re.compile(r"(?P<tag><tspan\b[^>]*)>(?P<content>[^<]*)(?P<end></tspan>)")
"""Caveats alone are set in lines, in the small size."""
_ROLES: Final = {value: role for role, value in LIGHT.items()}


def step_of(rate: float) -> int:
    """Return the step of the ramp for a rate from 0 to 1."""
    return min(int(rate * STEPS), STEPS - 1)


def ink_on(step: int) -> str:
    """Return the role of the colour that text has on a step of the ramp."""
    return ink_of(RAMP[step])


def ink_of(role: str) -> str:
    """Return the role of the colour that text has on a box of a role."""
    return "on-high" if role in _DARK_BOXES else "on-low"


def config() -> dict[str, Any]:
    """Return the Vega-Lite configuration that all charts share."""
    text = {"font": FONT, "fontSize": SIZE, "fill": LIGHT["ink"]}
    return {
        "aria": False,  # the page describes each chart in words of its own
        "background": "transparent",
        "font": FONT,
        "padding": 4,
        "view": {"stroke": None},
        "text": text,
    }


@dataclass(frozen=True, slots=True)
class Inline:
    """A chart to stand in a page."""

    svg: Markup
    scrolls: bool
    """Whether it is so much wider than its room that it scrolls: it keeps its size."""


def for_page(svg: str, label: str, room: float) -> Inline:
    """Return a drawn chart for a page: one picture called ``label``, coloured by CSS variables.

    Only tags are changed: text that looks like a colour is text. Each text says how wide it is in
    the font of the charts, so that in another it keeps to its place. ``room`` is the width that it
    was drawn for, in pixels.
    """

    def in_tag(tag: re.Match[str]) -> str:
        return _COLOUR.sub(_variable, _NEEDLESS.sub("", tag.group()))

    _, _, body = svg.partition(">")
    view = _VIEW.search(svg)
    if view is None:
        raise ValueError("a drawn chart has a size")
    width, height = view.groups()
    scrolls = float(width) > _STRETCH * room
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{for_html(label)}" '
        f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        + (f' style="min-width: {width}px">' if scrolls else ">")
    )
    # The renderer has escaped the texts of the chart.
    measured = _LINE.sub(_with_length, _TEXT.sub(_with_length, body))
    return Inline(Markup(head + _TAG.sub(in_tag, measured)), scrolls)  # noqa: S704


def _with_length(text: re.Match[str]) -> str:
    tag, content, end = text["tag"], text["content"], text["end"]
    width = width_of(html.unescape(content), int(text.groupdict().get("size", SMALL)))
    return f'{tag} textLength="{width:.1f}" lengthAdjust="spacingAndGlyphs">{content}{end}'


def width_of(text: str, size: int = SIZE) -> float:
    """Return how many pixels wide ``text`` is set."""
    return float(_font(size).getlength(text))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    with as_file(files("opensafemlrm.attacks") / "fonts" / "LiberationSans-Regular.ttf") as path:
        return ImageFont.truetype(str(path), size)


def variables(colours: Mapping[str, str]) -> str:
    """Return CSS that gives each role its colour."""
    return " ".join(f"--{role}: {colour};" for role, colour in colours.items())


def _variable(colour: re.Match[str]) -> str:
    role = _ROLES.get(colour.group(1).lower())
    return colour.group() if role is None else f'="var(--{role})"'
