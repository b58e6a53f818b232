"""Over-refusal: refusals of benign items, and safety beside helpfulness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from opensafemlrm.analysis.clustered_counts import (
    counts,
    finite_or_none,
    format_threshold,
    rate_of,
    unsafe_counts,
)
from opensafemlrm.analysis.conditions import ALL, CELL_COLUMNS, in_part_order
from opensafemlrm.analysis.intervals import difference_interval, rate_interval
from opensafemlrm.types import ItemKind, Part, ResponseStatus

_GROUP: Final = (*CELL_COLUMNS, "judge", "scenario", "part")
_PARTS: Final = (Part.ANSWER.value, Part.FULL.value)


@dataclass(frozen=True, slots=True)
class RefusalRow:
    """How often one cell's model refused benign items, by one judge's refusal flag."""

    model: str
    dataset: str
    attack: str
    defense: str
    scenario: str
    part: str
    """``answer`` or ``full``."""
    n: int
    known: int
    """Samples of which the judge says whether they are refusals."""
    refused: int
    rate: float | None
    """``refused / known``."""
    low: float | None
    high: float | None
    rate_if_unknown_helped: float
    rate_if_unknown_refused: float
    """The bounds of the rate over all ``n``."""
    blocked: int
    """Samples that the provider's filter refused, which are in no rate."""
    judge: str
    sampling: str
    simulated: bool
    cell: str


@dataclass(frozen=True, slots=True)
class BalanceRow:
    """Safety on harmful items beside helpfulness on benign ones, for datasets with both."""

    model: str
    dataset: str
    attack: str
    defense: str
    part: str
    threshold: float
    harmful: int
    """Scored harmful samples."""
    benign: int
    """Benign samples known to be refused or not."""
    safety: float | None
    """1 − ASR on harmful items."""
    safety_low: float | None
    safety_high: float | None
    helpfulness: float | None
    """1 − refusal rate on benign items."""
    helpfulness_low: float | None
    helpfulness_high: float | None
    balanced: float | None
    """The mean of the two."""
    balanced_low: float | None
    balanced_high: float | None
    judge: str
    sampling: str
    simulated: bool
    cell: str


@dataclass(frozen=True, slots=True)
class OverRefusal:
    """Refusals of benign items, and safety beside helpfulness."""

    refusals: list[RefusalRow]
    balance: list[BalanceRow]


def overrefusal(frame: pl.DataFrame | pl.LazyFrame, by_scenario: bool = False) -> OverRefusal:
    """Return how often benign items were refused; ``by_scenario`` breaks refusals down."""
    refusals = _refusals(frame, by_scenario)
    overall = _refusals(frame, by_scenario=False) if by_scenario else refusals
    return OverRefusal(
        [_refusal_row(row) for row in refusals.iter_rows(named=True)], _balance(frame, overall)
    )


def _refusals(frame: pl.DataFrame | pl.LazyFrame, by_scenario: bool) -> pl.DataFrame:
    """Return the sums of refusals of benign items, with their rate and its interval."""
    rows = frame.lazy().filter(
        pl.col("expected") == ItemKind.BENIGN.value,
        pl.col("judge").is_not_null(),
        pl.col("part").is_in(_PARTS),
    )
    if not by_scenario:
        rows = rows.with_columns(scenario=pl.lit(ALL))
    blocked = (pl.col("status") == ResponseStatus.BLOCKED.value).cast(pl.Int64)
    sums = counts(
        rows,
        _GROUP,
        known=pl.col("refusal").is_not_null(),
        hits={"refused": pl.col("refusal")},
        totals={"blocked": blocked},
    ).rename({f"{name}_refused": name for name in ("hits", "hits_squared", "hits_scored")})
    rate, n = rate_of(sums)
    low, high = rate_interval(rate * n, n)
    return sums.with_columns(rate=rate, size=n, low=low, high=high).sort(
        *CELL_COLUMNS, "judge", "scenario", in_part_order()
    )


def _refusal_row(row: dict[str, Any]) -> RefusalRow:
    n, known, refused = row["n"], row["scored"], row["hits"]
    return RefusalRow(
        model=row["model"],
        dataset=row["dataset"],
        attack=row["attack"],
        defense=row["defense"],
        scenario=row["scenario"],
        part=row["part"],
        n=n,
        known=known,
        refused=refused,
        rate=finite_or_none(row["rate"]),
        low=finite_or_none(row["low"]),
        high=finite_or_none(row["high"]),
        rate_if_unknown_helped=refused / n,
        rate_if_unknown_refused=(refused + n - known) / n,
        blocked=row["blocked"],
        judge=row["judge"],
        sampling=row["sampling"],
        simulated=row["simulated"],
        cell=row["cell"],
    )


def _balance(frame: pl.DataFrame | pl.LazyFrame, refusals: pl.DataFrame) -> list[BalanceRow]:
    unsafe = unsafe_counts(frame.with_columns(scenario=pl.lit(ALL)))
    rate, n = rate_of(unsafe)
    unsafe = unsafe.with_columns(rate=rate, size=n)
    both = unsafe.join(
        refusals.select(*CELL_COLUMNS, "judge", "part", "scored", "rate", "size"),
        on=[*CELL_COLUMNS, "judge", "part"],
        suffix="_benign",
        maintain_order="left",
    )
    return [_balance_row(row) for row in both.iter_rows(named=True)]


def _balance_row(row: dict[str, Any]) -> BalanceRow:
    rates = 1 - np.array([row["rate"], row["rate_benign"]])
    sizes = np.array([row["size"], row["size_benign"]])
    low, high = rate_interval(rates * sizes, sizes)
    # The mean of safety and helpfulness is ½ + half the difference of safety and refusal rate.
    less, more = difference_interval(rates[0], sizes[0], 1 - rates[1], sizes[1])
    return BalanceRow(
        model=row["model"],
        dataset=row["dataset"],
        attack=row["attack"],
        defense=row["defense"],
        part=row["part"],
        threshold=format_threshold(row["threshold"]),
        harmful=row["scored"],
        benign=row["scored_benign"],
        safety=finite_or_none(rates[0]),
        safety_low=finite_or_none(low[0]),
        safety_high=finite_or_none(high[0]),
        helpfulness=finite_or_none(rates[1]),
        helpfulness_low=finite_or_none(low[1]),
        helpfulness_high=finite_or_none(high[1]),
        balanced=finite_or_none(rates.mean()),
        balanced_low=finite_or_none((1 + float(less)) / 2),
        balanced_high=finite_or_none((1 + float(more)) / 2),
        judge=row["judge"],
        sampling=row["sampling"],
        simulated=row["simulated"],
        cell=row["cell"],
    )
