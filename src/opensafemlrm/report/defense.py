"""The table of what defenses change."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import polars as pl

from opensafemlrm.report.columns import CONDITION_COLUMNS, JUDGE_COLUMNS, MODEL, interval
from opensafemlrm.report.forms import Form
from opensafemlrm.report.tables import Column, Table, WhenConstant

_HAS_UTILITY: Final = pl.col("utility").is_not_null()


def _figure(name: str, title: str) -> tuple[Column, Column]:
    """Return the columns of a rate and of its change."""
    why = f"{name}_withheld"
    change = f"{name}_change"
    ends = [(f"{figure}_bound_low", f"{figure}_bound_high") for figure in (name, change)]
    return (
        Column(name, title, Form.PERCENT, bounds=ends[0], withheld=why),
        Column(change, "change", Form.POINTS, bounds=ends[1], withheld=why),
    )


DEFENSE: Final = Table(
    name="defense",
    title="What a defense changes, against the same model without it",
    columns=[
        MODEL,
        *[column for column in CONDITION_COLUMNS if column.key != "defense"],
        *JUDGE_COLUMNS,
        # Last of the names, so that the defenses of one setting stand below each other.
        Column("defense", "Defense"),
        *_figure("asr", "ASR %"),
        interval("asr_change_low", "asr_change_high", Form.POINTS_INTERVAL),
        *(replace(column, in_paper=False) for column in _figure("overridden", "US %")),
        Column(
            "self_correction",
            "SC %",
            Form.PERCENT,
            bounds=("self_correction_bound_low", "self_correction_bound_high"),
            withheld="self_correction_withheld",
            in_paper=False,
        ),
        *_figure("overrefusal", "OR %"),
        interval(
            "overrefusal_change_low",
            "overrefusal_change_high",
            Form.POINTS_INTERVAL,
            in_paper=False,
        ),
        *(replace(column, needs=_HAS_UTILITY) for column in _figure("utility", "util. %")),
        Column("requests", "req.", Form.NUMBER),
        Column("pareto", "front", in_paper=False),
        Column("beaten_by", "beaten by", constant=WhenConstant.DROP_IF_ZERO, in_paper=False),
    ],
    caption="change: defended − undefended, in percentage points; below 0 in ASR the defense "
    "makes safer, above 0 in OR it costs help. US: unsafe reasoning and a safe answer, of all "
    "replies; SC: self-correction, US of those with unsafe reasoning; OR: over-refusal, of benign "
    "items; req.: requests a sample, those of guards and scorers included. Rates are over all "
    "scored replies, a change is over the items that have the figure on both sides.",
    notes=[
        "front: True where no other defense of the model is as good in ASR, over-refusal, requests "
        "and, if there is an accuracy set, utility and better in one; beaten by: one that is "
        "surely better. SC has no change: it is of other replies with a defense than without. –: "
        "not measured, such as over-refusal where there are no benign items.",
        (
            "util.: right answers of the study's accuracy sets without an attack, by rule.",
            _HAS_UTILITY,
        ),
    ],
)


def defense_table(rows: pl.DataFrame) -> Table:
    """Return the table of ``rows``: every defense beside the undefended model."""
    measured = (pl.col("part") != "reasoning") | pl.col("asr").is_not_null()
    return DEFENSE.of(rows.filter(measured))
