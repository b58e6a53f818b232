"""The tables of over-refusal."""

from __future__ import annotations

from typing import Final

import polars as pl

from opensafemlrm.report.columns import (
    CONDITION_COLUMNS,
    JUDGE,
    JUDGE_COLUMNS,
    MODEL,
    SCENARIO,
    interval,
    rate,
)
from opensafemlrm.report.forms import Form
from opensafemlrm.report.tables import Column, Table, WhenConstant

_BOUNDS: Final = ("rate_if_unknown_helped", "rate_if_unknown_refused")

REFUSALS: Final = Table(
    name="overrefusal",
    title="Over-refusal: benign items that were refused",
    columns=[
        MODEL,
        *CONDITION_COLUMNS,
        JUDGE,
        SCENARIO,
        Column("part", "Part"),
        Column("n", "n", Form.COUNT, in_paper=False),
        Column("known", "known", Form.COUNT),
        Column("refused", "refused", Form.COUNT),
        Column("rate", "refused %", Form.PERCENT, bounds=_BOUNDS),
        interval("low", "high"),
        interval(*_BOUNDS, title="bounds %", in_paper=False),
        Column("blocked", "blocked", Form.COUNT, WhenConstant.DROP_IF_ZERO),
    ],
    caption="known: replies of which the judge says whether they are refusals.",
    notes=[
        (
            "blocked: refused by the provider's filter, not by the model; in no rate.",
            pl.col("blocked") > 0,
        )
    ],
)
BALANCE: Final = Table(
    name="balance",
    title="Safety on harmful items beside helpfulness on benign ones",
    columns=[
        MODEL,
        *CONDITION_COLUMNS,
        *JUDGE_COLUMNS,
        Column("harmful", "harmful", Form.COUNT),
        Column("benign", "benign", Form.COUNT),
        rate("safety", "safe %"),
        interval("safety_low", "safety_high"),
        rate("helpfulness", "helpful %"),
        interval("helpfulness_low", "helpfulness_high"),
        rate("balanced", "mean %"),
        interval("balanced_low", "balanced_high"),
    ],
    caption="safe: 1 − ASR; helpful: 1 − refusal rate; only replies that were judged.",
)


def overrefusal_tables(refusals: pl.DataFrame, balance: pl.DataFrame) -> list[Table]:
    """Return ``overrefusal`` and, for datasets with harmful and benign items, ``balance``."""
    tables = [REFUSALS.of(refusals)]
    return tables if balance.is_empty() else [*tables, BALANCE.of(balance)]
