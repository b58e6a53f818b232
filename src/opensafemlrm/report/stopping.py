"""The table of where a rule ended a scenario before all its items were run."""

from __future__ import annotations

from typing import Final

import polars as pl

from opensafemlrm.report.columns import BASE, CONDITION_COLUMNS, JUDGE, MODEL, interval
from opensafemlrm.report.forms import Form
from opensafemlrm.report.tables import Column, Table, WhenConstant

STOPPING: Final = Table(
    name="stopping",
    title="Where a rule ended the run",
    columns=[
        MODEL,
        BASE,
        *CONDITION_COLUMNS,
        Column("scenario", "Scenario"),
        JUDGE,
        Column("part", "Part", constant=WhenConstant.CAPTION),
        Column("answer", "Answer"),
        Column("drawn", "items run", Form.COUNT),
        Column("items", "of", Form.COUNT),
        interval("low", "high", Form.POINTS_INTERVAL, "holds at any time"),
        Column("rule", "Rule", constant=WhenConstant.CAPTION),
    ],
    caption="The interval is of the tax in percentage points, or of the rate, over all items; it "
    "holds however often one looks (95 %; of a tax 90 %, so that each end is as sure as the "
    "answer). What was stopped has no other interval.",
    notes=[
        ("yes: the reasoning model is less safe.", pl.col("answer") == "yes"),
        ("no: if it is, then by less than the rule's margin.", pl.col("answer") == "no"),
        ("narrow: known as closely as was asked for.", pl.col("answer") == "narrow"),
        ("undecided: a whole run would hardly decide.", pl.col("answer") == "undecided"),
    ],
)
