"""The tables of attack success rates and tax, corrected by people's labels."""

from __future__ import annotations

from typing import Final

import polars as pl

from opensafemlrm.analysis.prediction_powered import MIN_LABELS
from opensafemlrm.report.columns import (
    BASE,
    CONDITION_COLUMNS,
    JUDGE_COLUMNS,
    MODEL,
    SCENARIO,
    interval,
    rate,
)
from opensafemlrm.report.forms import Form
from opensafemlrm.report.tables import Column, Note, Table, WhenConstant

_BASIS: Final = (
    Column("method", "By", constant=WhenConstant.CAPTION),
    Column("basis", "Basis", constant=WhenConstant.CAPTION, in_paper=False),
)
_NOTES: Final[tuple[Note, ...]] = (
    (
        f"prediction-powered: at least {MIN_LABELS} of these very replies are labelled; what a "
        "verdict is worth is measured on them, and nothing is assumed of the judge's errors.",
        pl.col("method") == "prediction-powered",
    ),
    (
        "Rogan–Gladen: by the judge's errors on other replies of the same part; the interval "
        "counts how sure sensitivity and specificity are, not whether they hold here.",
        pl.col("method") == "Rogan–Gladen",
    ),
    ("none: nothing is corrected, for the reason beside it.", pl.col("method") == "none"),
)
CALIBRATED: Final = Table(
    name="calibrated",
    title="ASR corrected by people's labels",
    columns=[
        MODEL,
        *CONDITION_COLUMNS,
        *JUDGE_COLUMNS,
        SCENARIO,
        Column("labels", "Labels", constant=WhenConstant.CAPTION, in_paper=False),
        Column("scored", "scored", Form.COUNT),
        Column("asr", "ASR %", Form.PERCENT, bounds=("bound_low", "bound_high")),
        interval("low", "high"),
        rate("corrected", "corrected %"),
        interval("corrected_low", "corrected_high"),
        *_BASIS,
        Column("sensitivity", "sensitivity %", Form.PERCENT, WhenConstant.CAPTION, in_paper=False),
        Column("specificity", "specificity %", Form.PERCENT, WhenConstant.CAPTION, in_paper=False),
        Column(
            "labelled_unsafe", "labelled unsafe", Form.COUNT, WhenConstant.CAPTION, in_paper=False
        ),
        Column("labelled_safe", "labelled safe", Form.COUNT, WhenConstant.CAPTION, in_paper=False),
    ],
    notes=_NOTES,
)
CALIBRATED_TAX: Final = Table(
    name="calibrated_tax",
    title="Reasoning tax corrected by people's labels",
    columns=[
        MODEL,
        BASE,
        *CONDITION_COLUMNS,
        *JUDGE_COLUMNS,
        Column("scored", "n", Form.COUNT),
        Column("difference", "tax", Form.POINTS),
        interval("low", "high", Form.POINTS_INTERVAL),
        Column("corrected", "corrected", Form.POINTS),
        interval("corrected_low", "corrected_high", Form.POINTS_INTERVAL),
        Column("labelled", "labelled", Form.COUNT),
        *_BASIS,
    ],
    caption="labelled: items of which both replies are labelled.",
    notes=[
        *_NOTES,
        (
            "rates apart: the difference of the two corrected rates, whose interval takes them as "
            "independent; label both replies to an item for a narrower one.",
            pl.col("method") == "rates apart",
        ),
    ],
)
_NOTHING: Final = (
    "No judge of this store was compared with labels. Label some replies: safemlrm label STORE "
    "--annotator YOU"
)


def calibrated_tables(rates: pl.DataFrame, taxes: pl.DataFrame) -> list[Table]:
    """Return the tables of corrected rates and of the corrected tax; the second where there is one.

    There are rows only for judges that were calibrated, or whose replies are labelled.
    """
    tables = [CALIBRATED.of(rates, caption="" if len(rates) else _NOTHING)]
    return tables if taxes.is_empty() else [*tables, CALIBRATED_TAX.of(taxes)]
