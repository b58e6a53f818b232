"""Which replies people should label: as many of each kind as there are, drawn blind."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Final

import polars as pl

_STRATA: Final = ("model", "scenario", "score")

READS: Final = frozenset({*_STRATA, "part", "sample", "status", "reason"})
"""Columns of the tidy table that :func:`to_label` needs."""


def to_label(frame: pl.DataFrame, part: str, seed: int = 0) -> list[str]:
    """Return the samples whose ``part`` can be labelled, in the order they should be in.

    The first n, for any n, hold models, scenarios and judge scores in about the shares that the
    store has them in (proportional stratified sampling), so that what is measured on them holds
    for the store: a sample that is even over the scores would flatter or slander a judge. The
    order depends on the seed and the store alone; every labeller gets the same.
    """
    rows = (
        frame.filter(
            pl.col("part") == part,
            pl.col("sample").is_not_null(),
            pl.col("status") == "ok",
            pl.col("reason").is_null() | (pl.col("reason") != "no_text"),
        )
        .group_by("sample")
        .agg(pl.col("model").first(), pl.col("scenario").first(), pl.col("score").max())
        .sort("sample")
    )
    strata: dict[tuple[object, ...], list[str]] = defaultdict(list)
    for row in rows.iter_rows(named=True):
        strata[tuple(row[name] for name in _STRATA)].append(row["sample"])
    drawing = random.Random(seed)  # noqa: S311  # not a secret
    placed = []
    for samples in strata.values():
        start = drawing.random()
        for rank, sample in enumerate(drawing.sample(samples, len(samples))):
            # Spread evenly over 0 to 1, so that a prefix of all of them takes from each its share.
            placed.append(((rank + start) / len(samples), sample))
    return [sample for _, sample in sorted(placed)]
