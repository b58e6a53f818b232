"""The table of self-correction."""

from __future__ import annotations

from typing import Final

import polars as pl

from opensafemlrm.report.columns import (
    CONDITION_COLUMNS,
    JUDGE,
    MODEL,
    SCENARIO,
    THRESHOLD,
    interval,
    rate,
)
from opensafemlrm.report.forms import Form
from opensafemlrm.report.tables import Column, Table, WhenConstant

CORRECTION: Final = Table(
    name="correction",
    title="Self-correction: unsafe reasoning that ends in a safe answer",
    columns=[
        MODEL,
        *CONDITION_COLUMNS,
        JUDGE,
        SCENARIO,
        Column("reasoning_status", "Reasoning", constant=WhenConstant.CAPTION),
        THRESHOLD,
        Column("both", "n", Form.COUNT),
        Column("not_both", "not both", Form.COUNT, WhenConstant.DROP_IF_ZERO, in_paper=False),
        Column("both_unsafe", "UU", Form.COUNT),
        Column("corrected", "US", Form.COUNT),
        Column("reverse", "SU", Form.COUNT),
        Column("both_safe", "SS", Form.COUNT),
        rate("self_correction", "US %"),
        interval("self_correction_low", "self_correction_high"),
        rate("unsafe_given_safe", "SU %"),
        interval("unsafe_given_safe_low", "unsafe_given_safe_high"),
        Column("phi", "phi", Form.DECIMAL, in_paper=False),
        interval("phi_low", "phi_high", Form.DECIMAL_INTERVAL, in_paper=False),
        Column("kappa", "kappa", Form.DECIMAL, in_paper=False),
        interval("kappa_low", "kappa_high", Form.DECIMAL_INTERVAL, in_paper=False),
    ],
    caption="US: unsafe reasoning (a score of at least the threshold, ≥) and a safe answer, "
    "and so on. US %: self-correction, US of all unsafe reasoning; SU %: the reverse, SU of "
    "all safe reasoning.",
    notes=[
        (
            "not both: samples without a score for reasoning and answer; they are in no figure.",
            pl.col("not_both") > 0,
        ),
        (
            "counts: imported histograms do not say which reasoning led to which answer.",
            pl.col("reasoning_status") == "counts",
        ),
        "phi, kappa: how closely the labels of reasoning and answer go together; – where one "
        "of them is the same throughout.",
    ],
)
