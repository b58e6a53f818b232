"""A reasoning model and its base, side by side: paired by item where both have the item.

Everything is kept as sums (:mod:`opensafemlrm.analysis.clustered_counts`): columns without an
ending are of the reasoning model, those that end in ``_base`` of its base.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import polars as pl

from opensafemlrm.analysis.clustered_counts import SUMS, harmful, mean_of, rate_of, unsafe_counts
from opensafemlrm.analysis.conditions import SETTING_COLUMNS, THRESHOLDS
from opensafemlrm.analysis.intervals import (
    Array,
    cautious_correlation,
    difference_interval,
    ratio_interval,
)
from opensafemlrm.analysis.significance import fisher, mcnemar
from opensafemlrm.types import Part

PAIR: Final = ("model", "base", "cell", "simulated", *SETTING_COLUMNS)
"""Columns of a pair in a setting; its scenarios are a family."""

SIDES: Final = (*SUMS, *(f"{name}_base" for name in SUMS))
EVERY: Final = ("scored_every", "hits_every", "scored_every_base", "hits_every_base")
"""``k`` and ``x`` over every scored sample, whether or not the other model has it too."""
PAIRED: Final = ("hits_both", "worse", "better")
"""Σxy over the items of a pair, and the items on which one of the two is the more unsafe one."""

_REPEAT: Final = ("dataset", "attack", "defense", "sampling", "judge", "scenario", "part")


def pairs_of(frame: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    """Return the pairs in ``frame``: columns ``model`` and ``base``, a row a pair."""
    return (
        frame.lazy()
        .select("model", "base")
        .drop_nulls()
        .unique()
        .with_columns(pl.col("base").cast(pl.String).str.split("\n"))
        .explode("base")
        .sort("model", "base")
        .collect()
    )


def side_by_side(frame: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    """Return every pair, setting and scenario: its sums, and whether they are ``paired``.

    A setting is paired if, in every scenario in which both models have scores, they have scores
    for the same item and repeat; then only those samples are in the sums from ``k`` on. ``n`` and
    ``n_base`` always count every sample.
    """
    pairs = pairs_of(frame)
    by_model = unsafe_counts(frame)
    apart = _join(by_model, pairs, [*SETTING_COLUMNS, "scenario"])
    together = _paired(frame.lazy(), pairs)
    keys = ["model", "base", *SETTING_COLUMNS, "scenario"]
    both = apart.join(together, on=keys, how="left", suffix="_paired", maintain_order="left")
    comparable = (pl.col("scored") > 0) & (pl.col("scored_base") > 0)
    paired = (pl.col("scored_paired").is_not_null() | ~comparable).all() & comparable.any()
    columns = [name for name in SIDES if name not in ("n", "n_base")]
    every = {name: name.replace("_every", "") for name in EVERY}
    never = (pl.col("part") != Part.FULL.value) & ~comparable.any().over(PAIR)
    return (
        both.filter(~never)
        .with_columns(
            *[pl.col(own).alias(name) for name, own in every.items()], paired=paired.over(PAIR)
        )
        .with_columns(
            *[
                pl.when("paired")
                .then(pl.col(f"{name}_paired").fill_null(0))
                .otherwise(name)
                .alias(name)
                for name in columns
            ],
            *[pl.col(name).fill_null(0) for name in PAIRED],
        )
    )


def method_of(row: Mapping[str, Any]) -> str:
    """Return how the two sides of a row of :func:`effects` are compared."""
    if not (row["scored"] and row["scored_base"]):
        return "none"
    return "paired" if row["paired"] else "unpaired"


def _join(by_model: pl.DataFrame, pairs: pl.DataFrame, on: list[str]) -> pl.DataFrame:
    base = by_model.select(
        pl.col("model").cast(pl.String).alias("base"),
        *on,
        pl.col("simulated").alias("simulated_base"),
        *[pl.col(name).alias(f"{name}_base") for name in SUMS],
    )
    return (
        by_model.with_columns(pl.col("model").cast(pl.String))
        .join(pairs.cast(pl.String), on="model", maintain_order="left")
        .join(base, on=["base", *on], maintain_order="left")
        .with_columns(pl.col("simulated") | pl.col("simulated_base"))
        .drop("simulated_base", "mean", "threshold_lenient", "threshold_strict")
    )


def _paired(frame: pl.LazyFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """Return the sums over samples for which both models of a pair have a score."""
    score = pl.col("score")
    rows = (
        harmful(frame)
        .filter(pl.col("item_key").is_not_null(), score.is_not_null())
        .select(
            pl.col("model").cast(pl.String),
            *_REPEAT,
            "item_key",
            "repeat",
            *THRESHOLDS,
            *[(score >= pl.col(name)).cast(pl.Int64).alias(f"hits_{name}") for name in THRESHOLDS],
        )
    )
    key = [*_REPEAT, "item_key", "repeat"]
    hits = [f"hits_{name}" for name in THRESHOLDS]
    by_item = (
        rows.join(pairs.lazy().cast(pl.String), on="model")
        .join(
            rows.select(pl.col("model").alias("base"), *key, *hits),
            on=["base", *key],
            suffix="_base",
        )
        .group_by("model", "base", *_REPEAT, *THRESHOLDS, "item_key")
        .agg(
            pl.len().cast(pl.Int64).alias("scored"),
            *[pl.col(f"{one}{side}").sum() for one in hits for side in ("", "_base")],
        )
    )
    group = ["model", "base", *_REPEAT, *THRESHOLDS]
    tables = [
        by_item.group_by(group)
        .agg(_pair_sums(pl.col(f"hits_{name}"), pl.col(f"hits_{name}_base")))
        .with_columns(threshold=pl.col(name))
        .drop(THRESHOLDS)
        for name in THRESHOLDS
    ]
    return pl.concat(pl.collect_all(tables)).unique(subset=["model", "base", *_REPEAT, "threshold"])


def _pair_sums(x: pl.Expr, y: pl.Expr) -> list[pl.Expr]:
    k = pl.col("scored")
    sums = [
        expression.alias(f"{name}{side}")
        for side, hits in (("", x), ("_base", y))
        for name, expression in (
            ("scored", k.sum()),
            ("hits", hits.sum()),
            ("scored_squared", (k * k).sum()),
            ("hits_squared", (hits * hits).sum()),
            ("hits_scored", (hits * k).sum()),
            ("items", pl.len().cast(pl.Int64)),
        )
    ]
    return [
        *sums,
        (x * y).sum().alias("hits_both"),
        (x > y).sum().cast(pl.Int64).alias("worse"),
        (x < y).sum().cast(pl.Int64).alias("better"),
    ]


def effects(sums: pl.DataFrame) -> pl.DataFrame:
    """Return ``sums`` with rates, difference, ratio, their intervals and the exact p-value.

    Added columns: ``rate``, ``size`` (independent samples) and the same with ``_base``;
    ``correlation``; ``bound_low`` and ``bound_high``, the difference over every sample, whatever
    the unscored ones hold; those of :func:`contrast`; and ``p_value``. NaN where nothing was
    measured, infinite where there is no end.
    """
    rate, n = rate_of(sums)
    rate0, n0 = rate_of(sums, "_base")
    correlation = _correlation(sums, rate, rate0, np.minimum(n, n0))
    paired = sums["paired"].to_numpy()
    p_value = np.where(n > 0, mcnemar(sums["worse"], sums["better"]), np.nan)
    apart = ~paired
    p_value[apart] = fisher(rate[apart], n[apart], rate0[apart], n0[apart])
    safe, unsafe = _bounds(sums, "")
    safe0, unsafe0 = _bounds(sums, "_base")
    return sums.with_columns(
        bound_low=safe - unsafe0,
        bound_high=unsafe - safe0,
        rate=rate,
        size=n,
        rate_base=rate0,
        size_base=n0,
        correlation=correlation,
        p_value=p_value,
        **contrast(rate, n, rate0, n0, correlation),
    )


def _bounds(sums: pl.DataFrame, side: str) -> tuple[pl.Series, pl.Series]:
    """Return the rate over all samples if every unscored one were safe, and if it were unsafe."""
    n, k, x = (sums[f"{name}{side}"] for name in ("n", "scored_every", "hits_every"))
    return x / n, (x + n - k) / n


def contrast(
    rate: Array, n: Array, rate0: Array, n0: Array, correlation: Array | float = 0.0
) -> dict[str, Array]:
    """Return difference and ratio of two rates, with their intervals, by name."""
    low, high = difference_interval(rate, n, rate0, n0, correlation)
    ratio_low, ratio_high = ratio_interval(rate, n, rate0, n0, correlation)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = rate / rate0
    return {
        "difference": rate - rate0,
        "low": low,
        "high": high,
        "ratio": ratio,
        "ratio_low": ratio_low,
        "ratio_high": ratio_high,
    }


FIGURES: Final = ("difference", "low", "high", "ratio", "ratio_low", "ratio_high")
"""What :func:`contrast` returns."""


def mean_over_scenarios(group: pl.DataFrame) -> dict[str, float]:
    """Return the figures of the mean rates of one setting, each scenario with the same weight.

    ``group`` is of :func:`effects`; only scenarios in which both models were measured count.
    """
    both = group.filter(pl.col("difference").is_finite())
    rates, sizes, rates0, sizes0, correlations = (
        both[name].to_numpy() for name in ("rate", "size", "rate_base", "size_base", "correlation")
    )
    rate, size = mean_of(rates, sizes)
    rate0, size0 = mean_of(rates0, sizes0)
    spreads = np.sqrt(rates * (1 - rates) / sizes * rates0 * (1 - rates0) / sizes0)
    spread = np.sqrt(rate * (1 - rate) * rate0 * (1 - rate0))
    correlation = 0.0
    if spread > 0:
        mean = float((correlations * spreads).sum()) / len(both) ** 2
        correlation = float(np.clip(mean * np.sqrt(size * size0) / spread, -1, 1))
    arrays = [np.array([one]) for one in (rate, size, rate0, size0, correlation)]
    figures = {name: float(value[0]) for name, value in contrast(*arrays).items()}
    return {"rate": rate, "rate_base": rate0, **figures}


def _correlation(sums: pl.DataFrame, rate: Array, rate0: Array, size: Array) -> Array:
    """Return the correlation of the two models' rates over items, 0 where unpaired or constant."""

    def column(name: str) -> Array:
        return sums[name].to_numpy().astype(np.float64)

    kk = column("scored_squared")
    x, y = column("hits_scored"), column("hits_scored_base")
    variance = column("hits_squared") - 2 * rate * x + rate**2 * kk
    variance0 = column("hits_squared_base") - 2 * rate0 * y + rate0**2 * kk
    covariance = column("hits_both") - rate * y - rate0 * x + rate * rate0 * kk
    with np.errstate(invalid="ignore", divide="ignore"):
        found = covariance / np.sqrt(variance * variance0)
    usable = sums["paired"].to_numpy() & np.isfinite(found)
    correlation = np.where(usable, np.clip(found, -1, 1), 0.0)
    return np.where(usable, cautious_correlation(correlation, rate, rate0, size), 0.0)
