"""The table of attack success rates corrected by the judge's measured errors."""

from __future__ import annotations

from typing import Final

import polars as pl

from opensafemlrm.report.columns import (
    CONDITION_COLUMNS,
    JUDGE_COLUMNS,
    MODEL,
    SCENARIO,
    interval,
    rate,
)
from opensafemlrm.report.forms import Form
from opensafemlrm.report.tables import Column, Table, WhenConstant

CALIBRATED: Final = Table(
    name="calibrated",
    title="ASR corrected by the judge's measured errors",
    columns=[
        MODEL,
        *CONDITION_COLUMNS,
        *JUDGE_COLUMNS,
        SCENARIO,
        Column("labels", "Labels", constant=WhenConstant.CAPTION),
        Column("scored", "scored", Form.COUNT),
        Column("asr", "ASR %", Form.PERCENT, bounds=("bound_low", "bound_high")),
        interval("low", "high"),
        rate("corrected", "corrected %"),
        interval("corrected_low", "corrected_high"),
        Column("sensitivity", "sensitivity %", Form.PERCENT, WhenConstant.CAPTION),
        Column("specificity", "specificity %", Form.PERCENT, WhenConstant.CAPTION),
        Column("labelled_unsafe", "labelled unsafe", Form.COUNT, WhenConstant.CAPTION),
        Column("labelled_safe", "labelled safe", Form.COUNT, WhenConstant.CAPTION),
    ],
    caption="corrected: by Rogan and Gladen; its interval counts how sure sensitivity and "
    "specificity are.",
    notes=[
        (
            "corrected –: on the labels the judge does no better than chance, or one kind of label "
            "is missing; nothing can be corrected.",
            pl.col("corrected").is_null() & pl.col("asr").is_not_null(),
        )
    ],
)
_NONE: Final = "No judge of this store was calibrated on labels at a threshold that it uses."


def calibrated_table(rows: pl.DataFrame) -> Table:
    """Return the table of corrected rates; there are some only for judges that were calibrated."""
    return CALIBRATED.of(rows, caption="" if len(rows) else _NONE)
