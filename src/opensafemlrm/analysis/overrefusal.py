"""Over-refusal: refusals of benign items, and safety beside helpfulness."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import polars as pl

from opensafemlrm.analysis import clustered_counts
from opensafemlrm.analysis.clustered_counts import (
    benign,
    counts,
    finite,
    rate_of,
    texts,
    unsafe_counts,
)
from opensafemlrm.analysis.conditions import (
    ALL,
    CELL_COLUMNS,
    DATASET_TO_DEFENSE,
    JUDGE_TO_CELL,
    PART_AND_THRESHOLD,
    in_part_order,
    only,
)
from opensafemlrm.analysis.intervals import difference_interval, rate_interval
from opensafemlrm.types import Part, ResponseStatus

READS: Final = clustered_counts.READS | {"status", "refusal"}
"""Columns of the tidy table that :func:`overrefusal` and :func:`balance` need."""

COLUMNS: Final[Mapping[str, str]] = {
    "model": "The model, as tables call it.",
    **DATASET_TO_DEFENSE,
    "scenario": "`all` where scenarios are taken together.",
    "part": "`answer` or `full`.",
    "n": "Samples of benign items.",
    "known": "Those of which the judge says whether they are refusals.",
    "refused": "Those that it takes for refusals.",
    "rate": "`refused` / `known`, from 0 to 1; null where nothing is known.",
    "low": "Lower end of the 95 % interval of `rate`, items as clusters.",
    "high": "Upper end.",
    "rate_if_unknown_helped": "The rate over all `n` if every unknown sample were no refusal.",
    "rate_if_unknown_refused": "The rate over all `n` if every unknown sample were one.",
    "blocked": "Samples that the provider's filter refused, which are in no rate.",
    **JUDGE_TO_CELL,
}
"""The columns of :func:`overrefusal`."""

BALANCE_COLUMNS: Final[Mapping[str, str]] = {
    "model": "The model, as tables call it.",
    **DATASET_TO_DEFENSE,
    **PART_AND_THRESHOLD,
    "harmful": "Scored samples of harmful items.",
    "benign": "Samples of benign items known to be refused or not.",
    "safety": "1 − ASR on harmful items.",
    "safety_low": "Lower end of its 95 % interval.",
    "safety_high": "Upper end.",
    "helpfulness": "1 − refusal rate on benign items.",
    "helpfulness_low": "Lower end of its 95 % interval.",
    "helpfulness_high": "Upper end.",
    "balanced": "The mean of the two.",
    "balanced_low": "Lower end of its 95 % interval.",
    "balanced_high": "Upper end.",
    **JUDGE_TO_CELL,
}
"""The columns of :func:`balance`."""

PARTS: Final = (Part.ANSWER.value, Part.FULL.value)
"""The parts of which it makes sense to ask whether they refuse."""


def overrefusal(
    frame: pl.DataFrame | pl.LazyFrame,
    *,
    by: Literal["scenario"] | None = None,
    part: str | None = None,
) -> pl.DataFrame:
    """Return how often benign items were refused; columns: :data:`COLUMNS`.

    One row a cell, judge and part, and a scenario ``by`` scenario; ``part`` keeps only its rows.
    """
    if by is None:
        frame = frame.with_columns(scenario=pl.lit(ALL))
    n, known, refused = pl.col("n"), pl.col("scored"), pl.col("hits")
    rows = _refusals(frame).with_columns(
        known=known,
        refused=refused,
        rate_if_unknown_helped=refused / n,
        rate_if_unknown_refused=(refused + n - known) / n,
    )
    return only(finite(rows).select(*COLUMNS), part)


def balance(
    frame: pl.DataFrame | pl.LazyFrame,
    *,
    part: str | None = None,
    threshold: float | None = None,
) -> pl.DataFrame:
    """Return safety on harmful items beside helpfulness on benign ones, where there are both.

    Columns: :data:`BALANCE_COLUMNS`. ``part`` and ``threshold`` keep only the rows that have it.
    """
    frame = frame.with_columns(scenario=pl.lit(ALL))
    unsafe = unsafe_counts(frame)
    rate, size = rate_of(unsafe)
    on = [*CELL_COLUMNS, "judge", "part"]
    both = unsafe.with_columns(rate=rate, size=size).join(
        _refusals(frame).select(*on, "scored", "rate", "size"),
        on=on,
        suffix="_benign",
        maintain_order="left",
    )
    names = ("rate", "size", "rate_benign", "size_benign")
    rate, size, refused, size_benign = (both[name].to_numpy() for name in names)
    safety, helpfulness = 1 - rate, 1 - refused
    safety_low, safety_high = rate_interval(safety * size, size)
    helpfulness_low, helpfulness_high = rate_interval(helpfulness * size_benign, size_benign)
    # The mean of safety and helpfulness is ½ + half the difference of safety and refusal rate.
    low, high = difference_interval(safety, size, 1 - helpfulness, size_benign)
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
    )
    return only(finite(rows).select(*BALANCE_COLUMNS), part, threshold)


def _refusals(frame: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    """Return the sums of refusals of benign items, with their rate and its interval."""
    rows = benign(frame).filter(pl.col("part").is_in(PARTS))
    blocked = (pl.col("status") == ResponseStatus.BLOCKED.value).sum().cast(pl.Int64)
    keys = [*CELL_COLUMNS, "judge", "scenario", "part"]
    sums = texts(counts(rows, keys, pl.col("refusal"), blocked=blocked).collect())
    sums = sums.sort(*keys[:-1], in_part_order())
    rate, size = rate_of(sums)
    low, high = rate_interval(rate * size, size)
    return sums.with_columns(rate=rate, size=size, low=low, high=high)
