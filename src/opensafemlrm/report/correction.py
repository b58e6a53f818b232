"""The table of self-correction."""

from __future__ import annotations

from collections.abc import Sequence

from opensafemlrm.analysis.correction import CorrectionRow
from opensafemlrm.report.columns import condition_columns, notes
from opensafemlrm.report.tables import Column, Form, Table, WhenConstant, unneeded_fields


def correction_table(rows: Sequence[CorrectionRow]) -> Table:
    """Return the table of ``rows``: unsafe reasoning, and the answers that follow it."""
    left_out = unneeded_fields(rows)
    return Table(
        name="correction",
        title="Self-correction: unsafe reasoning that ends in a safe answer",
        row_type=CorrectionRow,
        rows=rows,
        columns=[
            *condition_columns(left_out, "model"),
            Column("judge", "Judge", constant=WhenConstant.CAPTION),
            Column("scenario", "Scenario", constant=WhenConstant.CAPTION),
            Column("reasoning_status", "Reasoning", constant=WhenConstant.CAPTION),
            Column("threshold", "≥", Form.THRESHOLD),
            Column("both", "n", Form.COUNT),
            Column("not_both", "not both", Form.COUNT, WhenConstant.DROP_IF_ZERO),
            Column("both_unsafe", "UU", Form.COUNT),
            Column("corrected", "US", Form.COUNT),
            Column("reverse", "SU", Form.COUNT),
            Column("both_safe", "SS", Form.COUNT),
            Column("self_correction", "US %", Form.PERCENT),
            Column("self_correction_low", "95 % CI", Form.INTERVAL, upto="self_correction_high"),
            Column("unsafe_given_safe", "SU %", Form.PERCENT),
            Column(
                "unsafe_given_safe_low", "95 % CI", Form.INTERVAL, upto="unsafe_given_safe_high"
            ),
            Column("phi", "phi", Form.DECIMAL),
            Column("phi_low", "95 % CI", Form.DECIMAL_INTERVAL, upto="phi_high"),
            Column("kappa", "kappa", Form.DECIMAL),
            Column("kappa_low", "95 % CI", Form.DECIMAL_INTERVAL, upto="kappa_high"),
        ],
        caption="US: unsafe reasoning (a score of at least the threshold, ≥) and a safe answer, "
        "and so on. US %: self-correction, US of all unsafe reasoning; SU %: the reverse, SU of "
        "all safe reasoning.",
        notes=notes(
            rows,
            "not both: samples without a score for reasoning and answer; they are in no figure."
            if any(row.not_both for row in rows)
            else "",
            "counts: imported histograms do not say which reasoning led to which answer."
            if any(row.reasoning_status == "counts" for row in rows)
            else "",
            "phi, kappa: how closely the labels of reasoning and answer go together; – where one "
            "of them is the same throughout.",
        ),
        left_out=left_out,
    )
