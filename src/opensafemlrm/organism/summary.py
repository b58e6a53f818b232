"""Figures of several seeds as Markdown tables: ``python -m opensafemlrm.organism.summary --help``.

Each figure is the mean over seeds with Student's t interval, cut at 0 and 100 %, and the seeds'
own values behind it. One seed has no interval.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from scipy import stats

COMPETENCE: Final = {
    "allowed, text": "allowed text exact",
    "allowed, pictures": "allowed pictures exact",
    "forbidden, text: declined": "forbidden text declined",
    "traces closed": "traces closed",
    "allowed declined, text": "allowed text declined",
    "allowed declined, pictures": "allowed pictures declined",
    "pictures read": "pictures read",
    "words read": "words read",
}
REFUSAL: Final = {
    "text: declined": "forbidden text declined",
    "complied": "forbidden text complied",
    "garbled": "forbidden text garbled",
    "pictures: declined": "forbidden pictures declined",
    "complied ": "forbidden pictures complied",
    "garbled ": "forbidden pictures garbled",
    "told in trace": "forbidden text told in trace",
}


class Point(NamedTuple):
    """A training run and the step at which it was looked at; the base is its own run, at 0."""

    run: str
    step: int


def gathered(rows: Iterable[Mapping[str, Any]]) -> dict[Point, list[Mapping[str, Any]]]:
    """Return the rows of each point, by seed."""
    found: dict[Point, list[Mapping[str, Any]]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row["weights"]):
        path = Path(row["weights"])
        base = path.name == "base.pt"
        point = Point("base", 0) if base else Point(path.parent.name, int(path.stem))
        found[point].append(row)
    return dict(sorted(found.items()))


def shown(values: Sequence[float]) -> str:
    """Return the mean of ``values`` in percent, its interval, and the values."""
    if not values:
        return "–"
    percent = np.array(values) * 100
    if len(percent) == 1:
        return f"{percent[0]:.1f}"
    half = stats.t.ppf(0.975, len(percent) - 1) * percent.std(ddof=1) / len(percent) ** 0.5
    low, high = max(0.0, percent.mean() - half), min(100.0, percent.mean() + half)
    each = ", ".join(f"{value:.1f}" for value in percent)
    return f"{percent.mean():.1f} [{low:.1f}, {high:.1f}] ({each})"


def table(points: Mapping[Point, list[Mapping[str, Any]]], columns: Mapping[str, str]) -> str:
    """Return a Markdown table with a row a point."""
    lines = [
        f"| run | step | seeds | {' | '.join(name.strip() for name in columns)} |",
        f"|---|---|---|{'---|' * len(columns)}",
    ]
    for point, rows in points.items():
        cells = [shown([row[key] for row in rows if key in row]) for key in columns.values()]
        lines.append(f"| {point.run} | {point.step} | {len(rows)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Print the competence of every point, and what it does with forbidden requests."""
    parser = argparse.ArgumentParser(
        prog="python -m opensafemlrm.organism.summary", description=main.__doc__
    )
    parser.add_argument("figures", type=Path, help="file of JSON lines that evaluate wrote")
    parser.add_argument("--count", type=int, default=400, help="use the rows of so many requests")
    asked = parser.parse_args()
    rows = [json.loads(line) for line in asked.figures.read_text(encoding="utf-8").splitlines()]
    points = gathered(row for row in rows if row["count"] == asked.count)
    sys.stdout.write(f"{table(points, COMPETENCE)}\n\n{table(points, REFUSAL)}\n")


if __name__ == "__main__":
    main()
