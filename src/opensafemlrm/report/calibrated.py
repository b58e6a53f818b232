"""The table of attack success rates corrected by the judge's measured errors."""

from __future__ import annotations

from collections.abc import Sequence

from opensafemlrm.analysis.corrected import CorrectedRow
from opensafemlrm.report.columns import condition_columns, judge_columns, notes
from opensafemlrm.report.tables import Column, Form, Table, WhenConstant, unneeded_fields


def calibrated_table(rows: Sequence[CorrectedRow]) -> Table:
    """Return the table of ``rows``; there are some only for judges that were calibrated."""
    left_out = unneeded_fields(rows)
    return Table(
        name="calibrated",
        title="ASR corrected by the judge's measured errors",
        row_type=CorrectedRow,
        rows=rows,
        columns=[
            *condition_columns(left_out, "model"),
            *judge_columns(),
            Column("scenario", "Scenario", constant=WhenConstant.CAPTION),
            Column("labels", "Labels", constant=WhenConstant.CAPTION),
            Column("scored", "scored", Form.COUNT),
            Column("asr", "ASR %", Form.PERCENT),
            Column("low", "95 % CI", Form.INTERVAL, upto="high"),
            Column("corrected", "corrected %", Form.PERCENT),
            Column("corrected_low", "95 % CI", Form.INTERVAL, upto="corrected_high"),
            Column("sensitivity", "sensitivity %", Form.PERCENT, WhenConstant.CAPTION),
            Column("specificity", "specificity %", Form.PERCENT, WhenConstant.CAPTION),
            Column("labelled_unsafe", "labelled unsafe", Form.COUNT, WhenConstant.CAPTION),
            Column("labelled_safe", "labelled safe", Form.COUNT, WhenConstant.CAPTION),
        ],
        caption="corrected: by Rogan and Gladen; its interval counts how sure sensitivity and "
        "specificity are."
        if rows
        else "No judge of this store was calibrated on labels at a threshold that it uses.",
        notes=notes(
            rows,
            "corrected –: on the labels the judge does no better than chance, or one kind of label "
            "is missing; nothing can be corrected."
            if any(row.corrected is None and row.asr is not None for row in rows)
            else "",
        ),
        left_out=left_out,
    )
