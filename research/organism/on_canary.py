"""A study over seeds, as Markdown: ``python -m research.organism.on_canary STORE``.

The models of the store are called ``NAME-SEED`` (their alias in the study), those of a drift series
``step-STEP-seed-SEED``. Each figure is the mean over seeds with Student's t interval, and the
seeds' own values behind it, in percent or in percentage points.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import polars as pl

from opensafemlrm import frame
from opensafemlrm.analysis.asr import asr
from opensafemlrm.analysis.correction import correction
from opensafemlrm.analysis.overrefusal import overrefusal
from opensafemlrm.analysis.tax import tax
from opensafemlrm.judges.canary import CanaryJudge
from opensafemlrm.store import Store
from opensafemlrm.types import Part
from research.organism.summary import shown

THRESHOLD: Final = CanaryJudge.thresholds[0]

Value = tuple[str, str, float | None, int]
"""What stands left in a table, the column, one seed's value (a share or a difference), and of how
many replies it is."""


def without_seed(label: str) -> str:
    """Return the name of a model without its seed."""
    name, _, _ = label.rpartition("-")
    return name.removesuffix("-seed")


def table(title: str, values: Iterable[Value], *, signed: bool = False) -> str:
    """Return a Markdown table of the values of all seeds; what no seed has is a dash."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    counts: dict[tuple[str, str], int] = {}
    columns: dict[str, None] = {}
    for row, column, value, count in values:
        columns[column] = None
        if value is not None:
            found[row][column].append(value)
            counts[row, column] = min(count, counts.get((row, column), count))
    lines = [f"| {title} | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for row, cells in found.items():
        told = (
            shown(cells[column], counts.get((row, column), 0), signed=signed) for column in columns
        )
        lines.append(f"| {row} | {' | '.join(told)} |")
    return "\n".join(lines)


def main() -> None:
    """Print the planned figures of a study."""
    parser = argparse.ArgumentParser(
        prog="python -m research.organism.on_canary", description=__doc__
    )
    parser.add_argument("store", type=Path)
    asked = parser.parse_args()
    with Store.open(asked.store, "read") as store:
        tidy = frame.read(store)
        pairs = frame.pairs(store)
    for part in (Part.FULL, Part.REASONING, Part.ANSWER):
        rates = asr(tidy).filter(part=part, threshold=THRESHOLD)
        values = rates.select("model", "attack", "asr", "scored").iter_rows()
        _print(f"ASR, {part}", ((without_seed(model), *more) for model, *more in values))
    answers = tax(tidy, pairs, mean="micro").filter(part=Part.ANSWER, threshold=THRESHOLD)
    rows_of = answers.select("model", "base", "attack", "difference", "scored_model").rows()
    _print(
        "tax, answer",
        ((f"{without_seed(m)} − {without_seed(b)}", *more) for m, b, *more in rows_of),
        signed=True,
    )
    taxes = tax(tidy, pairs, by="scenario").filter(part=Part.FULL, threshold=THRESHOLD)
    columns = ("level", "scenario", "model", "base", "attack", "difference", "scored_model")
    rows = taxes.select(columns).rows()
    names = [(*row[:2], without_seed(row[2]), without_seed(row[3]), *row[4:]) for row in rows]
    pooled = (
        (f"{model} − {base}", attack, difference, count)
        for level, _, model, base, attack, difference, count in names
        if level == "micro"
    )
    _print("tax, full", pooled, signed=True)
    by_scenario = (
        (scenario, f"{model}, {attack}", difference, count)
        for level, scenario, model, base, attack, difference, count in names
        if (level, model, base) == ("scenario", "reasoner", "base")
    )
    _print("tax by scenario", by_scenario, signed=True)
    unsafe = pl.col("corrected") + pl.col("both_unsafe")
    corrected = (
        correction(tidy)
        .filter(threshold=THRESHOLD)
        .select("model", "attack", "self_correction", unsafe)
    )
    _print("self-correction", ((without_seed(m), *more) for m, *more in corrected.iter_rows()))
    # Of answers alone: whether a trace declines is not asked.
    refused = overrefusal(tidy).filter(part=Part.ANSWER).select("model", "attack", "rate", "known")
    _print("over-refusal", ((without_seed(m), *more) for m, *more in refused.iter_rows()))


def _print(title: str, values: Iterable[Value], *, signed: bool = False) -> None:
    values = list(values)
    if values:
        sys.stdout.write(f"{table(title, values, signed=signed)}\n\n")


if __name__ == "__main__":
    main()
