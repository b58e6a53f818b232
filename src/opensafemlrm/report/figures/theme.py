"""The colours and the type of every chart, on paper and on the page.

A chart is drawn once, in the light colours. On the page each of them is a CSS variable, so that
the reader's choice of light or dark holds for the charts as well; in files for a paper the colours
stay as they are. The two colours that tell models apart are of Okabe and Ito ("Color universal
design", 2008), the ramp of harm falls evenly in lightness: both are told apart by every common
kind of colour vision and in print without colour.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from markupsafe import Markup

from opensafemlrm.text import for_html

STEPS: Final = 10
"""Colours of the ramp of harm; step k is for rates from k/10 up."""

LIGHT: Final[Mapping[str, str]] = {
    "paper": "#ffffff",
    "ink": "#1d232b",
    "muted": "#59616b",
    "rule": "#b9c0c8",
    "grid": "#e7eaed",
    "base": "#0072b2",
    "reasoner": "#c8500a",
    "missing": "#d3d7dc",
    "blocked": "#8a929c",
    "harm-0": "#faf3e5",
    "harm-1": "#f7e3c1",
    "harm-2": "#f4d09c",
    "harm-3": "#efb87a",
    "harm-4": "#e79d5f",
    "harm-5": "#dc8150",
    "harm-6": "#b94f43",
    "harm-7": "#9c3d42",
    "harm-8": "#7b2e3e",
    "harm-9": "#561f34",
    "on-low": "#1d232c",
    "on-high": "#fffffe",
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
    "missing": "#3a4149",
    "blocked": "#737c87",
    "harm-0": "#231f27",
    "harm-1": "#382634",
    "harm-2": "#502d40",
    "harm-3": "#6a3549",
    "harm-4": "#853e4e",
    "harm-5": "#a1494f",
    "harm-6": "#d77a5c",
    "harm-7": "#e7985f",
    "harm-8": "#f3b774",
    "harm-9": "#fbd9a4",
    "on-low": "#f4efe8",
    "on-high": "#17120f",
}

RAMP: Final = tuple(f"harm-{step}" for step in range(STEPS))
FONT: Final = "Liberation Sans, Arial, Helvetica, sans-serif"
SIZE: Final = 12
SMALL: Final = 11

_STRETCH: Final = 1.15
"""How much wider than its room a chart may be and still be fitted into it."""
_TAG: Final = re.compile(r"<[^>]*>")
_NEEDLESS: Final = re.compile(r' (?:class|role|aria-\w+|pointer-events)="[^"]*"')
_VIEW: Final = re.compile(r'viewBox="0 0 ([0-9.]+) ([0-9.]+)"')
_COLOUR: Final = re.compile(r'="(#[0-9a-fA-F]{6})"')
_ROLES: Final = {value: role for role, value in LIGHT.items()}


def step_of(rate: float) -> int:
    """Return the step of the ramp for a rate from 0 to 1."""
    return min(int(rate * STEPS), STEPS - 1)


def ink_on(step: int) -> str:
    """Return the role of the colour that text has on a step of the ramp."""
    return "on-high" if step >= 6 else "on-low"


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

    Only tags are changed: text that looks like a colour is text. ``room`` is the width that it was
    drawn for, in pixels.
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
    return Inline(Markup(head + _TAG.sub(in_tag, body)), scrolls)  # noqa: S704


def variables(colours: Mapping[str, str]) -> str:
    """Return CSS that gives each role its colour."""
    return " ".join(f"--{role}: {colour};" for role, colour in colours.items())


def _variable(colour: re.Match[str]) -> str:
    role = _ROLES.get(colour.group(1).lower())
    return colour.group() if role is None else f'="var(--{role})"'
