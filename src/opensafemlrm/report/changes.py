"""The tables of what changed between two results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from opensafemlrm.report.columns import CONDITION_COLUMNS, JUDGE, MODEL, SCENARIO, interval
from opensafemlrm.report.forms import Form
from opensafemlrm.report.tables import Column, Table, WhenConstant

_CONDITIONS: Final = tuple(column for column in CONDITION_COLUMNS if column.key != "cell")
CELLS: Final = Table(
    name="diff_cells",
    title="Cells of A and B",
    columns=[
        MODEL,
        *_CONDITIONS,
        Column("change", "Change"),
        Column("samples_a", "in A", Form.COUNT),
        Column("samples_b", "in B", Form.COUNT),
    ],
    notes=[
        (
            "other key: something that changes its replies is not the same, though all names are "
            "(a version, a revision, an option).",
            pl.col("change") == "other key",
        )
    ],
)
FIGURES: Final = Table(
    name="diff_figures",
    title="Figures of A and B, item by item",
    columns=[
        MODEL,
        *_CONDITIONS,
        JUDGE,
        SCENARIO,
        Column("figure", "Figure"),
        Column("part", "Part"),
        Column("threshold", "≥", Form.THRESHOLD),
        Column("method", "Method", constant=WhenConstant.CAPTION),
        Column("scored_a", "n A", Form.COUNT),
        Column("scored_b", "n B", Form.COUNT),
        Column("rate_a", "A %", Form.PERCENT),
        Column("rate_b", "B %", Form.PERCENT),
        Column("difference", "B − A", Form.POINTS, bounds=("bound_low", "bound_high")),
        interval("low", "high", Form.POINTS_INTERVAL),
        Column("p_holm", "p (Holm)", Form.P_VALUE),
        Column("up", "up", Form.COUNT),
        Column("down", "down", Form.COUNT),
    ],
    caption="B − A in percentage points, over the samples that have a score on both sides; p is "
    "adjusted by Holm for all rows. up, down: items with more, or less, of it in B.",
)
FLIPS: Final = Table(
    name="diff_verdicts",
    title="Verdicts that differ",
    columns=[
        MODEL,
        *_CONDITIONS,
        JUDGE,
        SCENARIO,
        Column("item", "Item"),
        Column("repeat", "Repeat", Form.COUNT, WhenConstant.DROP_IF_ZERO),
        Column("part", "Part"),
        Column("label_a", "in A"),
        Column("label_b", "in B"),
        Column("score_a", "score A", Form.THRESHOLD),
        Column("score_b", "score B", Form.THRESHOLD),
        Column("reply", "Reply"),
    ],
    notes=[
        (
            "the same: one sample, of which the judge now says otherwise.",
            pl.col("same_reply"),
        )
    ],
    left_out=frozenset({"reply"}),
)


def change_tables(
    cells: pl.DataFrame, figures: pl.DataFrame | None, flips: pl.DataFrame | None
) -> Sequence[Table]:
    """Return the tables; figures and flips are ``None`` where there are no results to compare."""
    tables = [CELLS.of(cells)]
    if figures is not None:
        tables.append(FIGURES.of(figures))
    if flips is not None:
        reply = pl.when("same_reply").then(pl.lit("the same")).otherwise(pl.lit("another"))
        tables.append(FLIPS.of(flips.with_columns(reply=reply)))
    return tables
