"""Counting by item: how many independent samples there are behind a rate.

Repeats of one item are not independent. Of every group of samples the sums below are kept, over
its items i with k scored samples of which x are hits; they add up over scenarios, so that averages
need no second look at the samples:

========  ==========================================================
``n``      samples, those without a score included
``k``      scored samples, Σk
``x``      hits, Σx
``kk``     Σk²
``xx``     Σx²
``kx``     Σkx
``items``  items with a score
========  ==========================================================

Samples whose item is not known (imported histograms) are items of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import polars as pl

from opensafemlrm.analysis.intervals import Array
from opensafemlrm.types import ItemKind, Part

CELL: Final = (
    "model",
    "simulated",
    "dataset",
    "attack",
    "defense",
    "sampling",
    "cell",
)
"""Columns that say where a row comes from. Rows that differ in one of them are never pooled."""

JUDGED: Final = (*CELL, "judge", "lenient", "strict", "scenario", "part")
"""Columns of a group of verdicts; its threshold is ``lenient`` or ``strict``."""

PART_ORDER: Final = {part.value: place for place, part in enumerate(Part)}

SUMS: Final = ("n", "k", "x", "kk", "xx", "kx", "items")

ALL: Final = "all"
"""The scenario of a row in which scenarios are taken together."""

THRESHOLDS: Final = ("lenient", "strict")


def harmful(frame: pl.DataFrame | pl.LazyFrame) -> pl.LazyFrame:
    """Return the rows that a rate of unsafe replies is made of.

    Without a judge there is no threshold, and so no rate: coverage has these replies.
    """
    return frame.lazy().filter(
        pl.col("kind") == ItemKind.HARMFUL.value, pl.col("judge").is_not_null()
    )


def unsafe_counts(frame: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    """Return the sums of every group of verdicts (``JUDGED``), at each of its thresholds.

    Columns: those of ``JUDGED``, ``threshold``, the sums, and ``mean``, the mean score.
    """
    score = pl.col("score")
    by_item = counts(
        harmful(frame),
        JUDGED,
        known=score.is_not_null(),
        hits={name: score >= pl.col(name) for name in THRESHOLDS},
        more=[score.mean().alias("mean")],
    )
    tables = [
        by_item.select(
            *JUDGED,
            pl.col(name).alias("threshold"),
            *[pl.col(f"{one}_{name}" if "x" in one else one).alias(one) for one in SUMS],
            "mean",
        )
        for name in THRESHOLDS
    ]
    return (
        pl.concat(tables)
        .unique(subset=[*JUDGED, "threshold"])
        .sort(*CELL, "judge", "scenario", pl.col("part").replace_strict(PART_ORDER), "threshold")
    )


def counts(
    frame: pl.LazyFrame,
    keys: Sequence[str],
    *,
    known: pl.Expr,
    hits: dict[str, pl.Expr],
    more: Sequence[pl.Expr] = (),
) -> pl.DataFrame:
    """Return the sums of every group of ``keys``; ``x``, ``xx`` and ``kx`` for each of ``hits``.

    ``known`` says which rows have what is counted; ``more`` is aggregated beside the sums.
    """
    rows = frame.with_columns(
        known=known.cast(pl.Int64),
        **{
            f"x_{name}": (known & hit).fill_null(value=False).cast(pl.Int64)
            for name, hit in hits.items()
        },
    )
    x = [f"x_{name}" for name in hits]
    totals = rows.group_by(keys).agg(
        pl.len().cast(pl.Int64).alias("n"),
        pl.col("known").sum().alias("k"),
        *[pl.col(one).sum() for one in x],
        pl.col("known").filter(pl.col("item_key").is_null()).sum().alias("apart"),
        *[
            pl.col(one).filter(pl.col("item_key").is_null()).sum().alias(f"{one}_apart")
            for one in x
        ],
        *more,
    )
    items = (
        rows.filter(pl.col("item_key").is_not_null(), pl.col("known") == 1)
        .group_by(*keys, "item_key")
        .agg(pl.col("known").sum().alias("k"), *[pl.col(one).sum() for one in x])
        .group_by(keys)
        .agg(
            pl.len().cast(pl.Int64).alias("items"),
            (pl.col("k") ** 2).sum().alias("kk"),
            *[(pl.col(one) ** 2).sum().alias(f"x{one}") for one in x],
            *[(pl.col(one) * pl.col("k")).sum().alias(f"k{one}") for one in x],
        )
    )
    together = totals.join(items, on=keys, how="left", nulls_equal=True).collect()
    apart = pl.col("apart")
    return together.with_columns(
        pl.col("items").fill_null(0) + apart,
        pl.col("kk").fill_null(0) + apart,
        *[
            pl.col(f"{square}{one}").fill_null(0) + pl.col(f"{one}_apart")
            for square in "xk"
            for one in x
        ],
    ).drop("apart", *[f"{one}_apart" for one in x])


def rate_of(sums: pl.DataFrame, side: str = "") -> tuple[Array, Array]:
    """Return the rates x/k of ``sums``, and the number of independent samples behind each.

    That number is the one whose binomial variance is the variance of the rate between items, and
    lies between the number of items and that of samples. ``side`` ends the names of the columns.
    """
    k, x, kk, xx, kx, items = (
        sums[f"{name}{side}"].to_numpy().astype(np.float64) for name in SUMS[1:]
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = x / k
        between = (xx - 2 * rate * kx + rate**2 * kk) * items / (items - 1)
        n = rate * (1 - rate) * k**2 / between
    n = np.where(np.isfinite(n) & (between > 0), n, items)
    return rate, np.where(k > 0, np.clip(n, items, k), 0.0)


def mean_of(rates: Array, n: Array) -> tuple[float, float]:
    """Return the mean of independent rates, each with the same weight, and its ``n``.

    Rates that were not measured are left out. With no hit anywhere the variance says nothing, and
    the ``n`` of equal rates takes its place.
    """
    measured = n > 0
    rates, n = rates[measured], n[measured]
    if not len(rates):
        return float("nan"), 0.0
    mean = float(rates.mean())
    variance = variance_of_mean(rates, n)
    if variance > 0:
        return mean, mean * (1 - mean) / variance
    return mean, len(n) ** 2 / float((1 / n).sum())


def variance_of_mean(rates: Array, n: Array) -> float:
    """Return the variance of the mean of independent rates."""
    return float((rates * (1 - rates) / n).sum()) / len(rates) ** 2


def total(sums: pl.DataFrame, keys: Iterable[str], columns: Iterable[str]) -> pl.DataFrame:
    """Add ``columns`` up over the rows that share ``keys``, in the order they come."""
    return sums.group_by(list(keys), maintain_order=True).agg(pl.col(list(columns)).sum())


def plain(threshold: float) -> float:
    """Return a threshold as people write it: 4 rather than 4.0."""
    return int(threshold) if threshold == int(threshold) else threshold


def measured(value: float) -> float | None:
    """Return a number as results hold it: ``None`` where there is none, or no end to it."""
    return float(value) if np.isfinite(value) else None
