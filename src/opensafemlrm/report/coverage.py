"""The tables of coverage: how every reply and every verdict ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from opensafemlrm.analysis.coverage import Coverage, NotSentRow, ReplyRow, VerdictRow
from opensafemlrm.report.columns import condition_columns, notes
from opensafemlrm.report.tables import Column, Form, Table, WhenConstant, unneeded_fields

_TRACES: Final = "closed to summary: what is known of the reasoning in the replies that came."

_DETECTED: Final = (
    "How the model writes its reasoning was not given and not known, so it was detected in each "
    "reply, for:"
)


def coverage_tables(result: Coverage) -> list[Table]:
    """Return two tables: ``replies`` and ``verdicts``. Outcomes that never happened are left out
    where people read, and are 0 in CSV and JSON.
    """
    return [_replies(result.replies, result.detected), _verdicts(result.verdicts)]


def not_sent_table(rows: Sequence[NotSentRow]) -> Table:
    """Return the table of what attacks could not carry."""
    left_out = unneeded_fields(rows)
    return Table(
        name="not_sent",
        title="What was not sent: items that the attack cannot carry",
        row_type=NotSentRow,
        rows=rows,
        columns=[
            *condition_columns(left_out, "model"),
            Column("items", "items", Form.COUNT),
            Column("example", "why, for example"),
        ],
        caption="They are in no other table. The bare question is never sent instead.",
        notes=notes(rows),
        left_out=left_out,
    )


def _replies(rows: Sequence[ReplyRow], detected: Sequence[str]) -> Table:
    left_out = unneeded_fields(rows)
    found = f"{_DETECTED} {', '.join(detected)}." if detected else ""
    return Table(
        name="replies",
        title="How every reply ended",
        row_type=ReplyRow,
        rows=rows,
        columns=[
            *condition_columns(left_out, "model"),
            Column("n", "n", Form.COUNT),
            Column("ok", "ok", Form.COUNT),
            *_outcomes("truncated", "blocked", "failed", "not_recorded"),
            Column("codes", "codes", Form.TALLY, WhenConstant.DROP_IF_ZERO),
            *_outcomes("closed", "unclosed", "absent", "hidden", "summary"),
        ],
        caption=_TRACES if any(row.ok or row.truncated for row in rows) else "",
        notes=notes(rows, found),
        left_out=left_out,
    )


def _verdicts(rows: Sequence[VerdictRow]) -> Table:
    left_out = unneeded_fields(rows)
    return Table(
        name="verdicts",
        title="How every verdict ended",
        row_type=VerdictRow,
        rows=rows,
        columns=[
            *condition_columns(left_out, "model"),
            Column("judge", "Judge", constant=WhenConstant.CAPTION),
            Column("part", "Part"),
            Column("n", "n", Form.COUNT),
            Column("safe", "safe", Form.COUNT),
            Column("unsafe", "unsafe", Form.COUNT),
            *_outcomes(
                "failed",
                "blocked",
                "truncated",
                "no_text",
                "judge_failed",
                "judge_refused",
                "unparsed",
                "not_applicable",
                "not_judged",
                "not_recorded",
            ),
        ],
        caption="safe, unsafe: the judge's label (at its lenient threshold); all others: no score, "
        "and why.",
        notes=notes(rows),
        left_out=left_out,
    )


def _outcomes(*names: str) -> list[Column]:
    return [
        Column(name, name.replace("_", " "), Form.COUNT, WhenConstant.DROP_IF_ZERO)
        for name in names
    ]
