"""The loss of a run as a picture (SVG), from its log."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Final

from opensafemlrm.files import write_atomic

_WIDTH: Final = 640
_HEIGHT: Final = 320
_EDGE: Final = 48
_LOWEST: Final = 1e-3
"""Losses are drawn on a logarithmic scale; lower ones are drawn here."""


def draw(log: Path, to: Path) -> None:
    """Draw the log of a run: loss, on a logarithmic scale, over steps."""
    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    losses = [max(row["loss"], _LOWEST) for row in rows]
    top = math.ceil(math.log10(max(losses)))
    bottom = math.floor(math.log10(min(losses)))
    last = max(row["step"] for row in rows)

    def place(step: float, loss: float) -> str:
        across = _EDGE + (_WIDTH - 2 * _EDGE) * step / last
        share = (top - math.log10(loss)) / max(top - bottom, 1)
        return f"{across:.1f},{_EDGE + (_HEIGHT - 2 * _EDGE) * share:.1f}"

    points = " ".join(place(row["step"], loss) for row, loss in zip(rows, losses, strict=True))
    marks = "".join(
        f'<text x="{_EDGE - 6}" y="{place(0, 10.0**power).split(",")[1]}" '
        f'text-anchor="end">{10.0**power:g}</text>'
        for power in range(bottom, top + 1)
    )
    write_atomic(
        to,
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
        f'{marks}<text x="{_WIDTH - _EDGE}" y="{_HEIGHT - 16}" text-anchor="end">step {last}</text>'
        f'<text x="{_EDGE}" y="24">loss of the run {rows[-1]["run"]}</text>'
        f'<polyline points="{points}" fill="none" stroke="#1f5fa8" stroke-width="2"/></svg>\n',
    )
