"""The paper's own figure: the mean ASR of several models over the mean of several bases.

Source: SafeMLRM (arXiv 2504.08813): 25 times the bases' attack rate on Illegal Activity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import polars as pl
from polars import selectors as cs
from scipy import special

from opensafemlrm.analysis import MAX_UNSCORED, clustered_counts
from opensafemlrm.analysis.clustered_counts import (
    PRIOR_ITEMS,
    UNSAFE,
    at_thresholds,
    cautious_rate,
    finite,
    harmful,
    texts,
    unsafe_counts,
)
from opensafemlrm.analysis.conditions import (
    ALL,
    DATASET_TO_DEFENSE,
    JUDGE_TO_CELL,
    PART_AND_THRESHOLD,
    SETTING_COLUMNS,
    ends,
    in_setting_order,
)
from opensafemlrm.analysis.contrasts import CONTRAST, contrast, whatever_is_unscored
from opensafemlrm.analysis.effects import arrays
from opensafemlrm.analysis.exact_limits import difference_limits, ratio_limits
from opensafemlrm.analysis.intervals import CONFIDENCE
from opensafemlrm.analysis.significance import Rates
from opensafemlrm.analysis.tax import IF_UNSCORED
from opensafemlrm.analysis.withheld import COLUMN, COVERED, why, withhold
from opensafemlrm.errors import UnknownNameError

READS: Final = clustered_counts.READS
"""Columns of the tidy table that :func:`grouped` needs."""

_BOUNDS: Final = ("bound_low", "bound_high", "bound_interval_low", "bound_interval_high")

COLUMNS: Final[Mapping[str, str]] = {
    "models": "Labels of the models, separated by commas.",
    "bases": "Labels of the bases.",
    **DATASET_TO_DEFENSE,
    "scenario": "`all`: the mean over scenarios, each with the same weight.",
    **PART_AND_THRESHOLD,
    "method": "`by item`: items are the clusters; `counts`: no items are known, and the models' "
    "replies are taken as independent.",
    "asr_models": "Mean ASR of the models, each with the same weight.",
    "asr_bases": "Mean ASR of the bases.",
    "difference": "`asr_models` − `asr_bases`.",
    **ends(),
    "ratio": "`asr_models` / `asr_bases`; null where the bases have no unsafe reply.",
    "ratio_low": "Lower end of its 95 % interval.",
    "ratio_high": "Upper end; null where the data set none.",
    "simultaneous_low": "Lower end of the interval of `difference` that holds at 95 % for the rows "
    "of all scenarios, settings and parts of a judge and threshold together (Bonferroni), whatever "
    "the unscored samples hold; null for `all`.",
    "simultaneous_high": "Upper end.",
    "simultaneous_ratio_low": "Lower end of the same of `ratio`.",
    "simultaneous_ratio_high": "Upper end; null where the data set none.",
    "p_value": "Two-sided: at most 0.05 exactly where the interval of `difference` leaves out 0.",
    **{name: IF_UNSCORED[name] for name in (*_BOUNDS, *COLUMN)},
    **{name: text for name, text in JUDGE_TO_CELL.items() if name != "cell"},
}
"""The columns of :func:`grouped`."""

_SCENARIO: Final = (*SETTING_COLUMNS, "scenario")
_SIDES: Final = ("", "_right")
_SHARES: Final = tuple(f"{name}{side}" for side in _SIDES for name in ("if_safe", "if_unsafe"))
SIMULTANEOUS: Final = ("low", "high", "ratio_low", "ratio_high")
_MOMENTS: Final = ("variance", "variance_right", "covariance")


def grouped(
    frame: pl.DataFrame | pl.LazyFrame,
    models: Sequence[str],
    bases: Sequence[str],
    *,
    max_unscored: float = MAX_UNSCORED,
) -> pl.DataFrame:
    """Return, scenario by scenario, the mean of ``models`` over the mean of ``bases`` (labels).

    Columns: :data:`COLUMNS`. Scenarios in which one of them has no score are left out, and settings
    that one of them was not run in. Where one of them has more than a share of ``max_unscored``
    without a score, a row has bounds alone. Raises UnknownNameError for a label that is no model of
    the frame.
    """
    known = set(frame.lazy().select(pl.col("model").unique()).collect()["model"])
    for label in (*models, *bases):
        if label not in known:
            raise UnknownNameError("model of this store", label, known)
    labels = {"": list(dict.fromkeys(models)), "_right": list(dict.fromkeys(bases))}
    sides = pl.concat(
        pl.DataFrame({"model": group}, schema={"model": pl.String}).with_columns(
            side=pl.lit(side), models_of_side=len(group)
        )
        for side, group in labels.items()
    )
    rates = _rates(frame, sides)
    scenarios = _scenarios(rates, _variances(frame, rates), len(sides), max_unscored)
    groups = scenarios.group_by(SETTING_COLUMNS, maintain_order=True)
    together = groups.agg(
        pl.col("simulated").any(),
        pl.col("by_item").all(),
        pl.col(*_SHARES, "known", *(f"rate{side}" for side in _SIDES)).mean(),
        *[pl.col(name).sum() / pl.len() ** 2 for name in _MOMENTS],
        *[
            (pl.len() ** 2 / (1 / pl.col(f"items{side}")).sum()).alias(f"items{side}")
            for side in _SIDES
        ],
        scenario=pl.lit(ALL),
        several=pl.len() > 1,
    ).filter("several")
    of_model = rates.group_by(*SETTING_COLUMNS, "cell").agg(pl.col("scored", *COVERED).sum())
    of_all = of_model.group_by(SETTING_COLUMNS).agg(withheld=why(max_unscored).max())
    together = together.join(of_all, on=SETTING_COLUMNS)
    method = pl.when("by_item").then(pl.lit("by item")).otherwise(pl.lit("counts"))
    rows = (
        pl.concat([scenarios, together], how="diagonal_relaxed")
        .pipe(_contrasted)
        .with_columns(
            models=pl.lit(", ".join(models)),
            bases=pl.lit(", ".join(bases)),
            method=method,
            asr_models="rate",
            asr_bases="rate_right",
        )
        .sort(*in_setting_order(), pl.col("scenario") == ALL, "scenario")
    )
    rows = withhold(
        finite(rows),
        (
            *("asr_models", "asr_bases", *CONTRAST),
            *(f"simultaneous_{name}" for name in SIMULTANEOUS),
        ),
        _BOUNDS,
    )
    return rows.select(*COLUMNS)


def _rates(frame: pl.DataFrame | pl.LazyFrame, sides: pl.DataFrame) -> pl.DataFrame:
    """Return the rate of every model of a side, and the weight of one of its samples."""
    rows = frame.lazy().filter(pl.col("model").is_in(sides["model"].implode()))
    scored = pl.col("scored")
    return (
        unsafe_counts(rows)
        .filter(scored > 0)
        .join(sides, on="model", maintain_order="left_right")
        .with_columns(rate=pl.col("hits") / scored, weight=1 / (pl.col("models_of_side") * scored))
    )


def _variances(frame: pl.DataFrame | pl.LazyFrame, rates: pl.DataFrame) -> pl.DataFrame:
    """Return variances and covariance of the two means, over items.

    An item adds to a mean, for each of its samples, weight × (hit − the model's rate). Samples are
    counted before anything is weighed, and terms are added in one order (:func:`_added`).
    """
    on = ["cell", *SETTING_COLUMNS, "scenario"]
    weights = rates.select(*on, "side", "rate", "weight")
    share = pl.col("weight") * (pl.col("hits") - pl.col("scored") * pl.col("rate"))
    models, bases = (pl.col(f"share{side}") for side in _SIDES)
    return (
        at_thresholds(harmful(frame))
        .filter(pl.col("item_key").is_not_null(), pl.col("score").is_not_null())
        .group_by(*on, "item_key")
        .agg(hits=UNSAFE.sum(), scored=pl.len())
        .join(weights.with_columns(cs.string().cast(pl.Categorical)).lazy(), on=on)
        .group_by(*_SCENARIO, "item_key")
        .agg(_added(share.filter(pl.col("side") == side)).alias(f"share{side}") for side in _SIDES)
        .group_by(_SCENARIO)
        .agg(
            variance=_added(models**2),
            variance_right=_added(bases**2),
            covariance=_added(models * bases),
        )
        .collect()
        .pipe(texts)
    )


def _added(terms: pl.Expr) -> pl.Expr:
    """Return the sum of a group's terms, to the last digit the same each time.

    Polars adds parts of a group side by side and then these, in any order; it sorts nothing that is
    only to be added, but what is cumulated.
    """
    return terms.sort().cum_sum().last().fill_null(0.0)


def _scenarios(
    rates: pl.DataFrame, by_item: pl.DataFrame, models: int, max_unscored: float
) -> pl.DataFrame:
    """Return means, their sizes and correlation, and their contrast, for each scenario."""
    rate, scored = pl.col("rate"), pl.col("scored")
    means = []
    for side in _SIDES:
        of_side = pl.col("side") == side
        n, hits, so_far = map(pl.col, ("n", "hits", "so_far"))
        lowest, highest = (hits + so_far) / n, (hits + n - scored) / n
        variance = (rate * (1 - rate) / scored).filter(of_side).sum() / of_side.sum() ** 2
        means += [
            rate.filter(of_side).mean().alias(f"rate{side}"),
            scored.filter(of_side).sum().alias(f"scored{side}"),
            pl.col("items").filter(of_side).max().alias(f"items{side}"),
            variance.alias(f"of_counts{side}"),
            lowest.filter(of_side).mean().alias(f"if_safe{side}"),
            highest.filter(of_side).mean().alias(f"if_unsafe{side}"),
        ]
    found = (
        rates.group_by(_SCENARIO, maintain_order=True)
        .agg(
            *means,
            pl.col("simulated").any(),
            models=pl.len(),
            known=(scored / pl.col("n")).min(),
            withheld=why(max_unscored).max(),
        )
        .filter(pl.col("models") == models)
        .join(by_item, on=_SCENARIO, how="left", maintain_order="left")
        .with_columns(by_item=pl.col("variance").is_not_null())
    )
    return found.with_columns(
        cautious.alias(name)
        for side in _SIDES
        for name, cautious in ((f"variance{side}", _cautious(side)), (f"items{side}", _least(side)))
    ).with_columns(pl.col("covariance").fill_null(0.0))


def _least(side: str) -> pl.Expr:
    """Return the least number of independent samples that may be behind a mean."""
    return pl.when("by_item").then(f"items{side}").otherwise(f"scored{side}").cast(pl.Float64)


def _cautious(side: str) -> pl.Expr:
    """Return the variance of a mean, as :func:`clustered_counts.variance` has that of hits."""
    items = _least(side)
    rate = cautious_rate(pl.col(f"rate{side}"), items)
    own = pl.col(f"variance{side}") * items / (items - 1)
    alike = rate * (1 - rate) / items
    cautious = (items * own + PRIOR_ITEMS * alike) / (items + PRIOR_ITEMS)
    by_item = pl.when(items > 1).then(cautious).otherwise(alike)
    return pl.when("by_item").then(by_item).otherwise(f"of_counts{side}")


def _contrasted(means: pl.DataFrame) -> pl.DataFrame:
    """Add sizes, correlation and contrast to means with their variances and covariance."""
    spread = pl.col("variance") * pl.col("variance_right")
    correlation = pl.when(spread > 0).then(pl.col("covariance") / spread.sqrt()).otherwise(0.0)
    sizes = []
    for side in _SIDES:
        rate, of_mean, least = (pl.col(f"{name}{side}") for name in ("rate", "variance", "items"))
        size = pl.when(of_mean > 0).then(rate * (1 - rate) / of_mean).otherwise(least)
        sizes.append(pl.max_horizontal(size, least).alias(f"size{side}"))
    means = means.with_columns(*sizes, correlation=correlation.clip(-1, 1))
    means = means.with_columns(**contrast(arrays(means)))
    # Bonferroni: each of n intervals may be wrong in a n-th of 5 %.
    several = (pl.col("scenario") != ALL) & pl.col("low").is_not_nan()
    tests = means.select(several.sum().over("judge", "threshold"))["scenario"].to_numpy()
    scored, lowest, highest = _sides(means)
    by_row = whatever_is_unscored(
        {name: means[name].to_numpy() for name in _SHARES},
        lambda p, q: contrast((p, lowest[1], q, *lowest[3:])),
    )
    z = -special.ndtri((1 - CONFIDENCE) / 2 / tests.clip(1))
    outer = [(*difference_limits(s, z=z), *ratio_limits(s, z)) for s in (scored, lowest, highest)]
    together = {
        name: np.fmin(own, low) if name.endswith("low") else np.fmax(own, high)
        for name, own, low, high in zip(SIMULTANEOUS, *outer, strict=True)
    }
    return means.with_columns(
        *(
            pl.when(several).then(pl.Series(together[name])).alias(f"simultaneous_{name}")
            for name in SIMULTANEOUS
        ),
        **{name: by_row[name] for name in ("bound_low", "bound_high")},
        bound_interval_low=np.fmin(by_row["low"], means["low"].to_numpy()),
        bound_interval_high=np.fmax(by_row["high"], means["high"].to_numpy()),
    )


def _sides(means: pl.DataFrame) -> tuple[Rates, Rates, Rates]:
    """Return both sides as scored, and where unscored ones make them differ least, or most."""
    scored = _, size, _, size0, correlation = arrays(means)
    correlation = np.where(correlation > 0, correlation * means["known"].to_numpy(), correlation)
    safe, unsafe, safe0, unsafe0 = (means[name].to_numpy() for name in _SHARES)
    lowest = (safe, size, unsafe0, size0, correlation)
    return scored, lowest, (unsafe, size, safe0, size0, correlation)
