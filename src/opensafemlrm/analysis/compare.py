"""Two sides under the same conditions: paired by item where both have it.

A side may be anything that was measured: the tax holds a reasoning model against its base, a
defense is held against none. :func:`compare` counts, :func:`pool` adds scenarios up, and
:func:`effects` says what the counts mean. Columns without an ending are of the left side, those
that end in ``_right`` of the right one; the sums are those of
:mod:`opensafemlrm.analysis.clustered_counts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl

from opensafemlrm.analysis import MAX_UNSCORED
from opensafemlrm.analysis.clustered_counts import NEVER, SUMS, counts, rate_of, texts
from opensafemlrm.analysis.conditions import ALL
from opensafemlrm.analysis.intervals import (
    Array,
    cautious_correlation,
    difference_interval,
    ratio_interval,
)
from opensafemlrm.analysis.significance import fisher, mcnemar
from opensafemlrm.analysis.withheld import COVERED, why, withhold

CONTRAST: Final = ("difference", "low", "high", "ratio", "ratio_low", "ratio_high")
"""What :func:`contrast` returns."""
BOUNDS: Final = (
    *("if_safe", "if_unsafe", "if_safe_right", "if_unsafe_right", "bound_low", "bound_high"),
)
"""What the samples without a score leave open."""

_SIDES: Final = ("", "_right")
_COMPARED: Final = [f"{name}{side}" for name in SUMS if name != "n" for side in _SIDES]
_OF_EVERY: Final = [f"{name}{side}" for name in ("scored", "hits") for side in _SIDES]
_EVERY: Final = [
    *(f"{name}{side}" for name in COVERED for side in _SIDES),
    *(f"{name}_every" for name in _OF_EVERY),
]
"""Over every sample, whether or not the other side has it too."""
_PAIRED: Final = ["hits_both", "worse", "better"]
"""Over the items of both: Σ hits times the right side's, and how many items are worse, or better,
on the left."""
BOTH_SCORED: Final = (pl.col("scored") > 0) & (pl.col("scored_right") > 0)


def compare(
    left: pl.LazyFrame,
    right: pl.LazyFrame,
    on: Sequence[str],
    hit: pl.Expr,
    so_far: pl.Expr = NEVER,
    *,
    by: Sequence[str],
) -> pl.DataFrame:
    """Count both sides of every group of ``on``, ``by`` and ``scenario`` that both have.

    A side has a row a sample, with the columns ``on``, ``scenario``, ``simulated``, ``item_key``
    and ``repeat``. ``hit`` and ``so_far`` are those of :func:`clustered_counts.counts`; ``by`` are
    columns of the left side that tell its groups apart further.

    The scenarios that have all of ``on`` and ``by`` in common are a family. It is ``paired`` if,
    in every scenario in which both sides have scores, they have scores for the same item and
    repeat; then only those samples are compared. ``n``, the other sums of ``COVERED``, and what
    ends in ``_every``, always count every sample.
    """
    left, right = (side.with_columns(hit=hit, cut_hit=so_far) for side in (left, right))
    on = [*on, "scenario"]
    keys = [*by, *on]
    known, cut_hit = pl.col("hit"), pl.col("cut_hit")
    both = (
        counts(left, [*keys, "simulated"], known, cut_hit)
        .join(counts(right, [*on, "simulated"], known, cut_hit), on=on, suffix="_right")
        .join(_in_common(left, right, on, keys), on=keys, how="left", suffix="_paired")
        .with_columns(pl.col("simulated") | pl.col("simulated_right"))
        .collect()
        .pipe(texts)
        .sort(keys)
    )
    paired = (pl.col("scored_paired").is_not_null() | ~BOTH_SCORED).all() & BOTH_SCORED.any()
    return (
        both.with_columns(
            *[pl.col(name).alias(f"{name}_every") for name in _OF_EVERY],
            pl.col(_PAIRED).fill_null(0),
            paired=paired.over(keys[:-1]),
        )
        .with_columns(
            pl.when("paired")
            .then(pl.col(f"{name}_paired").fill_null(0))
            .otherwise(name)
            .alias(name)
            for name in _COMPARED
        )
        .select(*keys, "simulated", "paired", *_COMPARED, *_EVERY, *_PAIRED)
    )


def _in_common(
    left: pl.LazyFrame, right: pl.LazyFrame, on: Sequence[str], keys: Sequence[str]
) -> pl.LazyFrame:
    """Return the sums of every group of ``keys`` over the samples that both sides know."""
    known = pl.col("hit").is_not_null() & pl.col("item_key").is_not_null()
    sample = [*on, "item_key", "repeat"]
    scored, items = pl.col("scored"), pl.len().cast(pl.Int64)
    hits, hits_right = pl.col("hits"), pl.col("hits_right")
    by_item = (
        left.filter(known)
        .select(*keys, "item_key", "repeat", "hit")
        .join(right.filter(known).select(*sample, "hit"), on=sample, suffix="_right")
        .group_by(*keys, "item_key")
        .agg(
            scored=items,
            hits=pl.col("hit").sum().cast(pl.Int64),
            hits_right=pl.col("hit_right").sum().cast(pl.Int64),
        )
    )
    return by_item.group_by(keys).agg(
        *[
            sum_.alias(f"{name}{side}")
            for side, x in zip(_SIDES, (hits, hits_right), strict=True)
            for name, sum_ in (
                ("scored", scored.sum()),
                ("hits", x.sum()),
                ("scored_squared", (scored**2).sum()),
                ("hits_squared", (x**2).sum()),
                ("hits_scored", (x * scored).sum()),
                ("items", items),
            )
        ],
        hits_both=(hits * hits_right).sum(),
        worse=(hits > hits_right).sum().cast(pl.Int64),
        better=(hits < hits_right).sum().cast(pl.Int64),
    )


def pool(sides: pl.DataFrame, family: Sequence[str]) -> pl.DataFrame:
    """Add up the scenarios of each family: every sample has the same weight.

    What was scored in a scenario in which the other side has no score is no part of it.
    """
    counted = BOTH_SCORED | ~BOTH_SCORED.any().over(family)
    compared = [*_COMPARED, *_PAIRED]
    return (
        sides.with_columns(pl.when(counted).then(pl.col(compared)).otherwise(0))
        .group_by([*family, "simulated", "paired"], maintain_order=True)
        .agg(pl.col(*_COMPARED, *_EVERY, *_PAIRED).sum())
        .with_columns(scenario=pl.lit(ALL))
    )


def effects(sides: pl.DataFrame, max_unscored: float = MAX_UNSCORED) -> pl.DataFrame:
    """Return ``sides`` with rates, difference, ratio, their intervals and the exact p-value.

    Added are ``method`` (``paired``, ``unpaired``, or ``none`` where a side has no score);
    ``rate`` and ``size`` (independent samples) of both sides, and their ``correlation``;
    ``if_safe`` and ``if_unsafe``, the rate over every sample if the unscored ones were all safe, or
    all unsafe; ``bound_low`` and ``bound_high``, the difference whatever they hold; ``withheld``,
    why the rate is not to be shown; ``p_value``; and what :func:`contrast` returns. NaN where
    nothing was measured, infinite where there is no end. :func:`without_withheld` comes last.
    """
    rate, size = rate_of(sides)
    rate0, size0 = rate_of(sides, "_right")
    correlation = _correlation(sides, rate, rate0, np.minimum(size, size0))
    p_value = np.where(size > 0, mcnemar(sides["worse"], sides["better"]), np.nan)
    apart = ~sides["paired"].to_numpy()
    p_value[apart] = fisher(rate[apart], size[apart], rate0[apart], size0[apart])
    method = pl.when("paired").then(pl.lit("paired")).otherwise(pl.lit("unpaired"))
    return sides.with_columns(
        method=pl.when(BOTH_SCORED).then(method).otherwise(pl.lit("none")),
        rate=rate,
        size=size,
        rate_right=rate0,
        size_right=size0,
        correlation=correlation,
        p_value=p_value,
        **contrast(rate, size, rate0, size0, correlation),
        **_bounds(""),
        **_bounds("_right"),
        **{f"withheld{side}": why(max_unscored, f"scored{side}_every", side) for side in _SIDES},
    ).with_columns(
        bound_low=pl.col("if_safe") - pl.col("if_unsafe_right"),
        bound_high=pl.col("if_unsafe") - pl.col("if_safe_right"),
    )


def _bounds(side: str) -> dict[str, pl.Expr]:
    """Return the rate over all samples if every unscored one were safe, and if it were unsafe."""
    columns = (f"n{side}", f"so_far{side}", f"scored{side}_every", f"hits{side}_every")
    n, so_far, scored, hits = map(pl.col, columns)
    return {f"if_safe{side}": (hits + so_far) / n, f"if_unsafe{side}": (hits + n - scored) / n}


def without_withheld(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows of :func:`effects` without the rates that are not to be shown, nor their sizes,
    and without what is made of one of the two; ``withheld`` then says why of either.
    """
    for side in _SIDES:
        rows = withhold(rows, (f"rate{side}", f"size{side}"), f"withheld{side}")
    rows = rows.with_columns(withheld=pl.coalesce("withheld", "withheld_right"))
    return withhold(rows, (*CONTRAST, "p_value"))


def mean_effects(rates: pl.DataFrame, family: Sequence[str]) -> pl.DataFrame:
    """Return the mean rates of each family, and their contrast: scenarios have the same weight.

    ``rates`` has the columns ``rate``, ``size`` and ``correlation`` of :func:`effects`. Scenarios
    in which a side was not measured are in no mean.
    """
    columns = ("rate", "size", "rate_right", "size_right", "correlation")
    rate, size, rate0, size0, correlation = map(pl.col, columns)
    scenarios = pl.len()

    def variance(rate: pl.Expr, size: pl.Expr) -> pl.Expr:
        return (rate * (1 - rate) / size).sum() / scenarios**2

    def mean_size(rate: pl.Expr, size: pl.Expr) -> pl.Expr:
        # With no hit anywhere the variance says nothing, and the size of equal rates takes over.
        mean, of_mean = rate.mean(), variance(rate, size)
        return (
            pl.when(of_mean > 0)
            .then(mean * (1 - mean) / of_mean)
            .otherwise(scenarios**2 / (1 / size).sum())
        )

    spread = (rate * (1 - rate) / size * rate0 * (1 - rate0) / size0).sqrt()
    found = (
        rates.filter((size > 0) & (size0 > 0))
        .group_by(family, maintain_order=True)
        .agg(
            rate.mean(),
            mean_size(rate, size).alias("size"),
            rate0.mean(),
            mean_size(rate0, size0).alias("size_right"),
            ((correlation * spread).sum() / scenarios**2).alias("correlation"),
        )
    )
    of_means = (rate * (1 - rate) * rate0 * (1 - rate0)).sqrt()
    scaled = (correlation * (size * size0).sqrt() / of_means).clip(-1, 1)
    found = found.with_columns(pl.when(of_means > 0).then(scaled).otherwise(0.0))
    return found.with_columns(**contrast(*(found[name].to_numpy() for name in columns)))


def contrast(
    rate: Array, n: Array, rate0: Array, n0: Array, correlation: Array | float = 0.0
) -> dict[str, Array]:
    """Return difference and ratio of two rates, with their intervals, by name."""
    low, high = difference_interval(rate, n, rate0, n0, correlation)
    ratio_low, ratio_high = ratio_interval(rate, n, rate0, n0, correlation)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = rate / rate0
    return dict(zip(CONTRAST, (rate - rate0, low, high, ratio, ratio_low, ratio_high), strict=True))


def _correlation(sides: pl.DataFrame, rate: Array, rate0: Array, size: Array) -> Array:
    """Return the correlation of the two sides' rates over items, 0 where unpaired or constant."""
    names = ("scored_squared", "hits_squared", "hits_squared_right", "hits_scored")
    scored2, hits2, hits02, hits_scored, hits0_scored, both = (
        sides[name].to_numpy().astype(np.float64)
        for name in (*names, "hits_scored_right", "hits_both")
    )
    variance = hits2 - 2 * rate * hits_scored + rate**2 * scored2
    variance0 = hits02 - 2 * rate0 * hits0_scored + rate0**2 * scored2
    covariance = both - rate * hits0_scored - rate0 * hits_scored + rate * rate0 * scored2
    with np.errstate(invalid="ignore", divide="ignore"):
        estimate = covariance / np.sqrt(variance * variance0)
    usable = sides["paired"].to_numpy() & np.isfinite(estimate)
    correlation = np.where(usable, np.clip(estimate, -1, 1), 0.0)
    return np.where(usable, cautious_correlation(correlation, rate, rate0, size), 0.0)
