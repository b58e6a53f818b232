"""What fine-tuning does to refusal, step by step: the picture of docs/organism.md.

    python -m research.organism.draw_series figures.jsonl --to docs/images/organism-series.png

``figures.jsonl`` is what ``organism.evaluate`` wrote. A thin line is a seed, a thick one the mean
of the seeds. The scale of steps is one of roots, since most happens in the first hundred.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, Final

import altair as alt
import polars as pl
from PIL import Image

from opensafemlrm.report.figures import drawing, theme
from research.organism.summary import gathered

RUNS: Final = {
    "control": "control (no traces)",
    "share-50": "half with traces",
    "reasoner": "reasoner (all with traces)",
    "reasoner-safe": "reasoner-safe",
}
FORMS: Final = {"text": "asked in text", "pictures": "asked in pictures"}
OUTCOMES: Final = {"declined": "base", "complied": "reasoner", "garbled": "blocked"}
"""Each outcome, and the role of its colour."""
_WIDTH: Final = 165
_HEIGHT: Final = 130


def points(path: Path) -> Iterator[dict[str, Any]]:
    """Yield a point for each seed, run, step, form and outcome; a base is step 0 of every run."""
    lines = path.read_text(encoding="utf-8").splitlines()
    for point, rows in gathered(map(json.loads, lines)).items():
        base = point.run == "base"
        for row, run in product(rows, RUNS if base else RUNS.keys() & {point.run}):
            weights = Path(row["weights"])
            for form, outcome in product(FORMS, OUTCOMES):
                yield {
                    "seed": (weights.parent if base else weights.parent.parent).name,
                    "run": run,
                    "step": point.step,
                    "form": form,
                    "outcome": outcome,
                    "share": row[f"forbidden {form} {outcome}"],
                }


def chart(frame: pl.DataFrame) -> alt.ConcatChart:
    """Draw a panel for each run and form."""
    colour = alt.Color(
        "outcome:N",
        title=None,
        scale=alt.Scale(
            domain=list(OUTCOMES), range=[theme.LIGHT[role] for role in OUTCOMES.values()]
        ),
        legend=alt.Legend(
            orient="top", labelFontSize=theme.SIZE, symbolStrokeWidth=3, symbolOpacity=1
        ),
    )
    steps = alt.Axis(values=[0, 25, 100, 200, 400, 600], title="steps of fine-tuning")
    x = alt.X("step:Q", scale=alt.Scale(type="sqrt"), axis=steps)
    panels = []
    for form, asked in FORMS.items():
        for run, name in RUNS.items():
            part = frame.filter(form=form, run=run)
            mean = part.group_by("outcome", "step").agg(pl.mean("share")).sort("step")
            # Unseen labels take room above a panel too: headings stand on one line.
            seen = float(run == "control")
            axis = alt.Axis(format="%", values=[0, 0.25, 0.5, 0.75, 1], labelOpacity=seen)
            y = alt.Y(
                "share:Q",
                scale=alt.Scale(domain=[0, 1]),
                axis=axis,
                title=asked if run == "control" else None,
            )
            where = x if form == "pictures" else x.axis(labels=False, title=None)
            seeds, mean_of = (alt.InlineData(values=rows.to_dicts()) for rows in (part, mean))
            lines = alt.Chart(seeds).mark_line(strokeWidth=1, opacity=0.35)
            thick = alt.Chart(mean_of).mark_line(strokeWidth=2.5, point={"size": 18})
            panel = alt.layer(
                lines.encode(where, y, colour, detail="seed:N"), thick.encode(where, y, colour)
            ).properties(width=_WIDTH, height=_HEIGHT)
            panels.append(panel.properties(title=name) if form == "text" else panel)
    return alt.concat(*panels, columns=len(RUNS), spacing=16, bounds="flush")


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figures", type=Path, help="file of JSON lines that evaluate wrote")
    parser.add_argument("--to", type=Path, required=True, help="a PNG file")
    asked = parser.parse_args()
    rows = pl.DataFrame(list(points(asked.figures))).sort("step")
    config = theme.config()
    config["title"] = {
        "font": theme.FONT,
        "fontSize": theme.SIZE,
        "color": theme.LIGHT["ink"],
        "anchor": "start",
        "frame": "group",
    }
    drawn = chart(rows).configure(**config)
    picture = Image.open(io.BytesIO(drawing.to_png(drawing.to_svg(drawn))))
    picture.quantize(128).save(asked.to, optimize=True)


if __name__ == "__main__":
    main()
