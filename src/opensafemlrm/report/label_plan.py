"""The tables of what to label next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from opensafemlrm.report.columns import BASE, CONDITION_COLUMNS, JUDGE_COLUMNS, MODEL
from opensafemlrm.report.forms import Form
from opensafemlrm.report.tables import Column, Table, WhenConstant

PLAN: Final = Table(
    name="plan",
    title="How many labels the corrected figures need",
    columns=[
        MODEL,
        BASE,
        *[column for column in CONDITION_COLUMNS if column.key != "sampling"],
        *JUDGE_COLUMNS,
        Column("items", "items", Form.COUNT),
        Column("labelled", "labelled", Form.COUNT),
        Column("within", "± now", Form.PERCENT),
        Column("wanted", "± wanted", Form.PERCENT, WhenConstant.CAPTION),
        Column("needed", "labels for it", Form.COUNT),
        Column("next_labels", "after this plan", Form.COUNT),
        Column("next_within", "± then", Form.PERCENT),
    ],
    caption="±: half the 95 % interval over these very items, in points, expected from the labels "
    "there are; before there are any, from a guess at how often the judge is wrong.",
    notes=[
        (
            "A comparison with a base counts items of which both replies are labelled.",
            pl.col("base").is_not_null(),
        )
    ],
)
SAMPLES: Final = Table(
    name="samples",
    title="What to label next, in this order",
    columns=[Column("place", "#", Form.COUNT), Column("sample", "Reply")],
)


def plan_tables(plan: pl.DataFrame, samples: Sequence[str]) -> list[Table]:
    """Return the table of comparisons, and that of the replies to label, by their keys."""
    order = pl.DataFrame({"sample": samples}, schema={"sample": pl.String})
    order = order.with_row_index("place", offset=1).with_columns(pl.col("place").cast(pl.Int64))
    title = f"What to label next: {len(samples):,} replies, in this order"
    return [PLAN.of(plan), SAMPLES.of(order, title=title)]
