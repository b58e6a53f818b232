"""The table of the reasoning tax."""

from __future__ import annotations

from collections.abc import Sequence

from opensafemlrm.analysis.tax import TaxRow
from opensafemlrm.report.columns import condition_columns, judge_columns, notes
from opensafemlrm.report.tables import Column, Form, Table, WhenConstant, unneeded_fields


def tax_table(rows: Sequence[TaxRow]) -> Table:
    """Return the table of ``rows``: reasoning models beside their bases."""
    left_out = unneeded_fields(rows)
    bounds = []
    if _uncompared(rows):
        bounds.append(Column("bound_low", "bounds", Form.POINTS_INTERVAL, upto="bound_high"))
    return Table(
        name="tax",
        title="Reasoning tax: how much more often a reasoning model is unsafe than its base",
        row_type=TaxRow,
        rows=rows,
        columns=[
            *condition_columns(left_out, "model", "base"),
            *judge_columns(),
            Column("scenario", "Scenario", constant=WhenConstant.CAPTION),
            Column("level", "Mean", constant=WhenConstant.CAPTION),
            Column("method", "Method", constant=WhenConstant.CAPTION),
            Column("scored_model", "n", Form.COUNT),
            Column("scored_base", "n base", Form.COUNT),
            Column("asr_model", "ASR %", Form.PERCENT),
            Column("asr_base", "base %", Form.PERCENT),
            Column("difference", "tax", Form.POINTS),
            Column("low", "95 % CI", Form.POINTS_INTERVAL, upto="high"),
            Column("ratio", "ratio", Form.RATIO),
            Column("ratio_low", "ratio CI", Form.RATIO_INTERVAL, upto="ratio_high"),
            Column("p_value", "p", Form.P_VALUE),
            *bounds,
        ],
        caption="tax: ASR minus the base's, in percentage points; above 0 the reasoning model is "
        "less safe. n: samples whose scores are compared.",
        notes=notes(rows, *_notes(rows)),
        left_out=left_out,
    )


def _notes(rows: Sequence[TaxRow]) -> list[str]:
    methods = {row.method for row in rows}
    levels = {row.level for row in rows}
    return [
        "paired: the same items and repeats of both models; p: McNemar's exact test."
        if "paired" in methods
        else "",
        "unpaired: only counts are known, or no item in common; p: Fisher's exact test."
        if "unpaired" in methods
        else "",
        "none: one of the two has no score; there is nothing to compare."
        if "none" in methods
        else "",
        "micro: every sample weighs the same; macro: every scenario does."
        if {"micro", "macro"} <= levels
        else "",
        "bounds: the tax over every sample, whatever those without a score hold."
        if _uncompared(rows)
        else "",
        "ratio –: the base has no unsafe reply, so that only a lower end (≥) is known."
        if any(row.ratio is None and row.ratio_low is not None for row in rows)
        else "",
    ]


def _uncompared(rows: Sequence[TaxRow]) -> bool:
    return any((row.n_model, row.n_base) != (row.scored_model, row.scored_base) for row in rows)
