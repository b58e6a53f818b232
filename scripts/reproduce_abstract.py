"""The figures of SafeMLRM's abstract, from the score histograms that were published with it.

    python scripts/reproduce_abstract.py path/to/statistic_results

Prints the tables of docs/reproduction.md: for each setting, threshold and grouping of the models,
what the histograms give in place of the abstract's figures (full response).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Final

import numpy as np

from opensafemlrm import frame as frames
from opensafemlrm.analysis.asr import asr
from opensafemlrm.analysis.grouped import GroupedRow, grouped
from opensafemlrm.interop.opensafemlrm import PAIRS, import_results
from opensafemlrm.store import Store

MODELS: Final = [model for model, _ in PAIRS]
BASES: Final = list(dict.fromkeys(base for _, base in PAIRS))
LLAMA: Final = ("Mulberry-Llama-11B", "Llama-3.2-11B-Vision-Instruct")
GROUPS: Final = {
    "5 over 4": (MODELS, BASES),
    "4 over 3": ([m for m in MODELS if m not in LLAMA], [b for b in BASES if b not in LLAMA]),
}
ILLEGAL: Final = "01-Illegal_Activitiy"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Store.open(folder, "create") as store:
        import_results(options.results, store)
        frame = frames.read(store)
    pooled = {
        (row.model, row.attack, row.threshold): row.asr or 0.0
        for row in asr(frame)
        if row.part == "full"
    }
    print(
        "| attack | ≥ | group | models % | bases % | points (macro) | points (micro) | relative |"
    )
    print("|:--|--:|:--|--:|--:|--:|--:|--:|")
    ratios = []
    for name, (models, bases) in GROUPS.items():
        rows = [row for row in grouped(frame, models, bases) if row.part == "full"]
        for mean in (row for row in rows if row.scenario == "all"):
            key = (mean.attack, mean.threshold)
            micro = [np.mean([pooled[one, *key] for one in side]) for side in (models, bases)]
            setting = f"| {mean.attack} | {mean.threshold:g} | {name} |"
            print(
                f"{setting} {_rate(mean.asr_models)} | {_rate(mean.asr_bases)} | "
                f"{_points(mean)} | {100 * (micro[0] - micro[1]):+.1f} | "
                f"{100 * ((mean.ratio or np.nan) - 1):+.1f} % |"
            )
            ratios.append(setting + _ratios([r for r in rows if (r.attack, r.threshold) == key]))
    print(
        "\n| attack | ≥ | group | Illegal Activity | mean of ratios | without it | ratio of means |"
    )
    print("|:--|--:|:--|--:|--:|--:|--:|")
    print("\n".join(ratios))


def _ratios(rows: list[GroupedRow]) -> str:
    scenarios = {row.scenario: row for row in rows}
    mean = scenarios.pop("all")
    illegal = scenarios[ILLEGAL]
    every = [row.ratio for row in scenarios.values() if row.ratio is not None]
    others = [r.ratio for r in scenarios.values() if r is not illegal and r.ratio is not None]
    return (
        f" {illegal.ratio:.2f} ({illegal.ratio_low:.2f}–{illegal.ratio_high:.2f}) | "
        f"{np.mean(every):.2f} | {np.mean(others):.2f} | {mean.ratio:.2f} |"
    )


def _rate(rate: float | None) -> str:
    return "–" if rate is None else f"{100 * rate:.1f}"


def _points(row: GroupedRow) -> str:
    if row.difference is None or row.low is None or row.high is None:
        return "–"
    return f"{100 * row.difference:+.1f} ({100 * row.low:+.1f} to {100 * row.high:+.1f})"


if __name__ == "__main__":
    main()
