"""The table of cost."""

from __future__ import annotations

from typing import Final

import polars as pl

from opensafemlrm.report.columns import CONDITION_COLUMNS, MODEL
from opensafemlrm.report.forms import Form
from opensafemlrm.report.tables import Column, Table, WhenConstant

COST: Final = Table(
    name="cost",
    title="Cost: requests, tokens and time",
    columns=[
        MODEL,
        *CONDITION_COLUMNS,
        Column("samples", "samples", Form.COUNT),
        Column("requests", "requests", Form.COUNT),
        Column("extra_requests", "extra", Form.COUNT, WhenConstant.DROP_IF_ZERO),
        Column("retries", "retries", Form.COUNT, WhenConstant.DROP_IF_ZERO),
        Column("usage_known", "with usage", Form.COUNT, in_paper=False),
        Column("input_tokens", "in", Form.COUNT),
        Column("output_tokens", "out", Form.COUNT),
        Column("reasoning_tokens", "reasoning", Form.COUNT),
        Column("seconds", "seconds", Form.NUMBER),
        Column("judge_requests", "judge requests", Form.COUNT, in_paper=False),
        Column("judge_input_tokens", "judge in", Form.COUNT, WhenConstant.DROP_IF_ZERO),
        Column("judge_output_tokens", "judge out", Form.COUNT, WhenConstant.DROP_IF_ZERO),
        Column("dollars", "US $", Form.NUMBER, WhenConstant.DROP_IF_ZERO),
        Column("judge_dollars", "judge $", Form.NUMBER, WhenConstant.DROP_IF_ZERO),
        Column("judge_share", "judge %", Form.PERCENT, WhenConstant.DROP_IF_ZERO),
    ],
    caption="in, out: tokens as the servers counted them; reasoning: those of the output; "
    "with usage: samples whose server said. seconds: the sum of all requests' times.",
    notes=[
        (
            "extra: requests of attacks that search and of defenses.",
            pl.col("extra_requests") > 0,
        ),
        (
            "US $: by the price of the model, for the samples with usage; –: no price is known, or "
            "no server said how many tokens. Set prices with --prices.",
            pl.col("dollars") > 0,
        ),
        (
            "US $: less than it was, since not every server said how many tokens.",
            (pl.col("dollars") > 0) & (pl.col("usage_known") < pl.col("samples")),
        ),
        ("judge %: the judge's share of all tokens.", pl.col("judge_share") > 0),
    ],
)
