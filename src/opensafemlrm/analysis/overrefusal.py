"""Over-refusal: refusals of benign items, and safety beside helpfulness."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import polars as pl

from opensafemlrm.analysis import MAX_UNSCORED, clustered_counts
from opensafemlrm.analysis.clustered_counts import (
    benign,
    counts,
    finite,
    texts,
    unsafe_counts,
    with_rates,
)
from opensafemlrm.analysis.conditions import (
    ALL,
    CELL_COLUMNS,
    JUDGE_TO_CELL,
    MODEL_TO_DEFENSE,
    PART_AND_THRESHOLD,
    ends,
    in_part_order,
)
from opensafemlrm.analysis.intervals import difference_interval, rate_interval
from opensafemlrm.analysis.withheld import COLUMN, withhold
from opensafemlrm.types import Part, ResponseStatus

READS: Final = clustered_counts.READS | {"status", "refusal"}
"""Columns of the tidy table that :func:`overrefusal` and :func:`balance` need."""

COLUMNS: Final[Mapping[str, str]] = {
    **MODEL_TO_DEFENSE,
    "scenario": "`all` where scenarios are taken together.",
    "part": "`answer` or `full`.",
    "n": "Samples of benign items.",
    "known": "Those of which the judge says whether they are refusals.",
    "refused": "Those that it takes for refusals.",
    "rate": "`refused` / `known`, from 0 to 1; null where nothing is known, or `withheld`.",
    "low": "Lower end of the 95 % interval of `rate`, items as clusters.",
    "high": "Upper end.",
    "rate_if_unknown_helped": "The rate over all `n` if every unknown sample were no refusal.",
    "rate_if_unknown_refused": "The rate over all `n` if every unknown sample were one.",
    **COLUMN,
    "blocked": "Samples that the provider's filter refused, which are in no rate.",
    **JUDGE_TO_CELL,
}
"""The columns of :func:`overrefusal`."""

BALANCE_COLUMNS: Final[Mapping[str, str]] = {
    **MODEL_TO_DEFENSE,
    **PART_AND_THRESHOLD,
    "harmful": "Scored samples of harmful items.",
    "benign": "Samples of benign items known to be refused or not.",
    "safety": "1 − ASR on harmful items.",
    **ends("safety"),
    "helpfulness": "1 − refusal rate on benign items.",
    **ends("helpfulness"),
    "balanced": "The mean of the two.",
    **ends("balanced"),
    "safety_bound_low": "The lowest safety over all samples, whatever the unscored ones hold.",
    "safety_bound_high": "The highest.",
    "helpfulness_bound_low": "The lowest helpfulness, whatever the unknown ones are.",
    "helpfulness_bound_high": "The highest.",
    "balanced_bound_low": "The mean of the two lowest.",
    "balanced_bound_high": "The mean of the two highest.",
    **COLUMN,
    **JUDGE_TO_CELL,
}
"""The columns of :func:`balance`."""

PARTS: Final = (Part.ANSWER.value, Part.FULL.value)
"""The parts of which it makes sense to ask whether they refuse."""


def overrefusal(
    frame: pl.DataFrame | pl.LazyFrame,
    *,
    by: Literal["scenario"] | None = None,
    max_unscored: float = MAX_UNSCORED,
) -> pl.DataFrame:
    """Return how often benign items were refused; columns: :data:`COLUMNS`.

    One row a cell, judge and part, and a scenario ``by`` scenario. Where more than a share of
    ``max_unscored`` is not known, a row has bounds alone.
    """
    if by is None:
        frame = frame.with_columns(scenario=pl.lit(ALL))
    rows = _refusals(frame, max_unscored).with_columns(
        known="scored",
        refused="hits",
        rate_if_unknown_helped="if_safe",
        rate_if_unknown_refused="if_unsafe",
    )
    bounds = ("rate_if_unknown_helped", "rate_if_unknown_refused")
    rows = withhold(finite(rows), ("rate", "low", "high"), bounds)
    return rows.select(*COLUMNS)


def balance(
    frame: pl.DataFrame | pl.LazyFrame,
    *,
    max_unscored: float = MAX_UNSCORED,
) -> pl.DataFrame:
    """Return safety on harmful items beside helpfulness on benign ones, where there are both.

    Columns: :data:`BALANCE_COLUMNS`. Where more than a share of ``max_unscored`` of either has no
    score, a row has bounds alone.
    """
    frame = frame.with_columns(scenario=pl.lit(ALL))
    on = [*CELL_COLUMNS, "judge", "part"]
    names = ("scored", "rate", "size", "if_safe", "if_unsafe", "withheld")
    both = with_rates(unsafe_counts(frame), max_unscored).join(
        _refusals(frame, max_unscored).select(*on, *names),
        on=on,
        suffix="_benign",
        maintain_order="left",
    )
    sides = ("rate", "size", "rate_benign", "size_benign")
    rate, size, refused, size_benign = (both[name].to_numpy() for name in sides)
    safety, helpfulness = 1 - rate, 1 - refused
    safety_low, safety_high = rate_interval(safety * size, size)
    helpfulness_low, helpfulness_high = rate_interval(helpfulness * size_benign, size_benign)
    # The mean of safety and helpfulness is ½ + half the difference of safety and refusal rate.
    low, high = difference_interval(safety, size, 1 - helpfulness, size_benign)
    bounds = {
        f"{name}_bound_{end}": 1 - pl.col(f"{bound}{side}")
        for name, side in (("safety", ""), ("helpfulness", "_benign"))
        for end, bound in (("low", "if_unsafe"), ("high", "if_safe"))
    }
    rows = both.with_columns(
        harmful="scored",
        benign="scored_benign",
        safety=safety,
        safety_low=safety_low,
        safety_high=safety_high,
        helpfulness=helpfulness,
        helpfulness_low=helpfulness_low,
        helpfulness_high=helpfulness_high,
        balanced=(safety + helpfulness) / 2,
        balanced_low=(1 + low) / 2,
        balanced_high=(1 + high) / 2,
        **bounds,
    ).with_columns(
        balanced_bound_low=pl.mean_horizontal("safety_bound_low", "helpfulness_bound_low"),
        balanced_bound_high=pl.mean_horizontal("safety_bound_high", "helpfulness_bound_high"),
    )
    rows = withhold(finite(rows), *_with_ends("safety"))
    rows = withhold(rows, *_with_ends("helpfulness"), "withheld_benign")
    rows = rows.with_columns(withheld=pl.coalesce("withheld", "withheld_benign"))
    rows = withhold(rows, *_with_ends("balanced"))
    return rows.select(*BALANCE_COLUMNS)


def _with_ends(name: str) -> tuple[list[str], list[str]]:
    """Return a figure with the ends of its interval, and its bounds."""
    return [name, f"{name}_low", f"{name}_high"], [f"{name}_bound_low", f"{name}_bound_high"]


def _refusals(frame: pl.DataFrame | pl.LazyFrame, max_unscored: float) -> pl.DataFrame:
    """Return the sums of refusals of benign items, and what they say of their rate."""
    rows = benign(frame).filter(pl.col("part").is_in(PARTS))
    blocked = (pl.col("status") == ResponseStatus.BLOCKED.value).sum().cast(pl.Int64)
    keys = [*CELL_COLUMNS, "judge", "scenario", "part"]
    sums = texts(counts(rows, keys, pl.col("refusal"), blocked=blocked).collect())
    return with_rates(sums.sort(*keys[:-1], in_part_order()), max_unscored)
