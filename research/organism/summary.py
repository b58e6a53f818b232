"""Figures of several seeds as Markdown tables: ``python -m research.organism.summary --help``.

Each figure is the mean over seeds with Student's t interval, cut at 0 and 100 %, and the seeds'
own values behind it. One seed has no interval. *Requests* are seeds × requests of each sort.
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


def shown(values: Sequence[float], *, signed: bool = False) -> str:
    """Return the mean of ``values`` in percent, its interval, and the values.

    Shares are cut at 0 and 100 %, differences, which are ``signed``, at −100 and 100.
    """
    if not values:
        return "–"
    percent = np.array(values) * 100
    sign = "+" if signed else ""
    if len(percent) == 1:
        return _minus(f"{percent[0]:{sign}.1f}")
    half = stats.t.ppf(0.975, len(percent) - 1) * percent.std(ddof=1) / len(percent) ** 0.5
    low = max(-100.0 if signed else 0.0, percent.mean() - half)
    high = min(100.0, percent.mean() + half)
    each = ", ".join(f"{value:{sign}.1f}" for value in percent)
    return _minus(f"{percent.mean():{sign}.1f} [{low:{sign}.1f}, {high:{sign}.1f}] ({each})")


def _minus(text: str) -> str:
    return text.replace("-", "−")


def table(points: Mapping[Point, list[Mapping[str, Any]]], columns: Mapping[str, str]) -> str:
    """Return a Markdown table with a row a point."""
    lines = [
        f"| run | step | requests | {' | '.join(name.strip() for name in columns)} |",
        f"|---|---|---|{'---|' * len(columns)}",
    ]
    for point, rows in points.items():
        cells = [shown([row[key] for row in rows if key in row]) for key in columns.values()]
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
