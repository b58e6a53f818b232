"""Counting by item: how many independent samples there are behind a rate.

Repeats of one item are not independent. Of every group of samples these sums are kept; they add up
over scenarios, so that averages need no second look at the samples:

==================  ==========================================================
``n``               samples, those without a score included
``scored``          scored samples
``hits``            scored samples that are hits, such as unsafe ones
``scored_squared``  over items: the sum of the squares of an item's ``scored``
``hits_squared``    the same of ``hits``
``hits_scored``     the same of ``hits`` times ``scored``
``items``           items with a score
==================  ==========================================================

Samples whose item is not known (imported histograms) are items of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
import polars as pl

from opensafemlrm.analysis.conditions import CELL_COLUMNS, THRESHOLDS, in_part_order
from opensafemlrm.analysis.intervals import Array
from opensafemlrm.types import ItemKind

JUDGED: Final = (
    *CELL_COLUMNS,
    "judge",
    "threshold_lenient",
    "threshold_strict",
    "scenario",
    "part",
)
"""Columns of a group of verdicts; its threshold is ``lenient`` or ``strict``."""

SUMS: Final = ("n", "scored", "hits", "scored_squared", "hits_squared", "hits_scored", "items")


def harmful(frame: pl.DataFrame | pl.LazyFrame) -> pl.LazyFrame:
    """Return the rows that a rate of unsafe replies is made of.

    Without a judge there is no threshold, and so no rate: coverage has these replies.
    """
    return frame.lazy().filter(
        pl.col("expected") == ItemKind.HARMFUL.value, pl.col("judge").is_not_null()
    )


def unsafe_counts(frame: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    """Return the sums of every group of verdicts (``JUDGED``), at each of its thresholds.

    Columns: those of ``JUDGED``, ``threshold``, the sums, and ``mean``, the mean score.
    """
    score = pl.col("score")
    sums = counts(
        harmful(frame),
        JUDGED,
        known=score.is_not_null(),
        hits={name: score >= pl.col(name) for name in THRESHOLDS},
        totals={"total": score},
    )
    tables = [
        sums.select(
            *JUDGED,
            pl.col(name).alias("threshold"),
            *[pl.col(f"{own}_{name}" if "hits" in own else own).alias(own) for own in SUMS],
            pl.when(pl.col("scored") > 0).then(pl.col("total") / pl.col("scored")).alias("mean"),
        )
        for name in THRESHOLDS
    ]
    return (
        pl.concat(tables)
        .unique(subset=[*JUDGED, "threshold"])
        .sort(*CELL_COLUMNS, "judge", "scenario", in_part_order(), "threshold")
    )


def counts(
    frame: pl.LazyFrame,
    keys: Sequence[str],
    *,
    known: pl.Expr,
    hits: Mapping[str, pl.Expr],
    totals: Mapping[str, pl.Expr] | None = None,
) -> pl.DataFrame:
    """Return the sums of every group of ``keys``; those of hits end in each name of ``hits``.

    ``known`` says which rows have what is counted; ``totals`` are summed up beside the counts.
    """
    totals = dict(totals or {})
    names = [f"hits_{name}" for name in hits]
    scored = pl.col("scored")
    by_item = (
        frame.with_columns(scored=known.cast(pl.Int64), **totals)
        .with_columns(
            (known & hit).fill_null(value=False).cast(pl.Int64).alias(name)
            for name, hit in zip(names, hits.values(), strict=True)
        )
        .with_row_index("row")
        .group_by(*keys, "item_key", pl.when(pl.col("item_key").is_null()).then("row"))
        .agg(pl.len().cast(pl.Int64).alias("n"), pl.col("scored", *names, *totals).sum())
    )
    return (
        by_item.group_by(keys)
        .agg(
            pl.col("n", "scored", *names, *totals).sum(),
            (scored**2).sum().alias("scored_squared"),
            (scored > 0).sum().cast(pl.Int64).alias("items"),
            *[(pl.col(name) ** 2).sum().alias(name.replace("_", "_squared_", 1)) for name in names],
            *[
                (pl.col(name) * scored).sum().alias(name.replace("_", "_scored_", 1))
                for name in names
            ],
        )
        .collect()
    )


def rate_of(sums: pl.DataFrame, side: str = "") -> tuple[Array, Array]:
    """Return the rates hits/scored of ``sums``, and the number of independent samples behind each.

    That number is the one whose binomial variance is the variance of the rate between items, and
    lies between the number of items and that of samples. ``side`` ends the names of the columns.
    """
    scored, hits, scored_squared, hits_squared, hits_scored, items = (
        sums[f"{name}{side}"].to_numpy().astype(np.float64) for name in SUMS[1:]
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = hits / scored
        squares = hits_squared - 2 * rate * hits_scored + rate**2 * scored_squared
        between = squares * items / (items - 1)
        n = rate * (1 - rate) * scored**2 / between
    n = np.where(np.isfinite(n) & (between > 0), n, items)
    return rate, np.where(scored > 0, np.clip(n, items, scored), 0.0)


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


def format_threshold(threshold: float) -> float:
    """Return a threshold as people write it: 4 rather than 4.0."""
    return int(threshold) if threshold == int(threshold) else threshold


def finite_or_none(value: float) -> float | None:
    """Return a number as results hold it: ``None`` where there is none, or no end to it."""
    return float(value) if np.isfinite(value) else None
