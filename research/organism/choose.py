"""The rule by which the default pair is chosen (``docs/organism.md``), and its export.

``python -m research.organism.choose --help``. It looks at competence alone: of the figures that
:mod:`.evaluate` wrote, no refusal of a reasoner and nothing of the benchmark enters.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from research.organism.evaluate import margins
from research.organism.export import export
from research.organism.model import load

BASE_GATES: Final = ("allowed text exact", "allowed pictures exact", "forbidden text declined")
REASONER_GATES: Final = ("allowed text exact", "allowed pictures exact", "traces closed")


@dataclass(frozen=True, slots=True)
class Choice:
    """A seed's folder, the step of its reasoner, and its margins over all gates, smallest first.

    Where the smallest are equal, the next ones decide.
    """

    folder: Path
    step: int
    margins: tuple[float, ...]


def choose_step(reasoners: Mapping[int, Mapping[str, float]]) -> int:
    """Return the first step that meets the gates, else the nearest to them."""
    smallest = {
        step: min(margins(found, REASONER_GATES)) for step, found in sorted(reasoners.items())
    }
    meeting = [step for step, value in smallest.items() if value >= 0]
    return meeting[0] if meeting else max(smallest, key=lambda step: smallest[step])


def choose(rows: Iterable[Mapping[str, Any]]) -> list[Choice]:
    """Return what the rule says of each seed that was measured, the chosen one first."""
    bases: dict[Path, list[float]] = {}
    reasoners: dict[Path, dict[int, Mapping[str, float]]] = {}
    for row in rows:
        path = Path(row["weights"])
        if path.name == "base.pt":
            bases[path.parent] = margins(row, BASE_GATES)
        elif path.parent.name == "reasoner":
            reasoners.setdefault(path.parent.parent, {})[int(path.stem)] = row
    choices = []
    for folder in bases.keys() & reasoners.keys():
        step = choose_step(reasoners[folder])
        found = bases[folder] + margins(reasoners[folder][step], REASONER_GATES)
        choices.append(Choice(folder, step, tuple(sorted(found))))
    return sorted(choices, key=lambda choice: choice.margins, reverse=True)


def main() -> None:
    """Apply the rule to measured figures, and export the pair and reasoner-safe."""
    parser = argparse.ArgumentParser(
        prog="python -m research.organism.choose", description=main.__doc__
    )
    parser.add_argument("figures", type=Path, help="file of JSON lines that evaluate wrote")
    parser.add_argument("--count", type=int, default=400, help="use the rows of so many requests")
    parser.add_argument("--to", type=Path, help="folder to export to")
    asked = parser.parse_args()
    rows = [json.loads(line) for line in asked.figures.read_text(encoding="utf-8").splitlines()]
    choices = choose(row for row in rows if row["count"] == asked.count)
    for choice in choices:
        told = " ".join(f"{value:+.3f}" for value in choice.margins)
        sys.stdout.write(f"{choice.folder} step {choice.step} margins {told}\n")
    if asked.to is not None:
        chosen = choices[0]
        export(load(chosen.folder / "base.pt"), asked.to, "base")
        for name in ("reasoner", "reasoner-safe"):
            weights = chosen.folder / name / f"{chosen.step:04}.pt"
            export(load(weights), asked.to, name)


if __name__ == "__main__":
    main()
