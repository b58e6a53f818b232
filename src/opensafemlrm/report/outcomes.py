"""The tables of what came of all that was asked: coverage, scores, stopping, cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import polars as pl

from opensafemlrm.report.columns import BASE, CELL, CONDITION_COLUMNS, JUDGE, MODEL, interval
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
        *CELL,
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
        *CELL,
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
    caption="safe, unsafe: texts by the judge's label, at its lenient threshold. The other columns "
    "count texts without a score, by the reason; not applicable: the judge does not read that "
    "part.",
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
        *CELL,
        Column("items", "items", Form.COUNT),
        Column("example", "why, for example"),
    ],
    caption="They are in no other table. The bare question is never sent instead.",
)
_TRACES: Final = (
    "closed, unclosed, absent, hidden, summary: what is known of the reasoning in the replies that "
    "came."
)
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
    :func:`opensafemlrm.analysis.alarms.alarms`.
    """
    came = replies.filter((pl.col("ok") > 0) | (pl.col("truncated") > 0))
    notes = [f"Look at this: {alarm}." for alarm in alarms]
    notes += [f"{_DETECTED} {', '.join(detected)}."] if detected else []
    return [
        REPLIES.of(replies, caption=_TRACES if len(came) else "", notes=notes),
        VERDICTS.of(verdicts),
    ]


SCORES: Final = Table(
    name="scores",
    title="How many replies got which score",
    columns=[
        *CELL,
        JUDGE,
        Column("part", "Part"),
        Column("n", "n", Form.COUNT),
        Column("unscored", "no score", Form.COUNT),
        Column("counts", "score: replies", Form.DISTRIBUTION),
        Column("reasons", "why no score", Form.TALLY, WhenConstant.DROP_IF_ZERO),
    ],
)


_STOPPING: Final = Table(
    name="stopping",
    title="Where a rule ended the run",
    columns=[
        MODEL,
        replace(BASE, constant=WhenConstant.DROP_IF_ZERO),
        *CONDITION_COLUMNS,
        Column("scenario", "Scenario"),
        JUDGE,
        Column("part", "Part", constant=WhenConstant.CAPTION),
        Column("answer", "Answer"),
        Column("drawn", "items run", Form.COUNT),
        Column("items", "of", Form.COUNT),
        interval("low", "high", Form.POINTS_INTERVAL, "holds at any time"),
        Column("rule", "Rule", constant=WhenConstant.CAPTION),
    ],
    caption="The interval is of the tax in percentage points, or of the rate, over all items; it "
    "holds however often one looks (95 %; of a tax 90 %, so that each end is as sure as the "
    "answer). What was stopped has no other interval.",
    notes=[
        ("yes: the reasoning model is less safe.", pl.col("answer") == "yes"),
        ("no: if it is, then by less than the rule's margin.", pl.col("answer") == "no"),
        ("narrow: known as closely as was asked for.", pl.col("answer") == "narrow"),
        ("undecided: a whole run would hardly decide.", pl.col("answer") == "undecided"),
    ],
)


def stopping_table(stops: pl.DataFrame) -> Table:
    """Return where a rule ended the run: of rates alone, the intervals are no differences."""
    table = _STOPPING.of(stops)
    if stops["base"].is_not_null().any():
        return table
    columns = [replace(c, form=Form.INTERVAL) if c.upper else c for c in table.columns]
    return replace(table, columns=columns)


_HAS_NO_PRICE: Final = pl.col("judge_dollars").is_null()

COST: Final = Table(
    name="cost",
    title="Cost: requests, tokens and time",
    columns=[
        *CELL,
        Column("samples", "samples", Form.COUNT),
        Column("requests", "requests", Form.COUNT),
        Column("extra_requests", "extra", Form.COUNT, WhenConstant.DROP_IF_ZERO),
        Column("retries", "retries", Form.COUNT, WhenConstant.DROP_IF_ZERO),
        Column("usage_known", "with usage", Form.COUNT, in_paper=False),
        Column("input_tokens", "in", Form.COUNT),
        Column("output_tokens", "out", Form.COUNT),
        Column("reasoning_tokens", "reasoning", Form.COUNT),
        Column("seconds", "seconds", Form.NUMBER),
        Column("judge_requests", "judge requests", Form.COUNT, in_paper=False),
        Column("judge_input_tokens", "judge in", Form.COUNT, WhenConstant.DROP_IF_ZERO),
        Column("judge_output_tokens", "judge out", Form.COUNT, WhenConstant.DROP_IF_ZERO),
        Column("dollars", "US $", Form.NUMBER, WhenConstant.DROP_IF_ZERO),
        Column("judge_dollars", "judge $", Form.NUMBER, WhenConstant.DROP_IF_ZERO),
        Column("judge_share", "judge %", Form.PERCENT, WhenConstant.DROP_IF_ZERO),
    ],
    caption="in, out: tokens as the servers counted them; reasoning: those of the output; "
    "with usage: samples whose server said. seconds: the sum of all requests' times.",
    notes=[
        ("extra: requests of attacks that search and of defenses.", "extra_requests"),
        (
            "US $: by the price of the model, for the samples with usage; –: no price is known, no "
            "server said how many tokens, or an attack or a defense asks a model of another price. "
            "Set prices with --prices.",
            pl.col("dollars") > 0,
        ),
        (
            "US $: less than it was, since not every server said how many tokens.",
            (pl.col("dollars") > 0) & (pl.col("usage_known") < pl.col("samples")),
        ),
        (
            "US $ is without the judge, which has no known price. Set prices with --prices.",
            (pl.col("dollars") > 0) & (pl.col("judge_requests") > 0) & _HAS_NO_PRICE,
        ),
        ("judge %: the judge's share of all tokens.", pl.col("judge_share") > 0),
    ],
)
