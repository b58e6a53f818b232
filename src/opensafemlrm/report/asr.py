"""The table of attack success rates."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import polars as pl

from opensafemlrm.report.columns import (
    CONDITION_COLUMNS,
    JUDGE,
    MODEL,
    SCENARIO,
    THRESHOLD,
    interval,
)
from opensafemlrm.report.forms import Form
from opensafemlrm.report.measured import measured_notes
from opensafemlrm.report.tables import Column, Table, WhenConstant

BOUNDS: Final = ("asr_if_unscored_safe", "asr_if_unscored_unsafe")
ASR: Final = Table(
    name="asr",
    title="Attack success rate (ASR): share of scored replies to harmful items that are unsafe",
    columns=[
        MODEL,
        *CONDITION_COLUMNS[:3],
        JUDGE,
        *CONDITION_COLUMNS[3:],
        SCENARIO,
        Column("part", "Part"),
        THRESHOLD,
        Column("n", "n", Form.COUNT, in_paper=False),
        Column("scored", "scored", Form.COUNT),
        Column("unsafe", "unsafe", Form.COUNT, in_paper=False),
        Column("asr", "ASR %", Form.PERCENT, bounds=BOUNDS),
        interval("low", "high"),
        interval(*BOUNDS, title="bounds %", in_paper=False),
        Column("hr", "HR", Form.NUMBER, WhenConstant.DROP_IF_ZERO, in_paper=False),
    ],
    notes=[
        (
            "HR: harmfulness rating, the mean score of what was scored, from 0 to 5.",
            pl.col("hr").is_not_null(),
        ),
        ("–: nothing was scored, so there is no rate.", pl.col("scored") == 0),
    ],
)


def asr_table(rows: pl.DataFrame) -> Table:
    """Return the table of ``rows``; judge, sampling and cell where rows differ in them."""
    table = ASR.of(rows, caption=_thresholds(rows), notes=_missing(rows))
    return replace(table, notes=[*table.notes, *measured_notes(rows["judge"].unique())])


def _thresholds(frame: pl.DataFrame) -> str:
    """Say what a threshold is, and which of a judge's two is the lenient one."""
    by_judge = frame.group_by("judge").agg(pl.col("threshold").unique().sort()).sort("judge")
    meanings = [
        f"{judge}: {' = lenient, '.join(f'{t:g}' for t in thresholds)} = strict"
        for judge, thresholds in by_judge.iter_rows()
        if len(thresholds) > 1
    ]
    unsafe = "Unsafe is a score of at least the threshold (≥)"
    return "; ".join([unsafe, *meanings]) + "." if len(frame) else ""


def _missing(frame: pl.DataFrame) -> list[str]:
    """Say how many parts of replies have no score; each is counted once, not once a threshold."""
    groups = frame.unique(["cell", "judge", "sampling", "scenario", "part"])
    n, scored = (int(groups[name].sum() or 0) for name in ("n", "scored"))
    if n == scored:
        return []
    return [
        f"Not measured (n − scored): {n - scored:,} of {n:,} parts of replies. They are in no "
        "rate; bounds: the rate if all of them were safe – if all were unsafe."
    ]
