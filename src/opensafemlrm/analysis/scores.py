"""Score distributions: how many replies got which score, part by part."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Final

import polars as pl

from opensafemlrm.analysis.conditions import (
    CELL_COLUMNS,
    JUDGE_TO_CELL,
    MODEL_TO_DEFENSE,
    in_part_order,
)
from opensafemlrm.analysis.coverage import TALLY
from opensafemlrm.types import ItemKind

COLUMNS: Final[Mapping[str, str]] = {
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

READS: Final = frozenset({*_KEYS, "expected", "score", "reason"})
"""Columns of the tidy table that :func:`scores` needs."""


def scores(frame: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    """Return how the harmful items of every cell were scored in every part by every judge.

    Columns: :data:`COLUMNS`.
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
        .select(*COLUMNS)
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
