"""The table of what defenses change."""

from __future__ import annotations

from collections.abc import Sequence

from opensafemlrm.analysis.defense import DefenseRow
from opensafemlrm.report.columns import condition_columns, judge_columns, notes
from opensafemlrm.report.tables import Column, Form, Table, unneeded_fields


def defense_table(rows: Sequence[DefenseRow]) -> Table:
    """Return the table of ``rows``: every defense beside the undefended model."""
    left_out = unneeded_fields(rows)
    shown = [row for row in rows if row.part != "reasoning" or row.asr is not None]
    return Table(
        name="defense",
        title="What a defense changes, against the same model without it",
        row_type=DefenseRow,
        rows=shown,
        columns=[
            *[column for column in condition_columns(left_out, "model") if column.key != "defense"],
            *judge_columns(),
            # Last of the names, so that the defenses of one setting stand below each other.
            Column("defense", "Defense"),
            Column("asr", "ASR %", Form.PERCENT),
            Column("asr_change", "change", Form.POINTS),
            Column("asr_change_low", "95 % CI", Form.POINTS_INTERVAL, upto="asr_change_high"),
            Column("self_correction", "SC %", Form.PERCENT),
            Column("self_correction_change", "change", Form.POINTS),
            Column("overrefusal", "OR %", Form.PERCENT),
            Column("overrefusal_change", "change", Form.POINTS),
            Column(
                "overrefusal_change_low",
                "95 % CI",
                Form.POINTS_INTERVAL,
                upto="overrefusal_change_high",
            ),
            Column("requests", "req.", Form.NUMBER),
            Column("pareto", "front"),
        ],
        caption="change: defended − undefended, in percentage points; below 0 in ASR the defense "
        "makes safer, above 0 in OR it costs help. SC: self-correction; OR: over-refusal, of "
        "benign items; req.: requests a sample, those of guards and scorers included. A change is "
        "over the items that have the figure on both sides.",
        notes=notes(
            shown,
            "front: True where no other defense of the model is as good in ASR, over-refusal and "
            "requests and better in one. –: not measured, such as over-refusal where there are no "
            "benign items.",
        ),
        left_out=left_out,
    )
