"""Figures of several seeds as Markdown tables: ``python -m research.organism.summary --help``.

Each figure is the mean over seeds with an interval that counts the seeds (Student's t) and the
requests of each, and the seeds' own values behind it. One seed has no interval. *Requests* are
seeds × requests of each sort.
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

from opensafemlrm.analysis.intervals import rate_interval

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
    """Return the rows of each point, by seed; of weights that were measured twice, the larger."""
    found: dict[Point, list[Mapping[str, Any]]] = defaultdict(list)
    best: dict[str, Mapping[str, Any]] = {}
    for row in sorted(rows, key=lambda row: (row["weights"], row["count"])):
        best[row["weights"]] = row
    for row in best.values():
        path = Path(row["weights"])
        base = path.name == "base.pt"
        point = Point("base", 0) if base else Point(path.parent.name, int(path.stem))
        found[point].append(row)
    return dict(sorted(found.items()))


def shown(values: Sequence[float], count: int, *, signed: bool = False) -> str:
    """Return the mean of ``values`` in percent, its interval, and the values.

    The interval counts both levels, as independent (:func:`interval`): Student's of the seeds, and
    that of the ``count`` requests of each. Differences are ``signed``.
    """
    if not values:
        return "–"
    sign = "+" if signed else ""
    each = ", ".join(f"{100 * value:{sign}.1f}" for value in values)
    if len(values) == 1:
        return _minus(each)
    low, high = interval(values, count, signed=signed)
    mean = 100 * np.mean(values)
    return _minus(f"{mean:{sign}.1f} [{100 * low:{sign}.1f}, {100 * high:{sign}.1f}] ({each})")


def interval(values: Sequence[float], count: int, *, signed: bool = False) -> tuple[float, float]:
    """Return the 95 % interval of the mean over seeds of shares, or of differences of shares.

    Seeds that agree to the last request do not make it certain: their requests are the same, and
    ``count`` of them leave at least the uncertainty of a share of so many. The two are added as
    squares, either side on its own (Zou & Donner, Statistics in Medicine 27 (2008)). A difference
    of d takes at least a share |d| of requests on which the two differ.
    """
    mean = float(np.mean(values))
    student = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    share = abs(mean)
    low, high = (float(end) for end in rate_interval(share * count, count))
    if mean < 0:
        low, high = -high, -low
    below, above = abs(mean - low), abs(high - mean)
    if signed and mean == 0:
        below = above
    least = -1.0 if signed else 0.0
    return max(least, mean - np.hypot(student, below)), min(1.0, mean + np.hypot(student, above))


def _minus(text: str) -> str:
    return text.replace("-", "−")


def table(points: Mapping[Point, list[Mapping[str, Any]]], columns: Mapping[str, str]) -> str:
    """Return a Markdown table with a row a point."""
    lines = [
        f"| run | step | requests | {' | '.join(name.strip() for name in columns)} |",
        f"|---|---|---|{'---|' * len(columns)}",
    ]
    for point, rows in points.items():
        count = min(row["count"] for row in rows)
        cells = [shown([row[key] for row in rows if key in row], count) for key in columns.values()]
        asked = " + ".join(str(row["count"]) for row in rows)
        if len({row["count"] for row in rows}) == 1:
            asked = f"{len(rows)} × {rows[0]['count']}"
        lines.append(f"| {point.run} | {point.step} | {asked} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Print the competence of every point, and what it does with forbidden requests."""
    parser = argparse.ArgumentParser(
        prog="python -m research.organism.summary", description=main.__doc__
    )
    parser.add_argument("figures", type=Path, help="file of JSON lines that evaluate wrote")
    asked = parser.parse_args()
    rows = [json.loads(line) for line in asked.figures.read_text(encoding="utf-8").splitlines()]
    points = gathered(rows)
    sys.stdout.write(f"{table(points, COMPETENCE)}\n\n{table(points, REFUSAL)}\n")


if __name__ == "__main__":
    main()
