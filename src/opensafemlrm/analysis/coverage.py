"""Coverage: how every reply ended and how every verdict ended, benign items included.

What is counted here stays outside every rate's denominator unless it has a score; the tables say
how much that is and why.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from enum import StrEnum
from itertools import pairwise
from typing import Final

import polars as pl

from opensafemlrm.analysis.conditions import (
    CELL_COLUMNS,
    JUDGE_TO_CELL,
    MODEL_TO_DEFENSE,
    in_part_order,
)
from opensafemlrm.types import ItemKind, Label, ResponseStatus, TraceStatus, Unscored

TALLY: Final = pl.List(pl.Struct({"name": pl.String, "n": pl.Int64}))
"""The type of a column that holds names with their counts."""

_SAMPLING_TO_CELL: Final = {name: JUDGE_TO_CELL[name] for name in ("sampling", "simulated", "cell")}

REPLY_COLUMNS: Final[Mapping[str, str]] = {
    **MODEL_TO_DEFENSE,
    "n": "Samples; `ok` to `not_recorded` add up to it.",
    "ok": "Replies that came whole.",
    "truncated": "Replies that were cut at the token limit.",
    "blocked": "Replies that a provider's filter held back.",
    "failed": "Requests that failed.",
    "not_recorded": "Imported results that do not say how their replies ended.",
    "codes": "How many replies were blocked or failed with which code, the most frequent first.",
    "closed": "Replies whose reasoning ends where its format says. `closed` to `summary` say what "
    "is known of the reasoning in the replies that came.",
    "unclosed": "Reasoning that never ends.",
    "absent": "Replies without reasoning.",
    "hidden": "Reasoning that the provider keeps back.",
    "summary": "A summary in the reasoning's place.",
    **_SAMPLING_TO_CELL,
}
"""The columns of :func:`reply_outcomes`."""

VERDICT_COLUMNS: Final[Mapping[str, str]] = {
    **MODEL_TO_DEFENSE,
    "part": "`reasoning`, `answer` or `full`.",
    "n": "Samples; `safe` to `not_recorded` add up to it.",
    "safe": "Verdicts that call it safe, by the judge's own label: at its lenient threshold.",
    "unsafe": "Verdicts that call it unsafe.",
    "failed": "No score: the request to the model failed.",
    "blocked": "No score: a provider's filter held the reply back.",
    "truncated": "No score: the reply was cut.",
    "unsafe_so_far": "Of these, those of which what came is unsafe already, at the lenient "
    "threshold; they raise the lower bound of a rate.",
    "no_text": "No score: the reply has no such part.",
    "judge_failed": "No score: the judge could not be asked.",
    "judge_refused": "No score: the judge would not say.",
    "judge_truncated": "No score: the judge's reply was cut before its score.",
    "unparsed": "No score: what the judge said could not be read.",
    "not_applicable": "No score: the judge does not judge such a part.",
    "not_judged": "No score: no judge has been shown it yet.",
    "not_recorded": "No score: the imported results do not say why.",
    "by_rule": "Of `safe` and `unsafe`, those that a rule gave without the judge's model being "
    "asked, such as for a text that is nothing but a refusal.",
    "by_rule_share": "`by_rule` of all that have a score.",
    "speaks_to_judge": "Of all that a judge was shown, whatever came of it: texts with words or "
    "signs for whoever judges them, such as a score of their own. `safemlrm calibrate --probe` "
    "measures what such texts do to the judge.",
    **JUDGE_TO_CELL,
}
"""The columns of :func:`verdict_outcomes`; ``judge`` is null where no judge has been shown it."""

NOT_APPLICABLE_COLUMNS: Final[Mapping[str, str]] = {
    **MODEL_TO_DEFENSE,
    "items": "Items that the attack cannot carry, or to which the defense cannot be applied: "
    "nothing was sent for them.",
    "example": "Why, for one of them.",
    **_SAMPLING_TO_CELL,
}
"""The columns of :func:`not_applicable`."""

READS: Final = frozenset(
    {*CELL_COLUMNS, "sample", "status", "error_code", "reasoning_status"}
    | {"judge", "part", "label", "reason", "by_rule", "score_so_far", "threshold_lenient"}
    | {"speaks_to_judge"}
)
"""Columns of the tidy table that coverage needs."""


def reply_outcomes(frame: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    """Return how the replies of every cell ended; columns: :data:`REPLY_COLUMNS`.

    Each sample is counted once, however many parts and judges it has.
    """
    rows = frame.lazy()
    of_sample = pl.col("status", "reasoning_status")
    samples = pl.concat(
        [
            rows.filter(pl.col("sample").is_not_null(), pl.col("sample").is_first_distinct()),
            # A histogram counts each sample once a part and knows nothing of its reply.
            rows.filter(pl.col("sample").is_null(), pl.col("part") == "full").with_columns(
                pl.when(pl.lit(value=False)).then(of_sample)
            ),
        ]
    )
    counts = samples.group_by(CELL_COLUMNS).agg(
        n=pl.len().cast(pl.Int64),
        not_recorded=_count(pl.col("status").is_null()),
        **_counts("status", ResponseStatus),
        **_counts("reasoning_status", TraceStatus),
    )
    codes = (
        samples.filter(pl.col("error_code").is_not_null())
        .group_by(*CELL_COLUMNS, name=pl.col("error_code").cast(pl.String))
        .agg(n=pl.len().cast(pl.Int64))
        .sort("n", "name", descending=[True, False])
        .group_by("cell")
        .agg(codes=pl.struct("name", "n"))
    )
    return (
        counts.join(codes, on="cell", how="left")
        .sort(CELL_COLUMNS)
        .select(
            pl.col(name).fill_null(pl.lit([], TALLY)) if name == "codes" else name
            for name in REPLY_COLUMNS
        )
        .collect()
    )


def verdict_outcomes(frame: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    """Return how every judge's verdicts on every part ended; columns: :data:`VERDICT_COLUMNS`."""
    scored = pl.col("safe") + pl.col("unsafe")
    return (
        frame.lazy()
        .group_by(*CELL_COLUMNS, "judge", "part")
        .agg(
            n=pl.len().cast(pl.Int64),
            **_counts("label", (Label.SAFE, Label.UNSAFE)),
            **_counts("reason", Unscored),
            unsafe_so_far=_count(pl.col("score_so_far") >= pl.col("threshold_lenient")),
            by_rule=_count(pl.col("by_rule")),
            speaks_to_judge=_count(pl.col("speaks_to_judge")),
        )
        .with_columns(by_rule_share=pl.when(scored > 0).then(pl.col("by_rule") / scored))
        .sort(*CELL_COLUMNS, "judge", in_part_order())
        .select(*VERDICT_COLUMNS)
        .collect()
    )


def not_applicable(rows: pl.DataFrame) -> pl.DataFrame:
    """Count the rows of :func:`opensafemlrm.frame.not_applicable` by cell.

    Columns: :data:`NOT_APPLICABLE_COLUMNS`.
    """
    return (
        rows.group_by(CELL_COLUMNS)
        .agg(items=pl.len().cast(pl.Int64), example=pl.col("reason").min())
        .sort(CELL_COLUMNS)
        .select(*NOT_APPLICABLE_COLUMNS)
    )


def _counts(column: str, values: Iterable[StrEnum]) -> dict[str, pl.Expr]:
    """Return, by each of ``values``, how often ``column`` holds it."""
    return {value.value: _count(pl.col(column) == value.value) for value in values}


def _count(condition: pl.Expr) -> pl.Expr:
    """Count the rows where ``condition`` holds; unknown counts as not holding."""
    return condition.fill_null(value=False).sum().cast(pl.Int64)


SCORE_COLUMNS: Final[Mapping[str, str]] = {
    **MODEL_TO_DEFENSE,
    "part": "`reasoning`, `answer` or `full`.",
    "n": "Samples, those without a score included.",
    "unscored": "Samples without a score.",
    "reasons": "Those by the reason why, the most frequent first.",
    "counts": "Samples by score, from the lowest up. A judge with more than seven different scores "
    "is counted in six ranges of the same width; `0.5–1` is from 0.5 up to but not with 1, and the "
    "last range has its end in it.",
    **JUDGE_TO_CELL,
}
"""The columns of :func:`scores`."""

_MAX_VALUES: Final = 7
"""Different scores up to which each is counted on its own."""
_BINS: Final = 6
_KEYS: Final = (*CELL_COLUMNS, "judge", "part")

SCORE_READS: Final = frozenset({*_KEYS, "expected", "score", "reason"})
"""Columns of the tidy table that :func:`scores` needs."""


def scores(frame: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    """Return how the harmful items of every cell were scored in every part by every judge.

    Columns: :data:`SCORE_COLUMNS`.
    """
    rows = (
        frame.lazy()
        .filter(pl.col("expected") == ItemKind.HARMFUL.value, pl.col("judge").is_not_null())
        .group_by(*_KEYS, "score", name=pl.col("reason").cast(pl.String))
        .agg(n=pl.len().cast(pl.Int64))
        .sort("n", "name", descending=[True, False])
        .collect()
    )
    unscored = pl.col("score").is_null()
    tally = pl.struct("name", "n")
    groups = rows.group_by(_KEYS).agg(
        pl.col("n").sum(),
        unscored=pl.col("n").filter(unscored).sum(),
        reasons=tally.filter(unscored),
    )
    ranges = _ranges(rows)
    by_range = (
        rows.drop("name")
        .join(ranges, on=["judge", "score"])
        .group_by(*_KEYS, "name")
        .agg(pl.col("n").sum())
    )
    counts = (
        groups.select(_KEYS)
        .join(ranges.unique(["judge", "name"], keep="first", maintain_order=True), on="judge")
        .join(by_range, on=[*_KEYS, "name"], how="left", nulls_equal=True)
        .sort("score")
        .with_columns(pl.col("n").fill_null(0))
        .group_by(_KEYS)
        .agg(counts=tally)
    )
    return (
        groups.join(counts, on=_KEYS, how="left", nulls_equal=True)
        .with_columns(pl.col("counts").fill_null(pl.lit([], TALLY)))
        .sort(*CELL_COLUMNS, "judge", in_part_order())
        .select(*SCORE_COLUMNS)
    )


def _ranges(rows: pl.DataFrame) -> pl.DataFrame:
    """Return what each score of each judge is counted as: columns judge, score and name."""
    values = rows.drop_nulls("score").group_by("judge").agg(pl.col("score").unique().sort())
    return pl.DataFrame(
        [
            (judge, score, name)
            for judge, judge_scores in values.iter_rows()
            for score, name in zip(judge_scores, _names(judge_scores), strict=True)
        ],
        schema={"judge": rows.schema["judge"], "score": pl.Float64, "name": pl.String},
        orient="row",
    )


def _names(values: list[float]) -> list[str]:
    """Return what each of ``values``, in rising order, is counted as."""
    if len(values) <= _MAX_VALUES:
        return [f"{value:g}" for value in values]
    low, high = math.floor(values[0]), math.ceil(values[-1])
    ends = [low + (high - low) * step / _BINS for step in range(_BINS + 1)]
    bins = [f"{lower:.3g}–{upper:.3g}" for lower, upper in pairwise(ends)]
    width = (high - low) / _BINS
    return [bins[min(int((value - low) / width), _BINS - 1)] for value in values]
