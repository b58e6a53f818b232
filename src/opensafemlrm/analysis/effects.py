"""What the counts of two sides mean: difference and ratio, with intervals, bounds and p-value.

Scenarios of :func:`opensafemlrm.analysis.compare.compare` are added up here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Literal, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import ArrayLike
from scipy import special

from opensafemlrm.analysis import MAX_UNSCORED
from opensafemlrm.analysis.clustered_counts import (
    between_items,
    cautious_rate,
    independent_items,
    variance,
)
from opensafemlrm.analysis.compare import BOTH_SCORED, COMPARED, EVERY, PAIRED, SIDES
from opensafemlrm.analysis.intervals import (
    CONFIDENCE,
    Array,
    Z,
    cautious_correlation,
    difference_interval,
    ratio_interval,
)
from opensafemlrm.analysis.significance import Rates, fisher, inverted, mcnemar
from opensafemlrm.analysis.withheld import why, withhold

Mean: TypeAlias = Literal["micro", "macro"]
"""``micro``: every sample weighs the same; ``macro``: every scenario does."""
Cluster: TypeAlias = Literal["item", "scenario"]
"""What a sample was drawn of: items within these scenarios, or scenarios."""

CONTRAST: Final = ("difference", "low", "high", "ratio", "ratio_low", "ratio_high", "p_value")
"""What :func:`contrast` returns."""
BOUNDS: Final = (
    *("if_safe", "if_unsafe", "if_safe_right", "if_unsafe_right", "bound_low", "bound_high"),
)
"""What the samples without a score leave open."""
RATES: Final = ("rate", "size", "rate_right", "size_right", "correlation")
_ALONE: Final = 1e-9


def effects(
    sides: pl.DataFrame,
    family: Sequence[str],
    *,
    mean: Mean = "micro",
    cluster: Cluster = "item",
    max_unscored: float = MAX_UNSCORED,
) -> pl.DataFrame:
    """Return a row for each family of scenarios: rates, difference, ratio, intervals, p-value.

    Scenarios in which one side has no score are in no mean. With ``cluster`` ``item`` the scenarios
    are fixed and their items the sample, so that variances add up scenario by scenario; with
    ``scenario`` the scenarios are the sample, and their number less one the degrees of freedom.

    Added are ``method`` (``paired``; ``unpaired``; ``mixed`` where some scenarios are paired;
    ``none`` where a side has no score); ``rate`` and ``size`` (independent samples) of both sides,
    and their ``correlation``; ``if_safe`` and ``if_unsafe``, the rate over every sample if the
    unscored ones were all safe, or all unsafe; ``bound_low`` and ``bound_high``, the difference
    whatever they hold; ``bound_interval_low``, ``bound_interval_high`` and ``bound_p_value``, the
    same with the sampling error; ``withheld``, why the rate is not to be shown; and what
    :func:`contrast` returns. NaN where nothing was measured, infinite where there is no end.
    :func:`without_withheld` comes last.
    """
    counted = BOTH_SCORED | ~BOTH_SCORED.any().over(family)
    rows = sides.with_columns(
        pl.when(counted).then(pl.col([*COMPARED, *PAIRED])).otherwise(0)
    ).with_columns(column for side in SIDES for column in _weighed(side, family, mean))
    families = (
        rows.with_columns(_deviation(side, family) for side in SIDES)
        .group_by([*family, "simulated"], maintain_order=True)
        .agg(
            *[moment for side in SIDES for moment in _moments(side, mean, cluster)],
            *[pl.col(name).sum() for name in (*COMPARED, *EVERY, *PAIRED)],
            cross=_cross(cluster),
            paired=(pl.col("paired") | ~BOTH_SCORED).all() & BOTH_SCORED.any(),
            unpaired=(~pl.col("paired") | ~BOTH_SCORED).all(),
            single=BOTH_SCORED.sum() <= 1,
        )
        .with_columns(_size(side, cluster) for side in SIDES)
    )
    families = families.with_columns(
        method=pl.when(~BOTH_SCORED)
        .then(pl.lit("none"))
        .when("paired")
        .then(pl.lit("paired"))
        .when("unpaired")
        .then(pl.lit("unpaired"))
        .otherwise(pl.lit("mixed")),
        correlation=_correlation(families, cluster),
    )
    rates = arrays(families)
    freedom = families["groups"].to_numpy() - 1 if cluster == "scenario" else None
    exact = _exact(families, rates) if (mean, cluster) == ("micro", "item") else None
    families = families.with_columns(**contrast(rates, exact, freedom))
    return families.with_columns(
        **_bounds(families, freedom),
        **{f"withheld{side}": why(max_unscored, f"scored{side}_every", side) for side in SIDES},
    )


def without_withheld(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows of :func:`effects` without the rates that are not to be shown, nor their sizes,
    and without what is made of one of the two; ``withheld`` then says why of either.
    """
    for side in SIDES:
        rows = withhold(rows, (f"rate{side}", f"size{side}"), f"withheld{side}")
    rows = rows.with_columns(withheld=pl.coalesce("withheld", "withheld_right"))
    return withhold(rows, CONTRAST)


def contrast(
    rates: Rates, exact: Array | None = None, freedom: Array | None = None, z: ArrayLike = Z
) -> dict[str, Array]:
    """Return difference and ratio of two rates, their intervals and the p-value, by name.

    The p-value is the greater of the interval's own (:func:`significance.inverted`) and that of an
    ``exact`` test. Where the exact test lets equal rates stand, the intervals are widened to hold
    them: so the p-value is at most 5 % exactly where the 95 % interval of the difference leaves out
    0, and that of the ratio 1. ``z`` is the width of the intervals in standard errors.
    """
    low, high = difference_interval(*rates, z)
    ratio_low, ratio_high = ratio_interval(*rates, z)
    p_value = inverted(rates, freedom)
    if exact is not None:
        p_value = np.maximum(p_value, exact)
        stands = exact > 2 * special.ndtr(-np.asarray(z))
        low, high = (
            np.where(stands, np.minimum(low, 0), low),
            np.where(stands, np.maximum(high, 0), high),
        )
        ratio_low = np.where(stands, np.minimum(ratio_low, 1), ratio_low)
        ratio_high = np.where(stands, np.maximum(ratio_high, 1), ratio_high)
    rate, _, rate0, *_ = rates
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = rate / rate0
    return dict(
        zip(
            CONTRAST,
            (rate - rate0, low, high, ratio, ratio_low, ratio_high, p_value),
            strict=True,
        )
    )


def student_factor(groups: Array) -> Array:
    """Return what share of a size is left when so many groups alone say how certain it is.

    It is (normal quantile / Student's)², as Korn & Graubard do ("Confidence intervals for
    proportions with small expected number of positive counts estimated from survey data", Survey
    Methodology 24 (1998)); NaN for fewer than two groups.
    """
    freedom = np.where(groups > 1 + _ALONE, groups - 1, np.nan)
    return np.asarray((Z / special.stdtrit(freedom, (1 + CONFIDENCE) / 2)) ** 2)


def _weighed(side: str, family: Sequence[str], mean: Mean) -> Iterator[pl.Expr]:
    """Give every scenario its weight in the mean, and its part of the mean's variance."""
    scored = pl.col(f"scored{side}")
    measured = scored > 0
    weight = scored if mean == "micro" else measured.cast(pl.Int64)
    weight = pl.when(measured).then(weight / weight.sum().over(family)).otherwise(0.0)
    items = 1 / (pl.col(f"scored_squared{side}").sum() / scored.sum() ** 2).over(family)
    rate = (pl.col(f"hits{side}").sum() / scored.sum()).over(family)
    squared = pl.when(measured).then((weight / scored) ** 2)
    yield weight.alias(f"weight{side}")
    own = pl.when(measured).then(pl.col(f"hits{side}") / scored).otherwise(0.0)
    yield own.alias(f"share{side}")
    yield (squared * variance(cautious_rate(rate, items), side)).alias(f"variance{side}")
    yield (squared * between_items(side)).alias(f"between{side}")


def _deviation(side: str, family: Sequence[str]) -> pl.Expr:
    """Return how far a scenario pulls the mean away from the others."""
    weight, rate = pl.col(f"weight{side}"), pl.col(f"share{side}")
    mean = (weight * rate).sum().over(family)
    return (weight * (rate - mean)).alias(f"deviation{side}")


def _moments(side: str, mean: Mean, cluster: Cluster) -> Iterator[pl.Expr]:
    """Return rate, variance, least size, and bounds of a side."""
    weight, scored = pl.col(f"weight{side}"), pl.col(f"scored{side}")
    n, so_far = pl.col(f"n{side}"), pl.col(f"so_far{side}")
    every, hits = pl.col(f"scored{side}_every"), pl.col(f"hits{side}_every")
    groups = 1 / (weight**2).sum()
    measured = scored.sum() > 0
    yield pl.when(measured).then((weight * pl.col(f"share{side}")).sum()).alias(f"rate{side}")
    if cluster == "scenario":
        spread = (pl.col(f"deviation{side}") ** 2).sum() * groups / (groups - 1)
        yield spread.alias(f"variance{side}")
        yield spread.alias(f"between{side}")
        yield groups.alias(f"groups{side}")
    else:
        yield pl.col(f"variance{side}", f"between{side}").sum()
        yield (1 / (weight**2 / independent_items(side)).sum()).alias(f"groups{side}")
    for name, missing in (("if_safe", so_far), ("if_unsafe", n - every)):
        bound = hits + missing
        share = bound.sum() / n.sum() if mean == "micro" else (bound / n).mean()
        yield share.alias(f"{name}{side}")


def _cross(cluster: Cluster) -> pl.Expr:
    """Return the covariance of the two sides' means."""
    if cluster == "scenario":
        groups = 1 / (pl.col("weight") * pl.col("weight_right")).sum()
        return (pl.col("deviation") * pl.col("deviation_right")).sum() * groups / (groups - 1)
    rate, rate0 = (pl.col(f"share{side}") for side in SIDES)
    squares = (
        pl.col("hits_both")
        - rate * pl.col("hits_scored_right")
        - rate0 * pl.col("hits_scored")
        + rate * rate0 * pl.col("scored_squared")
    )
    items = independent_items()
    share = pl.col("weight") * pl.col("weight_right") / (pl.col("scored") * pl.col("scored_right"))
    in_common = pl.col("paired") & (items > 1)
    return pl.when(in_common).then(share * squares * items / (items - 1)).sum()


def _size(side: str, cluster: Cluster) -> pl.Expr:
    """Return the number of independent samples behind the mean of a side; 0 where it has none."""
    rate, spread, scored = (pl.col(f"{name}{side}") for name in ("rate", "variance", "scored"))
    groups = pl.col(f"groups{side}")
    size = pl.max_horizontal(rate * (1 - rate) / spread, groups).fill_nan(groups)
    size = pl.when(spread > 0).then(size).otherwise(groups)
    if cluster == "scenario":
        factor = groups.map_batches(
            lambda values: pl.Series(student_factor(values.to_numpy())), return_dtype=pl.Float64
        )
        size = size * factor
    else:
        size = pl.when("single").then(size.clip(upper_bound=scored)).otherwise(size)
    return pl.when(scored > 0).then(size).otherwise(0.0).cast(pl.Float64).alias(f"size{side}")


def _correlation(families: pl.DataFrame, cluster: Cluster) -> Array:
    """Return the correlation of the two means, 0 where unpaired or constant."""
    cross, spread, spread0 = (
        families[name].to_numpy() for name in ("cross", "between", "between_right")
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        estimate = np.clip(cross / np.sqrt(spread * spread0), -1, 1)
    estimate = np.where(np.isfinite(estimate), estimate, 0.0)
    if cluster == "scenario":
        return estimate
    rate, size, rate0, size0 = (families[name].to_numpy() for name in RATES[:-1])
    return cautious_correlation(estimate, rate, rate0, np.minimum(size, size0))


def _exact(families: pl.DataFrame, rates: Rates) -> Array:
    """Return the p-values of McNemar's test where all is paired, Fisher's where nothing is.

    Items whose repeats differ by more than one hit weigh by how much: ``worse`` and ``better``
    become the numbers of items with equal weight that are as uncertain. Source of the variance:
    Durkalski et al., "Analysis of clustered matched-pair data", Statistics in Medicine 22 (2003).
    """
    squares = pl.col("hits_squared") + pl.col("hits_squared_right") - 2 * pl.col("hits_both")
    gap, apart, spread = (
        expression.to_numpy().astype(np.float64)
        for expression in families.select(
            pl.col("hits") - pl.col("hits_right"), "apart", spread=squares
        )
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        worse, better = (apart * (apart + sign * gap) / (2 * spread) for sign in (1, -1))
    paired, unpaired = families["paired"].to_numpy(), families["unpaired"].to_numpy()
    known = paired & (spread > 0)
    exact = np.where(paired, 1.0, 0.0)
    exact[known] = mcnemar(worse[known], better[known])
    exact[unpaired] = fisher(*(of[unpaired] for of in rates[:-1]))
    return exact


def _bounds(families: pl.DataFrame, freedom: Array | None) -> dict[str, Array]:
    """Return the bounds that unscored samples leave, and the same with the sampling error.

    The interval holds the difference at 95 % whatever the unscored samples hold. Source: Horowitz
    & Manski, "Nonparametric analysis of randomized experiments with missing covariate and outcome
    data", JASA 95 (2000); the ends are those of the interval at either bound.
    """
    safe, unsafe, safe0, unsafe0 = (
        families[f"{name}{side}"].to_numpy() for side in SIDES for name in ("if_safe", "if_unsafe")
    )
    sizes, shares = [], []
    for side in SIDES:
        n, scored = families[f"n{side}"].to_numpy(), families[f"scored{side}_every"].to_numpy()
        size = families[f"size{side}"].to_numpy()
        with np.errstate(invalid="ignore", divide="ignore"):
            sizes.append(np.where((scored > 0) & (size > 0), size * n / scored, n))
        shares.append(families[f"scored{side}"].to_numpy() / n)
    correlation = families["correlation"].to_numpy()
    share = np.clip(np.minimum(*shares), 0, 1)
    correlation = np.where(correlation > 0, correlation * share, correlation)
    least: Rates = (safe, sizes[0], unsafe0, sizes[1], correlation)
    greatest: Rates = (unsafe, sizes[0], safe0, sizes[1], correlation)
    p_value = np.ones(len(families))
    for ends, beyond in ((least, safe > unsafe0), (greatest, unsafe < safe0)):
        rate, n, rate0, n0, correlation_ = (values[beyond] for values in ends)
        of_rows = None if freedom is None else freedom[beyond]
        p_value[beyond] = inverted((rate, n, rate0, n0, correlation_), of_rows)
    low, high = (families[name].to_numpy() for name in ("low", "high"))
    return {
        "bound_low": safe - unsafe0,
        "bound_high": unsafe - safe0,
        "bound_interval_low": np.fmin(difference_interval(*least)[0], low),
        "bound_interval_high": np.fmax(difference_interval(*greatest)[1], high),
        "bound_p_value": np.maximum(p_value, families["p_value"].to_numpy()),
    }


def arrays(families: pl.DataFrame) -> Rates:
    """Return the columns that :func:`contrast` takes."""
    rate, size, rate0, size0, correlation = (families[name].to_numpy() for name in RATES)
    return rate, size, rate0, size0, correlation
