"""The table of the reasoning tax."""

from __future__ import annotations

from typing import Final

import polars as pl

from opensafemlrm.report.columns import (
    BASE,
    CONDITION_COLUMNS,
    JUDGE_COLUMNS,
    MODEL,
    SCENARIO,
    interval,
)
from opensafemlrm.report.forms import Form
from opensafemlrm.report.tables import Column, Table, WhenConstant

_METHOD: Final = pl.col("method")
_UNCOMPARED: Final = (pl.col("n_model") != pl.col("scored_model")) | (
    pl.col("n_base") != pl.col("scored_base")
)
"""Samples that are in no comparison leave bounds."""

MODEL_BOUNDS: Final = ("asr_model_if_unscored_safe", "asr_model_if_unscored_unsafe")
BASE_BOUNDS: Final = ("asr_base_if_unscored_safe", "asr_base_if_unscored_unsafe")
TAX: Final = Table(
    name="tax",
    title="Reasoning tax: how much more often a reasoning model is unsafe than its base",
    columns=[
        MODEL,
        BASE,
        *CONDITION_COLUMNS,
        *JUDGE_COLUMNS,
        SCENARIO,
        Column("level", "Mean", constant=WhenConstant.CAPTION),
        Column("method", "Method", constant=WhenConstant.CAPTION, in_paper=False),
        Column("scored_model", "n", Form.COUNT),
        Column("scored_base", "n base", Form.COUNT, in_paper=False),
        Column("asr_model", "ASR %", Form.PERCENT, bounds=MODEL_BOUNDS),
        Column("asr_base", "base %", Form.PERCENT, bounds=BASE_BOUNDS),
        Column("difference", "tax", Form.POINTS, bounds=("bound_low", "bound_high")),
        interval("low", "high", Form.POINTS_INTERVAL),
        Column("ratio", "ratio", Form.RATIO, in_paper=False),
        interval("ratio_low", "ratio_high", Form.RATIO_INTERVAL, "ratio CI", in_paper=False),
        Column("p_value", "p", Form.P_VALUE),
        Column(
            "bound_interval_low",
            "bounds",
            Form.POINTS_INTERVAL,
            upper="bound_interval_high",
            needs=_UNCOMPARED,
            in_paper=False,
        ),
    ],
    caption="tax: ASR minus the base's, in percentage points; above 0 the reasoning model is "
    "less safe. n: samples whose scores are compared.",
    notes=[
        (
            "paired: the same items and repeats of both models; mixed: in some scenarios only.",
            _METHOD.is_in(["paired", "mixed"]),
        ),
        (
            "unpaired: only counts are known, or hardly an item in common.",
            _METHOD == "unpaired",
        ),
        ("none: one of the two has no score; there is nothing to compare.", _METHOD == "none"),
        (
            "micro: every sample weighs the same; macro: every scenario does.",
            (pl.col("level") == "micro").any() & (pl.col("level") == "macro").any(),
        ),
        (
            "bounds: the 95 % CI of the tax over every sample, whatever the unscored ones hold.",
            _UNCOMPARED,
        ),
        (
            "ratio –: the base has no unsafe reply, so that only a lower end (≥) is known.",
            pl.col("ratio").is_null() & pl.col("ratio_low").is_not_null(),
        ),
    ],
)
