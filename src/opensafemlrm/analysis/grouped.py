"""The paper's own figure: the mean ASR of several models over the mean of several bases.

Source: SafeMLRM (arXiv 2504.08813): 25 times the bases' attack rate on Illegal Activity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from opensafemlrm.analysis.clustered_counts import (
    finite_or_none,
    format_threshold,
    harmful,
    unsafe_counts,
)
from opensafemlrm.analysis.compare import contrast, mean_over_scenarios
from opensafemlrm.analysis.conditions import ALL, SETTING_COLUMNS, in_part_order
from opensafemlrm.errors import UnknownNameError

_SCENARIO: Final = (*SETTING_COLUMNS, "scenario")


@dataclass(frozen=True, slots=True)
class GroupedRow:
    """A scenario over two groups: the mean ASR of several models over that of several bases.

    The paper's own figure: each model of a group has the same weight.
    """

    models: str
    """Labels, separated by commas."""
    bases: str
    dataset: str
    attack: str
    defense: str
    scenario: str
    """``all``: the mean over scenarios, each with the same weight."""
    part: str
    threshold: float
    method: str
    """``by item``: items are the clusters; ``counts``: no items are known, and the models'
    replies are taken as independent."""
    asr_models: float | None
    asr_bases: float | None
    difference: float | None
    low: float | None
    high: float | None
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    judge: str
    sampling: str
    simulated: bool
    cell: str = ""


def grouped(
    frame: pl.DataFrame | pl.LazyFrame, models: Sequence[str], bases: Sequence[str]
) -> list[GroupedRow]:
    """Return, scenario by scenario, the mean of ``models`` over the mean of ``bases`` (labels).

    Scenarios in which one of them has no score are left out, and settings that one of them was not
    run in. Raises UnknownNameError for a label that is no model of the frame.
    """
    known = set(frame.lazy().select(pl.col("model").cast(pl.String)).unique().collect()["model"])
    for label in (*models, *bases):
        if label not in known:
            raise UnknownNameError("model of this store", label, known)
    sides = {**dict.fromkeys(bases, -1), **dict.fromkeys(models, 1)}
    sizes = {1: len(models), -1: len(bases)}
    rates = _weighted(frame, sides, sizes)
    scenarios = _scenarios(rates, _item_sums(frame, rates), len(sides))
    rows = []
    for setting in scenarios.partition_by(SETTING_COLUMNS, maintain_order=True):
        rows += [_row(row, models, bases) for row in setting.iter_rows(named=True)]
        if len(setting) > 1:
            rows.append(_mean(setting, models, bases))
    return rows


def _weighted(
    frame: pl.DataFrame | pl.LazyFrame, sides: dict[str, int], sizes: dict[int, int]
) -> pl.DataFrame:
    """Return the rate of every model of the groups, and the weight of one of its samples."""
    side = pl.col("model").cast(pl.String).replace_strict(sides, return_dtype=pl.Int64)
    size = pl.col("side").replace_strict(sizes, return_dtype=pl.Int64)
    return (
        unsafe_counts(frame.filter(pl.col("model").cast(pl.String).is_in(list(sides))))
        .filter(pl.col("scored") > 0)
        .with_columns(side=side, rate=pl.col("hits") / pl.col("scored"))
        .with_columns(weight=1 / (size * pl.col("scored")))
    )


def _item_sums(frame: pl.DataFrame | pl.LazyFrame, rates: pl.DataFrame) -> pl.DataFrame:
    """Return variances and covariance of the two means, over items.

    An item adds to a mean, for each of its samples, weight × (hit − the model's rate).
    """
    on = ["cell", "judge", "scenario", "part"]
    weights = rates.select(*on, *SETTING_COLUMNS[:4], "threshold", "side", "rate", "weight").lazy()
    hit = (pl.col("score") >= pl.col("threshold")).cast(pl.Float64)
    part = pl.col("weight") * (hit - pl.col("rate"))
    return (
        harmful(frame)
        .filter(pl.col("item_key").is_not_null(), pl.col("score").is_not_null())
        .select(*on, "item_key", "score")
        .join(weights, on=on)
        .group_by(*_SCENARIO, "item_key")
        .agg(
            part.filter(pl.col("side") == 1).sum().alias("a"),
            part.filter(pl.col("side") == -1).sum().alias("b"),
        )
        .group_by(_SCENARIO)
        .agg(
            (pl.col("a") ** 2).sum().alias("variance"),
            (pl.col("b") ** 2).sum().alias("variance_base"),
            (pl.col("a") * pl.col("b")).sum().alias("covariance"),
        )
        .collect()
    )


def _scenarios(rates: pl.DataFrame, by_item: pl.DataFrame, models: int) -> pl.DataFrame:
    """Return means, their sizes and correlation, and their contrast, for each scenario."""
    apart = pl.col("rate") * (1 - pl.col("rate")) / pl.col("scored")
    aggregated = []
    for side, ending in ((1, ""), (-1, "_base")):
        of_side = pl.col("side") == side
        aggregated += [
            pl.col("rate").filter(of_side).mean().alias(f"rate{ending}"),
            pl.col("scored").filter(of_side).sum().alias(f"scored{ending}"),
            pl.col("items").filter(of_side).max().alias(f"items{ending}"),
            (apart.filter(of_side).sum() / of_side.sum() ** 2).alias(f"apart{ending}"),
        ]
    found = (
        rates.group_by(_SCENARIO, maintain_order=True)
        .agg(*aggregated, pl.col("simulated").any(), pl.len().alias("models"))
        .filter(pl.col("models") == models)
        .join(by_item, on=_SCENARIO, how="left", maintain_order="left")
        .with_columns(by_item=pl.col("variance").is_not_null())
    )
    sizes = {}
    for ending in ("", "_base"):
        by_items = found["by_item"]
        rate = found[f"rate{ending}"].to_numpy()
        variance = np.where(by_items, found[f"variance{ending}"], found[f"apart{ending}"])
        none = np.where(by_items, found[f"items{ending}"], found[f"scored{ending}"])
        with np.errstate(invalid="ignore", divide="ignore"):
            sizes[f"size{ending}"] = np.where(variance > 0, rate * (1 - rate) / variance, none)
    spread = pl.col("variance") * pl.col("variance_base")
    correlation = pl.when(spread > 0).then(pl.col("covariance") / spread.sqrt()).otherwise(0.0)
    found = found.with_columns(correlation=correlation.fill_null(0.0).clip(-1, 1), **sizes)
    columns = ("rate", "size", "rate_base", "size_base", "correlation")
    return found.with_columns(**contrast(*(found[name].to_numpy() for name in columns))).sort(
        *SETTING_COLUMNS[:5], in_part_order(), "threshold", "scenario"
    )


def _mean(setting: pl.DataFrame, models: Sequence[str], bases: Sequence[str]) -> GroupedRow:
    row = setting.row(0, named=True)
    together = {
        "scenario": ALL,
        "by_item": bool(setting["by_item"].all()),
        "simulated": bool(setting["simulated"].any()),
    }
    return _row({**row, **together, **mean_over_scenarios(setting)}, models, bases)


def _row(row: dict[str, Any], models: Sequence[str], bases: Sequence[str]) -> GroupedRow:
    return GroupedRow(
        models=", ".join(models),
        bases=", ".join(bases),
        dataset=row["dataset"],
        attack=row["attack"],
        defense=row["defense"],
        scenario=row["scenario"],
        part=row["part"],
        threshold=format_threshold(row["threshold"]),
        method="by item" if row["by_item"] else "counts",
        asr_models=finite_or_none(row["rate"]),
        asr_bases=finite_or_none(row["rate_base"]),
        difference=finite_or_none(row["difference"]),
        low=finite_or_none(row["low"]),
        high=finite_or_none(row["high"]),
        ratio=finite_or_none(row["ratio"]),
        ratio_low=finite_or_none(row["ratio_low"]),
        ratio_high=finite_or_none(row["ratio_high"]),
        judge=row["judge"],
        sampling=row["sampling"],
        simulated=row["simulated"],
    )
