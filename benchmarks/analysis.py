"""All tables on a synthetic frame: time and peak memory.

    python benchmarks/analysis.py [--rows 1000000] [--repeats 4]

The frame has nine models in five pairs, two datasets of ten scenarios, as many attacks as it takes
and three parts: one row for each sample and part, as `frame.read` returns it. Each table is made as
`safemlrm table` makes it, rendered as text and as JSON. With --store DIR the frame is read from a
store instead.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import numpy as np
import polars as pl

from opensafemlrm import frame as frames
from opensafemlrm.analysis.asr import asr
from opensafemlrm.analysis.blindspots import blindspots, consistency
from opensafemlrm.analysis.corrected import corrected_asr
from opensafemlrm.analysis.correction import correction
from opensafemlrm.analysis.cost import cost
from opensafemlrm.analysis.coverage import reply_outcomes, verdict_outcomes
from opensafemlrm.analysis.defense import defense_effects
from opensafemlrm.analysis.grouped import grouped
from opensafemlrm.analysis.overrefusal import balance, overrefusal
from opensafemlrm.analysis.tax import tax
from opensafemlrm.report import Format, render_all
from opensafemlrm.report.blindspots import GROUPED, blindspot_tables
from opensafemlrm.report.labels import calibrated_table
from opensafemlrm.report.outcomes import COST, coverage_tables
from opensafemlrm.report.rates import CORRECTION, TAX, asr_table, defense_table, overrefusal_tables
from opensafemlrm.store import Store

BASES = ["base-a", "base-b", "base-c", "base-d"]
PAIRS = {f"reasoner-{i}": BASES[min(i, 3)] for i in range(5)}
PARTS = ["reasoning", "answer", "full"]
DATASETS = ["one", "two"]
ITEMS = 1_000


def synthetic(rows: int, repeats: int) -> pl.DataFrame:
    """Return a frame of about so many rows."""
    random = np.random.default_rng(0)
    models = [*PAIRS, *BASES]
    per_attack = len(models) * len(DATASETS) * ITEMS * repeats * len(PARTS)
    attacks = pl.DataFrame({"attack": [f"attack-{i}" for i in range(-(-rows // per_attack))]})
    items = pl.DataFrame({"number": range(ITEMS)})
    grid = (
        pl.DataFrame({"model": models})
        .join(pl.DataFrame({"dataset": DATASETS}), how="cross")
        .join(attacks, how="cross")
        .with_row_index("cell_number")
        .join(items, how="cross")
        .join(pl.DataFrame({"repeat": range(repeats)}), how="cross")
        .with_row_index("sample_number")
        .join(pl.DataFrame({"part": PARTS}), how="cross")
    )
    n = len(grid)
    score = random.integers(0, 6, n).astype(np.float64)
    unscored = random.random(n) < 0.03
    number = pl.col("number")
    key = (number + 1_000_000 * (pl.col("dataset") == "two")).cast(pl.String)
    frame = grid.with_columns(
        source=pl.lit("run"),
        cell=pl.format("{}", pl.col("cell_number")).str.pad_start(32, "0"),
        sample=pl.format("{}", pl.col("sample_number")).str.pad_start(32, "0"),
        simulated=pl.lit(value=True),
        defense=pl.lit("none"),
        sampling=pl.lit("temperature=0.0, max_tokens=4096, seed=0"),
        judge=pl.lit("policy-rubric"),
        item=key,
        item_key=key.str.pad_start(32, "0"),
        scenario=pl.format("{}-scenario", number % 10),
        expected=pl.when(number % 8 == 0).then(pl.lit("benign")).otherwise(pl.lit("harmful")),
        status=pl.lit("ok"),
        reasoning_status=pl.lit("closed"),
        score=pl.when(pl.lit(pl.Series(unscored))).then(None).otherwise(pl.lit(pl.Series(score))),
        refusal=pl.lit(pl.Series(score == 0)),
        threshold_lenient=pl.lit(4.0),
        threshold_strict=pl.lit(5.0),
        reason=pl.when(pl.lit(pl.Series(unscored))).then(pl.lit("unparsed")),
        input_tokens=pl.lit(300),
        output_tokens=pl.lit(500),
        latency=pl.lit(1.5),
        retries=pl.lit(0),
        judge_requests=pl.lit(1),
        judge_input_tokens=pl.lit(900),
        judge_output_tokens=pl.lit(80),
    ).with_columns(
        label=pl.when(pl.col("score").is_null())
        .then(pl.lit("unscored"))
        .when(pl.col("score") >= 4)
        .then(pl.lit("unsafe"))
        .otherwise(pl.lit("safe"))
    )
    return frame.select(
        (pl.col(name) if name in frame.columns else pl.lit(None).alias(name)).cast(dtype)
        for name, dtype in frames.SCHEMA.items()
    )


def _since(wall: float, cpu: float) -> str:
    return f"{time.perf_counter() - wall:6.2f} s, {time.process_time() - cpu:6.2f} s of CPU"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--store", type=Path)
    options = parser.parse_args()
    started = time.perf_counter()
    if options.store:
        with Store.open(options.store) as store:
            frame = frames.read(store)
            pairs = frames.pairs(store).rows()
    else:
        frame = synthetic(options.rows, options.repeats)
        pairs = pl.DataFrame({"reasoner": [*PAIRS], "base": [*PAIRS.values()]})
    print(f"{len(frame):,} rows, {frame.estimated_size('mb'):,.0f} MB", end=", ")
    print(f"{'read' if options.store else 'made'} in {time.perf_counter() - started:.1f} s")
    judge = frame["judge"].drop_nulls()[0]
    cells = {
        "true_positives": 90,
        "false_positives": 5,
        "true_negatives": 95,
        "false_negatives": 10,
    }
    calibration = pl.DataFrame(
        [{"judge": judge, "labels": "l", "scenario": "", "threshold": 4.0} | cells]
    )
    makers = {
        "asr": lambda: [asr_table(asr(frame))],
        "asr by scenario": lambda: [asr_table(asr(frame, by="scenario"))],
        "tax": lambda: [TAX.of(tax(frame, pairs))],
        "tax by scenario": lambda: [TAX.of(tax(frame, pairs, by="scenario"))],
        "blindspots": lambda: blindspot_tables(
            scenarios := blindspots(frame, pairs), consistency(scenarios)
        ),
        "grouped": lambda: [
            GROUPED.of(grouped(frame, *(sorted(set(pairs[name])) for name in pairs.columns)))
        ],
        "correction": lambda: [CORRECTION.of(correction(frame))],
        "correction by scenario": lambda: [CORRECTION.of(correction(frame, by="scenario"))],
        "overrefusal": lambda: overrefusal_tables(overrefusal(frame), balance(frame)),
        "defense": lambda: [defense_table(defense_effects(frame))],
        "calibrated": lambda: [calibrated_table(corrected_asr(frame, calibration))],
        "cost": lambda: [COST.of(cost(frame))],
        "coverage": lambda: coverage_tables(reply_outcomes(frame), verdict_outcomes(frame)),
    }
    whole = time.perf_counter(), time.process_time()
    for name, make in makers.items():
        started = time.perf_counter(), time.process_time()
        tables = make()
        for to in (Format.TEXT, Format.JSON):
            render_all(tables, to)
        rows = sum(len(table.rows) for table in tables)
        print(f"{name:24} {rows:>7,} rows {_since(*started)}")
    print(f"{'all tables':24} {'':12} {_since(*whole)}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"peak memory: {peak / 1024:,.0f} MiB")


if __name__ == "__main__":
    main()
