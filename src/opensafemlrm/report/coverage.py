"""The tables of coverage: how every reply and every verdict ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from opensafemlrm.report.columns import CONDITION_COLUMNS, JUDGE, MODEL
from opensafemlrm.report.forms import Form
from opensafemlrm.report.tables import Column, Table, WhenConstant


def _outcomes(*names: str) -> list[Column]:
    """Return columns of counts that people see only where one of them is not 0."""
    return [
        Column(name, name.replace("_", " "), Form.COUNT, WhenConstant.DROP_IF_ZERO)
        for name in names
    ]


REPLIES: Final = Table(
    name="replies",
    title="How every reply ended",
    columns=[
        MODEL,
        *CONDITION_COLUMNS,
        Column("n", "n", Form.COUNT),
        Column("ok", "ok", Form.COUNT),
        *_outcomes("truncated", "blocked", "failed", "not_recorded"),
        Column("codes", "codes", Form.TALLY, WhenConstant.DROP_IF_ZERO),
        *_outcomes("closed", "unclosed", "absent", "hidden", "summary"),
    ],
)
VERDICTS: Final = Table(
    name="verdicts",
    title="How every verdict ended",
    columns=[
        MODEL,
        *CONDITION_COLUMNS,
        JUDGE,
        Column("part", "Part"),
        Column("n", "n", Form.COUNT),
        Column("safe", "safe", Form.COUNT),
        Column("unsafe", "unsafe", Form.COUNT),
        Column("by_rule_share", "by rule %", Form.PERCENT, needs=pl.col("by_rule") > 0),
        *_outcomes("failed", "blocked", "truncated", "unsafe_so_far"),
        *_outcomes("no_text", "judge_failed", "judge_refused"),
        *_outcomes("judge_truncated", "unparsed"),
        *_outcomes("not_applicable", "not_judged", "not_recorded"),
        *_outcomes("speaks_to_judge"),
    ],
    caption="safe, unsafe: the judge's label (at its lenient threshold); all others: no score, "
    "and why.",
    notes=[
        (
            "by rule: of all that have a score, those that a rule gave without asking the judge's "
            "model, such as bare refusals.",
            pl.col("by_rule") > 0,
        ),
        (
            "unsafe so far: of the truncated, those of which what came is unsafe already. They are "
            "in no rate, and raise its lower bound.",
            pl.col("unsafe_so_far") > 0,
        ),
        (
            "speaks to judge: texts with words or signs for whoever judges them, counted among the "
            "others too. `safemlrm calibrate --probe` measures what such texts do to the judge.",
            pl.col("speaks_to_judge") > 0,
        ),
    ],
)
NOT_APPLICABLE: Final = Table(
    name="not_applicable",
    title="What was not sent: items that the attack cannot carry",
    columns=[
        MODEL,
        *CONDITION_COLUMNS,
        Column("items", "items", Form.COUNT),
        Column("example", "why, for example"),
    ],
    caption="They are in no other table. The bare question is never sent instead.",
)
_TRACES: Final = "closed to summary: what is known of the reasoning in the replies that came."
_DETECTED: Final = (
    "How the model writes its reasoning was not given and not known, so it was detected in each "
    "reply, for:"
)


def coverage_tables(
    replies: pl.DataFrame,
    verdicts: pl.DataFrame,
    detected: Sequence[str] = (),
    alarms: Sequence[str] = (),
) -> list[Table]:
    """Return the tables ``replies`` and ``verdicts``. Outcomes that never happened are left out
    where people read, and are 0 in CSV and JSON.

    ``detected`` are the models of :func:`opensafemlrm.frame.detected`, ``alarms`` the sentences of
    :func:`opensafemlrm.analysis.traces.alarms`.
    """
    came = replies.filter((pl.col("ok") > 0) | (pl.col("truncated") > 0))
    notes = [f"Look at this: {alarm}." for alarm in alarms]
    notes += [f"{_DETECTED} {', '.join(detected)}."] if detected else []
    return [
        REPLIES.of(replies, caption=_TRACES if len(came) else "", notes=notes),
        VERDICTS.of(verdicts),
    ]
