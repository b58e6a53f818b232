"""Coverage: how every reply ended and how every verdict ended.

What is counted here stays outside every rate's denominator unless it has a score; the tables say
how much that is and why.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import polars as pl

from opensafemlrm.analysis.conditions import CELL_COLUMNS, in_part_order
from opensafemlrm.types import Label, ResponseStatus, TraceStatus, Unscored


@dataclass(frozen=True, slots=True)
class ReplyRow:
    """How the replies of one cell ended, in samples: each sample is counted once.

    ``ok`` to ``not_recorded`` add up to ``n``; ``closed`` to ``summary`` say what is known of the
    reasoning of those replies that came.
    """

    model: str
    dataset: str
    attack: str
    defense: str
    n: int
    ok: int
    truncated: int
    blocked: int
    failed: int
    not_recorded: int
    """Imported results that do not say how their replies ended."""
    codes: dict[str, int]
    """How many replies were blocked or failed with which code, the most frequent first."""
    closed: int
    unclosed: int
    absent: int
    hidden: int
    summary: int
    sampling: str
    simulated: bool
    cell: str


@dataclass(frozen=True, slots=True)
class VerdictRow:
    """How one judge's verdicts on one part of one cell's replies ended.

    ``safe`` to ``not_recorded`` add up to ``n``. ``safe`` and ``unsafe`` are the judge's own
    labels, at its lenient threshold; the rest says why there is no score.
    """

    model: str
    dataset: str
    attack: str
    defense: str
    part: str
    n: int
    safe: int
    unsafe: int
    failed: int
    blocked: int
    truncated: int
    no_text: int
    judge_failed: int
    judge_refused: int
    unparsed: int
    not_applicable: int
    not_judged: int
    not_recorded: int
    judge: str | None
    """``None`` for replies that no judge has been shown yet."""
    sampling: str
    simulated: bool
    cell: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """How everything ended: the replies, then the verdicts on their parts."""

    replies: list[ReplyRow]
    verdicts: list[VerdictRow]
    detected: tuple[str, ...] = ()
    """Models whose reasoning format was not known and was detected by reply."""


def coverage(frame: pl.DataFrame | pl.LazyFrame, detected: Iterable[str] = ()) -> Coverage:
    """Return how every reply and every verdict in ``frame`` ended, benign items included.

    ``detected`` are the models of :func:`opensafemlrm.frame.detected`.
    """
    lazy = frame.lazy()
    return Coverage(_replies(lazy), _verdicts(lazy), tuple(detected))


@dataclass(frozen=True, slots=True)
class NotSentRow:
    """Items of one cell that its attack could not carry: nothing was sent for them."""

    model: str
    dataset: str
    attack: str
    defense: str
    items: int
    example: str
    """Why, for one of them."""
    sampling: str
    simulated: bool
    cell: str


def not_sent(rows: pl.DataFrame) -> list[NotSentRow]:
    """Count the rows of :func:`opensafemlrm.frame.not_sent` by cell."""
    counts = (
        rows.group_by(CELL_COLUMNS)
        .agg(pl.len().alias("items"), pl.col("reason").min().alias("example"))
        .sort(CELL_COLUMNS)
    )
    return [NotSentRow(**row) for row in counts.iter_rows(named=True)]


def _replies(frame: pl.LazyFrame) -> list[ReplyRow]:
    samples = pl.concat(
        [
            frame.filter(pl.col("sample").is_not_null()).unique(subset=["cell", "sample"]),
            # A histogram counts each sample once a part and knows nothing of its reply.
            frame.filter(pl.col("sample").is_null() & (pl.col("part") == "full")).with_columns(
                status=pl.lit(None, pl.String), reasoning_status=pl.lit(None, pl.String)
            ),
        ]
    )
    status, reasoning = pl.col("status"), pl.col("reasoning_status")
    counts, codes = pl.collect_all(
        [
            samples.group_by(CELL_COLUMNS)
            .agg(
                pl.len().cast(pl.Int64).alias("n"),
                *[_count(status == one.value).alias(one.value) for one in ResponseStatus],
                _count(status.is_null()).alias("not_recorded"),
                *[_count(reasoning == one.value).alias(one.value) for one in TraceStatus],
            )
            .sort(CELL_COLUMNS),
            samples.filter(pl.col("error_code").is_not_null())
            .group_by(*CELL_COLUMNS, "error_code")
            .agg(pl.len().alias("n"))
            .sort(pl.col("n"), pl.col("error_code"), descending=[True, False]),
        ]
    )
    by_cell: dict[tuple[Any, ...], dict[str, int]] = {}
    for row in codes.iter_rows(named=True):
        by_cell.setdefault(_cell(row), {})[row["error_code"]] = row["n"]
    return [
        ReplyRow(**row, codes=by_cell.get(_cell(row), {})) for row in counts.iter_rows(named=True)
    ]


def _verdicts(frame: pl.LazyFrame) -> list[VerdictRow]:
    label, reason = pl.col("label"), pl.col("reason")
    counts = (
        frame.group_by(*CELL_COLUMNS, "judge", "part")
        .agg(
            pl.len().alias("n"),
            _count(label == Label.SAFE.value).alias("safe"),
            _count(label == Label.UNSAFE.value).alias("unsafe"),
            *[_count(reason == one.value).alias(one.value) for one in Unscored],
        )
        .with_columns(order=in_part_order())
        .sort(*CELL_COLUMNS, "judge", "order")
        .collect()
    )
    names = [field.name for field in fields(VerdictRow)]
    return [VerdictRow(**row) for row in counts.select(names).iter_rows(named=True)]


def _count(condition: pl.Expr) -> pl.Expr:
    """Count the rows where ``condition`` holds; unknown counts as not holding."""
    return condition.fill_null(value=False).sum().cast(pl.Int64)


def _cell(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in CELL_COLUMNS)
