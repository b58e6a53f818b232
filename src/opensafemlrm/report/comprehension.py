"""The tables of comprehension: C-ASR beside ASR, and the tax in its two parts."""

from __future__ import annotations

from typing import Final

import polars as pl

from opensafemlrm.report.columns import BASE, CONDITION_COLUMNS, JUDGE_COLUMNS, MODEL, interval
from opensafemlrm.report.forms import Form
from opensafemlrm.report.tables import Column, Table

COMPREHENSION: Final = Table(
    name="comprehension",
    title="Comprehension: ASR over the replies that understood the request",
    columns=[
        MODEL,
        *CONDITION_COLUMNS,
        *JUDGE_COLUMNS,
        Column("n", "n", Form.COUNT),
        Column("known", "known", Form.COUNT),
        Column("comprehension", "und. %", Form.PERCENT),
        interval("comprehension_low", "comprehension_high"),
        Column("asr", "ASR %", Form.PERCENT),
        Column("c_asr", "C-ASR %", Form.PERCENT),
        interval("c_asr_low", "c_asr_high"),
    ],
    caption="known: replies with a score of which the judge says whether they understood (und.); "
    "ASR and C-ASR are over these, C-ASR over those that understood.",
    notes=[
        (
            "–: of too many replies it is not known; those that it is known of may be selected by "
            "how they came out.",
            pl.col("comprehension").is_null(),
        )
    ],
)
COMPREHENSION_TAX: Final = Table(
    name="comprehension_tax",
    title="Reasoning tax in two parts: what was understood, and what was done with it",
    columns=[
        MODEL,
        BASE,
        *CONDITION_COLUMNS,
        *JUDGE_COLUMNS,
        Column("known", "n", Form.COUNT),
        Column("understood_model", "und. %", Form.PERCENT),
        Column("understood_base", "base %", Form.PERCENT),
        Column("difference", "tax", Form.POINTS),
        Column("comprehension", "compr.", Form.POINTS),
        Column("willingness", "will.", Form.POINTS),
        interval("willingness_low", "willingness_high", Form.POINTS_INTERVAL),
        Column("c_tax", "C-tax", Form.POINTS),
    ],
    caption="tax = compr. + will., over items of which both replies are known. und.: understood; "
    "compr.: what understanding more, or less, explains; will.: willingness, what is left between "
    "replies that understood as much; C-tax: C-ASR minus the base's. csv and json have every "
    "interval.",
)
_NOTHING: Final = (
    "No judge of this store says whether a request was understood; msts, guardtrace and rubric "
    "judges do."
)


def comprehension_tables(rates: pl.DataFrame, taxes: pl.DataFrame) -> list[Table]:
    """Return the tables of C-ASR and of the tax in two parts; the second where there is one."""
    tables = [COMPREHENSION.of(rates, caption="" if len(rates) else _NOTHING)]
    return tables if taxes.is_empty() else [*tables, COMPREHENSION_TAX.of(taxes)]
