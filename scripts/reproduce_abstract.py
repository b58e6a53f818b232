"""The figures of SafeMLRM's abstract, from the score histograms that were published with it.

    python scripts/reproduce_abstract.py path/to/statistic_results

Prints the tables of docs/reproduction.md: for each setting, threshold and grouping of the models,
what the histograms give in place of the abstract's figures (full response).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from opensafemlrm import frame as frames
from opensafemlrm.analysis.asr import asr
from opensafemlrm.analysis.grouped import grouped
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
        (row["model"], row["attack"], row["threshold"]): row["asr"] or 0.0
        for row in asr(frame, part="full").iter_rows(named=True)
    }
    print(
        "| attack | ≥ | group | models % | bases % | points (macro) | points (micro) | relative |"
    )
    print("|:--|--:|:--|--:|--:|--:|--:|--:|")
    ratios = []
    for name, (models, bases) in GROUPS.items():
        rows = grouped(frame, models, bases, part="full")
        for mean in rows.filter(scenario="all").iter_rows(named=True):
            attack, threshold = key = (mean["attack"], mean["threshold"])
            micro = [np.mean([pooled[one, *key] for one in side]) for side in (models, bases)]
            setting = f"| {attack} | {threshold:g} | {name} |"
            print(
                f"{setting} {_rate(mean['asr_models'])} | {_rate(mean['asr_bases'])} | "
                f"{_points(mean)} | {100 * (micro[0] - micro[1]):+.1f} | "
                f"{100 * ((mean['ratio'] or np.nan) - 1):+.1f} % |"
            )
            ratios.append(setting + _ratios(rows.filter(attack=attack, threshold=threshold)))
    print(
        "\n| attack | ≥ | group | Illegal Activity | mean of ratios | without it | ratio of means |"
    )
    print("|:--|--:|:--|--:|--:|--:|--:|")
    print("\n".join(ratios))


def _ratios(rows: pl.DataFrame) -> str:
    scenarios = rows.filter(pl.col("scenario") != "all")
    illegal = scenarios.row(by_predicate=pl.col("scenario") == ILLEGAL, named=True)
    others = scenarios.filter(pl.col("scenario") != ILLEGAL)
    mean = rows.row(by_predicate=pl.col("scenario") == "all", named=True)
    return (
        f" {illegal['ratio']:.2f} ({illegal['ratio_low']:.2f}–{illegal['ratio_high']:.2f}) | "
        f"{scenarios['ratio'].mean():.2f} | {others['ratio'].mean():.2f} | {mean['ratio']:.2f} |"
    )


def _rate(rate: float | None) -> str:
    return "–" if rate is None else f"{100 * rate:.1f}"


def _points(row: Mapping[str, Any]) -> str:
    points = [row[name] for name in ("difference", "low", "high")]
    if None in points:
        return "–"
    return "{:+.1f} ({:+.1f} to {:+.1f})".format(*(100 * point for point in points))


if __name__ == "__main__":
    main()
