"""Score distributions: how many replies got which score, part by part."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import polars as pl

from opensafemlrm.analysis.conditions import CELL_COLUMNS, in_part_order
from opensafemlrm.types import ItemKind

_MAX_VALUES: Final = 7
"""Different scores up to which each is counted on its own."""
_BINS: Final = 6


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """How one cell's harmful items were scored in one part by one judge."""

    model: str
    dataset: str
    attack: str
    defense: str
    part: str
    n: int
    unscored: int
    reasons: Mapping[str, int]
    """Samples without a score by the reason why, the most frequent first."""
    counts: Mapping[str, int]
    """Samples by score, from the least on. A judge with more than seven different scores is
    counted in six ranges of the same width; ``0.5–1`` is from 0.5 up to but not with 1, and the
    last range has its end in it."""
    judge: str
    sampling: str
    simulated: bool
    cell: str

    @property
    def spread(self) -> str:
        """The counts in one line."""
        return ", ".join(f"{score}: {n:,}" for score, n in self.counts.items())


def scores(frame: pl.DataFrame | pl.LazyFrame) -> list[ScoreRow]:
    """Return the score distribution of every cell, judge and part of ``frame``."""
    keys = [*CELL_COLUMNS, "judge", "part"]
    counted = (
        frame.lazy()
        .filter(pl.col("expected") == ItemKind.HARMFUL.value, pl.col("judge").is_not_null())
        .group_by(*keys, "score", "reason")
        .agg(pl.len().cast(pl.Int64).alias("n"))
        .with_columns(order=in_part_order())
        .sort(*CELL_COLUMNS, "judge", "order", "score", pl.col("n").neg(), "reason")
        .collect()
    )
    names = {judge: _names(rows["score"]) for (judge,), rows in counted.group_by("judge")}
    grouped: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in counted.iter_rows(named=True):
        of_judge = names[row["judge"]]
        group = grouped.setdefault(
            tuple(row[key] for key in keys),
            {
                **{key: row[key] for key in keys},
                "unscored": 0,
                "reasons": {},
                "counts": dict.fromkeys(dict.fromkeys(of_judge.values()), 0),
            },
        )
        if row["score"] is None:
            group["unscored"] += row["n"]
            group["reasons"][row["reason"]] = row["n"]
        else:
            group["counts"][of_judge[row["score"]]] += row["n"]
    return [
        ScoreRow(n=group["unscored"] + sum(group["counts"].values()), **group)
        for group in grouped.values()
    ]


def _names(scores: pl.Series) -> dict[float, str]:
    """Return what each score is counted as, the least first."""
    values = sorted(scores.drop_nulls().unique())
    if len(values) <= _MAX_VALUES:
        return {value: f"{value:g}" for value in values}
    low, high = math.floor(values[0]), math.ceil(values[-1])
    ends = [low + (high - low) * part / _BINS for part in range(_BINS + 1)]
    bins = [f"{a:.3g}–{b:.3g}" for a, b in pairwise(ends)]
    width = (high - low) / _BINS
    return {value: bins[min(int((value - low) / width), _BINS - 1)] for value in values}
