"""Drift: how unsafe the versions of a series are, from which on they are worse, what was lost.

Versions are compared with the reference, the first version that has a rate, item by item. What a
table holds for one judge and threshold holds together: 5 % is the chance that chance alone makes
anything of it stand out, over all series, settings, scenarios, parts and versions.

Sources: Chaudhry et al., "Riemannian walk for incremental learning", ECCV 2018 (forgetting: the
best before less what is now); :mod:`opensafemlrm.analysis.change_points`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from polars import selectors as cs
from scipy import special

from opensafemlrm.analysis import MAX_UNSCORED, clustered_counts
from opensafemlrm.analysis.change_points import ChangePoint, Path, change_points
from opensafemlrm.analysis.clustered_counts import (
    UNSAFE,
    UNSAFE_SO_FAR,
    at_thresholds,
    counts,
    finite,
    harmful,
    texts,
    with_rates,
)
from opensafemlrm.analysis.compare import compare
from opensafemlrm.analysis.conditions import (
    ALL,
    DATASET_TO_DEFENSE,
    JUDGE_TO_CELL,
    PART_AND_THRESHOLD,
    SETTING_COLUMNS,
    in_setting_order,
)
from opensafemlrm.analysis.effects import arrays, discordant, effects
from opensafemlrm.analysis.exact_limits import binomial_limits, difference_limits
from opensafemlrm.analysis.intervals import CONFIDENCE
from opensafemlrm.analysis.tax import METHOD
from opensafemlrm.analysis.withheld import COLUMN, withhold

READS: Final = clustered_counts.READS | {"repeat"}
"""Columns of the tidy table that drift needs."""
INCOMPLETE: Final = "incomplete"

_SERIES: Final = {"series": "The series, as the study calls it."}
_WITHHELD: Final = {
    "withheld": COLUMN["withheld"].removesuffix(".")
    + "; `incomplete`, in the rows of `all`: the version lacks scenarios that others have."
}
TREND_COLUMNS: Final[Mapping[str, str]] = {
    **_SERIES,
    **DATASET_TO_DEFENSE,
    "scenario": "`all` where scenarios are taken together.",
    **PART_AND_THRESHOLD,
    "number": "Which version of the series, from 1.",
    "version": "The version: the model, as tables call it.",
    "step": "Its step, where the study gives one.",
    "date": "Its date, where the study gives one.",
    "n": "Samples that should have been scored.",
    "scored": "Samples with a score.",
    "unsafe": "Those whose score reaches the threshold.",
    "asr": "`unsafe` / `scored`.",
    "low": "Lower end of the interval of `asr` that holds at 95 % for all rows of a judge and "
    "threshold together (Bonferroni).",
    "high": "Upper end.",
    "asr_if_unscored_safe": "The rate over all `n` if every unscored sample were safe.",
    "asr_if_unscored_unsafe": "The same if every one were unsafe.",
    "reference": "The version that it is compared with: the first that has a rate.",
    **METHOD,
    "difference": "The version's rate less that of `reference`, item by item: above 0 it is the "
    "less safe one.",
    "difference_low": "Lower end of its interval, which holds as `low` does.",
    "difference_high": "Upper end.",
    **_WITHHELD,
    **{name: JUDGE_TO_CELL[name] for name in ("judge", "sampling", "simulated")},
}
"""The columns of :func:`trend`."""
COLUMNS: Final[Mapping[str, str]] = {
    **_SERIES,
    **DATASET_TO_DEFENSE,
    "scenario": TREND_COLUMNS["scenario"],
    **PART_AND_THRESHOLD,
    "versions": "Versions that have a rate.",
    "left_out": "Versions whose rate is withheld: nothing here counts them.",
    "items": "Items that two or more versions have a score for.",
    "reference": TREND_COLUMNS["reference"],
    "asr_reference": "Its rate.",
    "first_worse": "The first version from which on replies are worse than before, and than the "
    "reference; null where none is at 5 %.",
    "asr_before": "Mean rate of the versions before it, over the items of both.",
    "asr_after": "The same from it on.",
    "p_value": "Of there being such a version: adjusted for all splits and all rows of a judge and "
    "threshold together, and never below that of the later versions against the reference alone. "
    "Null where no item is in two versions.",
    "now": "The last version.",
    "asr_now": "Its rate.",
    "best": "The earlier version against which `now` lost most.",
    "forgotten": "`asr_now` less the rate of `best`, item by item: what was learnt once and is "
    "gone. At or below 0 nothing was.",
    "forgotten_low": "Lower end of its interval, which holds for the choice of `best` and for all "
    "rows of a judge and threshold together.",
    "forgotten_high": "Upper end.",
    "worst": "The earlier version against which `now` gained most.",
    "gained": "The rate of `worst` less `asr_now`.",
    "gained_low": "As `forgotten_low`.",
    "gained_high": "Upper end.",
    "withheld": "Why the first version that is left out has no rate; see the trend.",
    **{name: JUDGE_TO_CELL[name] for name in ("judge", "sampling", "simulated")},
}
"""The columns of :func:`drift`."""

_ROW: Final = ("series", *SETTING_COLUMNS, "scenario")
_FAMILY: Final = ("judge", "threshold")
_ERROR: Final = 0.05


@dataclass(frozen=True, slots=True)
class Drift:
    """What the replies of series say."""

    trend: pl.DataFrame
    """A row a version; columns: :data:`TREND_COLUMNS`."""
    changes: pl.DataFrame
    """A row a scenario; columns: :data:`COLUMNS`."""


def drift(
    frame: pl.DataFrame | pl.LazyFrame,
    series: pl.DataFrame,
    *,
    max_unscored: float = MAX_UNSCORED,
) -> Drift:
    """Return the trend of every series and what changed, on harmful items, by scenario and in all.

    ``series`` has the columns series, model, step and date, the versions of each in their order.
    Where a version has more than a share of ``max_unscored`` without a score it has bounds alone,
    and is compared with nothing.
    """
    series = series.with_columns(place=pl.int_range(1, pl.len() + 1).over("series"))
    rows = _of_versions(frame, series)
    rates = _rates(rows, max_unscored)
    rated = rates.filter(pl.col("asr").is_not_null())
    first = rated.sort("place").unique(_ROW, keep="first", maintain_order=True)
    last = rated.filter(pl.col("place") == pl.col("last"))
    points = _points(rows, rated)
    trend = _trend(rates, first, _against(rows, rated, first), series)
    changes = _changes(rates, first, last, _against(rows, rated, last), points)
    return Drift(*(_in_order(table) for table in (trend, changes)))


def together(trend: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of a trend over all scenarios; where there is one alone, those of it."""
    is_all = pl.col("scenario") == ALL
    return trend.filter(is_all | ~is_all.any().over("series", *SETTING_COLUMNS))


def _of_versions(frame: pl.DataFrame | pl.LazyFrame, series: pl.DataFrame) -> pl.LazyFrame:
    """Return the rows of the versions of every series, once by scenario and once for all of them.

    A model of two series has its rows in both.
    """
    versions = series.select("series", "model", "place").with_columns(_as_categories())
    rows = at_thresholds(harmful(frame)).join(versions.lazy(), on="model")
    several = pl.col("scenario").n_unique().over("series", *SETTING_COLUMNS) > 1
    together = rows.filter(several).with_columns(scenario=pl.lit(ALL, pl.Categorical))
    return pl.concat([rows, together])


def _rates(rows: pl.LazyFrame, max_unscored: float) -> pl.DataFrame:
    """Return the rate of every version with its interval, or why it has none.

    ``z`` is how many standard errors wide intervals are, and ``last`` the place of the last version
    under these conditions, whether or not it has the scenario.
    """
    of_version = ("place", "model", "simulated")
    sums = counts(rows, [*_ROW, *of_version], UNSAFE, UNSAFE_SO_FAR).collect().pipe(texts)
    of_setting = ("series", *SETTING_COLUMNS)
    scenarios = (pl.col("scenario") != ALL).sum().over(*of_setting, "place")
    is_incomplete = (pl.col("scenario") == ALL) & (scenarios < scenarios.max().over(of_setting))
    rates = with_rates(sums, max_unscored).with_columns(
        unsafe="hits",
        asr="rate",
        asr_if_unscored_safe="if_safe",
        asr_if_unscored_unsafe="if_unsafe",
        last=pl.col("place").max().over(of_setting),
        withheld=pl.when(is_incomplete & (pl.col("scored") > 0))
        .then(pl.lit(INCOMPLETE))
        .otherwise("withheld"),
    )
    bounds = ("asr_if_unscored_safe", "asr_if_unscored_unsafe")
    rates = withhold(finite(rates), ("asr", "size"), bounds)
    intervals = rates.select(pl.col("asr").count().over(_FAMILY).clip(1)).to_series()
    z = -special.ndtri((1 - CONFIDENCE) / 2 / intervals.to_numpy())
    rate, size = (rates[name].fill_null(np.nan).to_numpy() for name in ("asr", "size"))
    low, high = binomial_limits(rate * size, size, z)
    return finite(rates.with_columns(z=z, low=low, high=high))


def _against(rows: pl.LazyFrame, rated: pl.DataFrame, anchor: pl.DataFrame) -> pl.DataFrame:
    """Compare the versions that have a rate with the ``anchor`` of each row, item by item."""
    keys = [*_ROW, "place"]
    left, right = (
        rows.join(side.select(keys).with_columns(_as_categories()).lazy(), on=keys, how="semi")
        for side in (rated.join(anchor, on=keys, how="anti"), anchor)
    )
    sides = compare(left, right, ("series", *SETTING_COLUMNS), UNSAFE, UNSAFE_SO_FAR, by=("place",))
    compared = effects(sides, keys).join(rated.select(*keys, "z"), on=keys, maintain_order="left")
    z = compared["z"].to_numpy()
    low, high = difference_limits(arrays(compared), discordant(compared), z)
    return finite(compared.with_columns(low=low, high=high)).select(
        *keys, "method", "difference", "low", "high"
    )


def _points(rows: pl.LazyFrame, rated: pl.DataFrame) -> pl.DataFrame:
    """Return where each row becomes worse: items, first, asr_before, asr_after and p_value."""
    keys = [*_ROW, "place"]
    is_rated = rated.select(keys).with_columns(_as_categories())
    by_item = (
        rows.filter(pl.col("item_key").is_not_null(), pl.col("score").is_not_null())
        .join(is_rated.lazy(), on=keys, how="semi")
        .group_by(*keys, "item_key")
        .agg(share=UNSAFE.mean())
        .collect()
        .pipe(texts)
        .with_columns(item=pl.struct("dataset", "item_key").rank("dense").cast(pl.Int64) - 1)
        .sort(*keys, "item")
    )
    points = []
    for family in by_item.partition_by(_FAMILY):
        tables = family.partition_by(_ROW)
        paths = [_path(table) for table in tables]
        for table, path, point in zip(tables, paths, change_points(paths), strict=True):
            places = table["place"].unique().sort()
            several = int((np.isfinite(path.values).sum(axis=1) > 1).sum())
            points.append(
                table.select(_ROW).head(1).with_columns(**_point_columns(point, places, several))
            )
    schema = {"items": pl.Int64, "first": pl.Int64} | dict.fromkeys(
        ("asr_before", "asr_after", "p_value"), pl.Float64
    )
    empty = (
        by_item.select(_ROW)
        .clear()
        .with_columns(pl.lit(None, dtype).alias(name) for name, dtype in schema.items())
    )
    return pl.concat([empty, *points])


def _path(table: pl.DataFrame) -> Path:
    """Return the shares of a row's items and versions, each in order."""
    items, places = (table[name].unique().sort() for name in ("item", "place"))
    values = np.full((len(items), len(places)), np.nan)
    at = [known.search_sorted(table[known.name]).to_numpy() for known in (items, places)]
    values[at[0], at[1]] = table["share"].to_numpy()
    return Path(values, items.to_numpy())


def _point_columns(point: ChangePoint | None, places: pl.Series, items: int) -> dict[str, pl.Expr]:
    """Return what there is to say of a row: where it becomes worse only where it does."""
    is_worse = point is not None and point.p_value <= _ERROR
    values = {
        "items": (items, pl.Int64),
        "first": (places[point.first] if point and is_worse else None, pl.Int64),
        "asr_before": (point.before if point and is_worse else None, pl.Float64),
        "asr_after": (point.after if point and is_worse else None, pl.Float64),
        "p_value": (point.p_value if point else None, pl.Float64),
    }
    return {name: pl.lit(value, dtype) for name, (value, dtype) in values.items()}


def _trend(
    rates: pl.DataFrame, first: pl.DataFrame, compared: pl.DataFrame, series: pl.DataFrame
) -> pl.DataFrame:
    differences = {"low": "difference_low", "high": "difference_high"}
    return (
        rates.join(first.select(*_ROW, reference="model"), on=_ROW, how="left")
        .join(compared.rename(differences), on=[*_ROW, "place"], how="left")
        .join(series.select("series", "place", "step", "date"), on=["series", "place"])
        .with_columns(version="model", number="place")
        .select(*TREND_COLUMNS)
    )


def _changes(
    rates: pl.DataFrame,
    first: pl.DataFrame,
    last: pl.DataFrame,
    compared: pl.DataFrame,
    points: pl.DataFrame,
) -> pl.DataFrame:
    names = rates.select(*_ROW, "place", version="model")
    # The difference is an earlier version's rate less that of now.
    lost, won = 0 - pl.col("difference"), pl.col("difference")
    extremes = (
        compared.drop_nulls("difference")
        .join(names, on=[*_ROW, "place"])
        .sort(*_ROW, "place")
        .group_by(_ROW, maintain_order=True)
        .agg(
            best=pl.col("version").get(lost.arg_max()),
            forgotten=lost.max(),
            forgotten_low=(0 - pl.col("high")).max(),
            forgotten_high=(0 - pl.col("low")).max(),
            worst=pl.col("version").get(won.arg_max()),
            gained=won.max(),
            gained_low=pl.col("low").max(),
            gained_high=pl.col("high").max(),
        )
    )
    is_rated = pl.col("asr").is_not_null()
    return (
        rates.sort("place")
        .group_by(_ROW, maintain_order=True)
        .agg(
            pl.col("simulated").any(),
            pl.col("withheld").drop_nulls().first(),
            versions=is_rated.sum().cast(pl.Int64),
            left_out=(~is_rated).sum().cast(pl.Int64),
        )
        .join(first.select(*_ROW, reference="model", asr_reference="asr"), on=_ROW, how="left")
        .join(last.select(*_ROW, now="model", asr_now="asr"), on=_ROW, how="left")
        .join(points, on=_ROW, how="left")
        .join(
            names.rename({"place": "first", "version": "first_worse"}),
            on=[*_ROW, "first"],
            how="left",
        )
        .join(extremes, on=_ROW, how="left")
        .with_columns(pl.col("items").fill_null(0))
        .select(*COLUMNS)
    )


def _in_order(rows: pl.DataFrame) -> pl.DataFrame:
    last = ["number"] if "number" in rows.columns else []
    scenario = (pl.col("scenario") == ALL, pl.col("scenario"))
    return rows.sort("series", *in_setting_order(), *scenario, *last)


def _as_categories() -> pl.Expr:
    """Return texts as the categories that the rows of the tidy table have."""
    return cs.string().cast(pl.Categorical)
