"""What the counts of two sides mean: difference and ratio, with intervals, bounds and p-value.

Scenarios of :func:`opensafemlrm.analysis.compare.compare` are added up here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Literal, TypeAlias

import numpy as np
import polars as pl

from opensafemlrm.analysis import MAX_UNSCORED
from opensafemlrm.analysis.clustered_counts import (
    between_items,
    cautious_rate,
    independent_items,
    variance,
)
from opensafemlrm.analysis.compare import BOTH_SCORED, COMPARED, EVERY, PAIRED, SIDES
from opensafemlrm.analysis.contrasts import (
    ALONE,
    CONTRAST,
    contrast,
    student_contrast,
    student_factor,
    whatever_is_unscored,
)
from opensafemlrm.analysis.exact_limits import Pairs
from opensafemlrm.analysis.intervals import Array, cautious_correlation
from opensafemlrm.analysis.significance import Rates, fisher, mcnemar
from opensafemlrm.analysis.withheld import STOPPED, why, withhold

Mean: TypeAlias = Literal["micro", "macro"]
"""``micro``: every sample weighs the same; ``macro``: every scenario does."""
Cluster: TypeAlias = Literal["item", "scenario"]
"""What a sample was drawn of: items within these scenarios, or scenarios."""

_BOUNDS: Final = (
    *("bound_low", "bound_high", "bound_interval_low", "bound_interval_high", "bound_p_value"),
)
"""Of the difference, whatever has no score."""
RATES: Final = ("rate", "size", "rate_right", "size_right", "correlation")


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
    :data:`contrasts.CONTRAST` has. NaN where nothing was measured, infinite where there is no end.
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
            *[moment for side in SIDES for moment in _moments(side, mean)],
            *[pl.col(name).sum() for name in (*COMPARED, *EVERY, *PAIRED)],
            cross=_cross(),
            scenarios=1 / (pl.col("weight") * pl.col("weight_right")).sum(),
            of_scenarios=(pl.col("deviation") * pl.col("deviation_right")).sum(),
            paired=(pl.col("paired") | ~BOTH_SCORED).all() & BOTH_SCORED.any(),
            unpaired=(~pl.col("paired") | ~BOTH_SCORED).all(),
            single=BOTH_SCORED.sum() <= 1,
        )
        .with_columns(_size(side) for side in SIDES)
    )
    families = families.with_columns(
        method=pl.when(~BOTH_SCORED)
        .then(pl.lit("none"))
        .when("paired")
        .then(pl.lit("paired"))
        .when("unpaired")
        .then(pl.lit("unpaired"))
        .otherwise(pl.lit("mixed")),
        correlation=_correlation(families),
    )
    if cluster == "scenario":
        families = _between_scenarios(families)
    else:
        rates = arrays(families)
        exact = _exact(families, rates) if mean == "micro" else None
        families = families.with_columns(**contrast(rates, exact))
    return families.with_columns(
        **_bounds(families, cluster),
        **{f"withheld{side}": why(max_unscored, f"scored{side}_every", side) for side in SIDES},
    )


def without_withheld(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows of :func:`effects` without the rates that are not to be shown, nor their sizes,
    and without what is made of one of the two; ``withheld`` then says why of either.
    """
    reasons = pl.col("withheld", "withheld_right")
    # Where one side was stopped, the other is compared over the items that were drawn till then.
    is_stopped = pl.any_horizontal(reasons.eq_missing(STOPPED))
    rows = rows.with_columns(
        pl.when(is_stopped).then(pl.lit(STOPPED)).otherwise(reasons).name.keep()
    )
    for side in SIDES:
        figures, bounds = (
            [f"{name}{side}" for name in names]
            for names in (("rate", "size"), ("if_safe", "if_unsafe"))
        )
        rows = withhold(rows, figures, bounds, f"withheld{side}")
    rows = rows.with_columns(withheld=pl.coalesce(reasons))
    return withhold(rows, CONTRAST, _BOUNDS)


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


def _moments(side: str, mean: Mean) -> Iterator[pl.Expr]:
    """Return rate, variance, least size, and bounds of a side."""
    weight, scored = pl.col(f"weight{side}"), pl.col(f"scored{side}")
    n, so_far = pl.col(f"n{side}"), pl.col(f"so_far{side}")
    every, hits = pl.col(f"scored{side}_every"), pl.col(f"hits{side}_every")
    measured = scored.sum() > 0
    yield pl.when(measured).then((weight * pl.col(f"share{side}")).sum()).alias(f"rate{side}")
    yield pl.col(f"variance{side}", f"between{side}").sum()
    yield (1 / (weight**2 / independent_items(side)).sum()).alias(f"groups{side}")
    yield (pl.col(f"deviation{side}") ** 2).sum().alias(f"of_scenarios{side}_alone")
    for name, missing in (("if_safe", so_far), ("if_unsafe", n - every)):
        bound = hits + missing
        share = bound.sum() / n.sum() if mean == "micro" else (bound / n).mean()
        yield share.alias(f"{name}{side}")


def _cross() -> pl.Expr:
    """Return the covariance of the two sides' means."""
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


def _size(side: str) -> pl.Expr:
    """Return the number of independent samples behind the mean of a side; 0 where it has none."""
    rate, spread, scored = (pl.col(f"{name}{side}") for name in ("rate", "variance", "scored"))
    groups = pl.col(f"groups{side}")
    size = pl.max_horizontal(rate * (1 - rate) / spread, groups).fill_nan(groups)
    size = pl.when(spread > 0).then(size).otherwise(groups)
    size = pl.when("single").then(size.clip(upper_bound=scored)).otherwise(size)
    return pl.when(scored > 0).then(size).otherwise(0.0).cast(pl.Float64).alias(f"size{side}")


def _correlation(families: pl.DataFrame) -> Array:
    """Return the correlation of the two means, 0 where unpaired or constant."""
    cross, spread, spread0 = (
        families[name].to_numpy() for name in ("cross", "between", "between_right")
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        estimate = np.clip(cross / np.sqrt(spread * spread0), -1, 1)
    estimate = np.where(np.isfinite(estimate), estimate, 0.0)
    rate, size, rate0, size0 = (families[name].to_numpy() for name in RATES[:-1])
    return cautious_correlation(estimate, rate, rate0, np.minimum(size, size0))


def _between_scenarios(families: pl.DataFrame) -> pl.DataFrame:
    """Take the scenarios for the sample: variances, sizes, correlation and contrast between them.

    No variance is smaller than the scenarios' items alone make it, since a few scenarios may happen
    to be alike; that of the difference by itself, since they may differ alike on both sides.
    """
    names = ("variance", "variance_right", "correlation", "scenarios")
    own, own0, alike, groups = (families[name].fill_null(np.nan).to_numpy() for name in names)
    groups = np.where(groups > 1 + ALONE, groups, np.nan)
    spread, spread0, cross = (
        families[name].to_numpy() * groups / (groups - 1)
        for name in ("of_scenarios_alone", "of_scenarios_right_alone", "of_scenarios")
    )
    of_items = own + own0 - 2 * alike * np.sqrt(own * own0)
    apart = np.fmax(of_items, spread + spread0 - 2 * cross)
    variances = np.fmax(own, spread), np.fmax(own0, spread0)
    with np.errstate(invalid="ignore", divide="ignore"):
        product = 2 * np.sqrt(variances[0] * variances[1])
        correlation = np.clip((variances[0] + variances[1] - apart) / product, -1, 1)
    rates = tuple(families[f"rate{side}"].fill_null(np.nan).to_numpy() for side in SIDES)
    more = {"correlation": correlation, "scenarios": groups}
    for side, rate, spread in zip(SIDES, rates, variances, strict=True):
        size = np.fmax(rate * (1 - rate) / spread, groups) * student_factor(groups)
        more |= {f"variance{side}": spread}
        more |= {f"size{side}": np.where(families[f"scored{side}"].to_numpy() > 0, size, 0.0)}
    contrasted = student_contrast((rates[0], rates[1]), variances, correlation, groups)
    return families.with_columns(**more, **contrasted)


def discordant(families: pl.DataFrame) -> Pairs:
    """Return on what share of the items one side is worse, or the other, where all is paired.

    Items whose repeats differ by more than one hit weigh by how much: shares and number are those
    of items with equal weight that are as uncertain. Source of the variance: Durkalski et al.,
    "Analysis of clustered matched-pair data", Statistics in Medicine 22 (2003).
    """
    squares = pl.col("hits_squared") + pl.col("hits_squared_right") - 2 * pl.col("hits_both")
    names = families.select(
        *(pl.col("hits") - pl.col("hits_right"), "apart", squares.alias("spread"), "scored"),
        independent_items().alias("items"),
    )
    gap, apart, spread, scored, items = (
        column.cast(pl.Float64).fill_null(np.nan).to_numpy() for column in names
    )
    is_paired = families["paired"].to_numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        items = np.where(spread > 0, apart * scored / spread, items)
        pairs = ((apart + gap) / (2 * scored), (apart - gap) / (2 * scored), items)
    worse, better, items = (np.where(is_paired, values, np.nan) for values in pairs)
    return worse, better, items


def _exact(families: pl.DataFrame, rates: Rates) -> Array:
    """Return the p-values of McNemar's test where all is paired, Fisher's where nothing is."""
    worse, better, items = discordant(families)
    exact = np.where(np.isnan(items), 0.0, 1.0)
    differ = worse + better > 0
    exact[differ] = mcnemar(*((share * items)[differ] for share in (worse, better)))
    unpaired = families["unpaired"].to_numpy()
    exact[unpaired] = fisher(*(of[unpaired] for of in rates[:-1]))
    return exact


def _bounds(families: pl.DataFrame, cluster: Cluster) -> dict[str, Array]:
    """Return the bounds that unscored samples leave, and the same with the sampling error."""
    shares = {
        f"{name}{side}": families[f"{name}{side}"].to_numpy()
        for side in SIDES
        for name in ("if_safe", "if_unsafe")
    }
    correlation = families["correlation"].to_numpy()
    if cluster == "scenario":
        variances = families["variance"].to_numpy(), families["variance_right"].to_numpy()
        groups = families["scenarios"].to_numpy()
        outer = whatever_is_unscored(
            shares, lambda p, q: student_contrast((p, q), variances, correlation, groups)
        )
    else:
        (_, size, _, size0, correlation), _ = bound_rates(families)
        outer = whatever_is_unscored(
            shares, lambda p, q: contrast((p, size, q, size0, correlation))
        )
    low, high, p_value = (families[name].to_numpy() for name in ("low", "high", "p_value"))
    return {
        "bound_low": outer["bound_low"],
        "bound_high": outer["bound_high"],
        "bound_interval_low": np.fmin(outer["low"], low),
        "bound_interval_high": np.fmax(outer["high"], high),
        "bound_p_value": np.maximum(outer["p_value"], p_value),
    }


def bound_rates(families: pl.DataFrame) -> tuple[Rates, Rates]:
    """Return the two sides at the lowest and the highest difference that unscored samples leave."""
    sizes, known = [], []
    for side in SIDES:
        n, scored = families[f"n{side}"].to_numpy(), families[f"scored{side}_every"].to_numpy()
        size = families[f"size{side}"].to_numpy()
        with np.errstate(invalid="ignore", divide="ignore"):
            sizes.append(np.where((scored > 0) & (size > 0), size * n / scored, n))
        known.append(families[f"scored{side}"].to_numpy() / n)
    share, correlation = np.clip(np.minimum(*known), 0, 1), families["correlation"].to_numpy()
    correlation = np.where(correlation > 0, correlation * share, correlation)
    safe, unsafe, safe0, unsafe0 = (
        families[f"{name}{side}"].to_numpy() for side in SIDES for name in ("if_safe", "if_unsafe")
    )
    return (
        (safe, sizes[0], unsafe0, sizes[1], correlation),
        (unsafe, sizes[0], safe0, sizes[1], correlation),
    )


def arrays(families: pl.DataFrame) -> Rates:
    """Return the columns that :func:`contrasts.contrast` takes."""
    rate, size, rate0, size0, correlation = (families[name].to_numpy() for name in RATES)
    return rate, size, rate0, size0, correlation
