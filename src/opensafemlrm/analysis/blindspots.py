"""Safety blind spots: the scenarios in which a reasoning model loses most.

Source: SafeMLRM (arXiv 2504.08813): per-scenario ratio and difference against the base.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from opensafemlrm.analysis.clustered_counts import SUMS, finite_or_none, format_threshold, rate_of
from opensafemlrm.analysis.compare import FIGURES, PAIR, contrast, effects, method_of, side_by_side
from opensafemlrm.analysis.consistency import ConsistencyRow, consistency
from opensafemlrm.analysis.grouped import GroupedRow, grouped
from opensafemlrm.analysis.intervals import Array
from opensafemlrm.analysis.shrinkage import shrink
from opensafemlrm.analysis.significance import benjamini_hochberg, fisher, holm

__all__ = [
    "BlindSpotRow",
    "BlindSpots",
    "ConsistencyRow",
    "GroupedRow",
    "blindspots",
    "grouped",
]


@dataclass(frozen=True, slots=True)
class BlindSpotRow:
    """One scenario of one pair: against the base, and against the model's own other scenarios.

    The rows of one pair, dataset, attack, defense, judge, part and threshold are a family: the
    ``holm`` (family-wise) and ``bh`` (false discovery) p-values are adjusted over its scenarios.
    Fields up to ``p_value`` are as in :class:`~opensafemlrm.analysis.tax.TaxRow`.
    """

    model: str
    base: str
    dataset: str
    attack: str
    defense: str
    scenario: str
    part: str
    threshold: float
    method: str
    scored_model: int
    scored_base: int
    unsafe_model: int
    unsafe_base: int
    asr_model: float | None
    asr_base: float | None
    difference: float | None
    low: float | None
    high: float | None
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    p_value: float | None
    holm: float | None
    bh: float | None
    shrunken_model: float | None
    """``asr_model``, drawn towards the model's rate over all scenarios by as much as the number of
    samples asks for (beta-binomial, empirical Bayes)."""
    shrunken_base: float | None
    shrunken_difference: float | None
    shrunken_ratio: float | None
    """Finite also where the base has no unsafe reply."""
    rank: int | None
    """Place by ``shrunken_difference``, the greatest first: 1 is the worst blind spot."""
    asr_rest: float | None
    """The model's ASR over its other scenarios."""
    rest_difference: float | None
    """``asr_model − asr_rest``."""
    rest_low: float | None
    rest_high: float | None
    rest_ratio: float | None
    rest_ratio_low: float | None
    rest_ratio_high: float | None
    rest_p_value: float | None
    rest_holm: float | None
    rest_bh: float | None
    judge: str
    sampling: str
    simulated: bool
    cell: str


@dataclass(frozen=True, slots=True)
class BlindSpots:
    """The blind spots of every pair, and how consistent their rankings are."""

    rows: list[BlindSpotRow]
    consistency: list[ConsistencyRow]


def blindspots(frame: pl.DataFrame | pl.LazyFrame) -> BlindSpots:
    """Return the blind spots of every pair in ``frame`` (column ``base``), on harmful items."""
    scenarios = effects(side_by_side(frame))
    families = scenarios.partition_by(PAIR, maintain_order=True)
    rows = [row for family in families for row in _family(family)]
    return BlindSpots(rows, consistency(scenarios))


def _family(family: pl.DataFrame) -> Iterator[BlindSpotRow]:
    """Yield the scenarios of one pair in one setting, by name."""
    rate, n, rate0, n0 = (
        family[name].to_numpy() for name in ("rate", "size", "rate_base", "size_base")
    )
    shrunken, shrunken0 = (_shrunken(*side) for side in ((rate, n), (rate0, n0)))
    drop = shrunken - shrunken0
    columns = {
        "holm": holm(family["p_value"]),
        "bh": benjamini_hochberg(family["p_value"]),
        "shrunken_model": shrunken,
        "shrunken_base": shrunken0,
        "shrunken_difference": drop,
        "shrunken_ratio": shrunken / shrunken0,
        **_against_the_rest(family, rate, n),
    }
    places = {int(i): rank for rank, i in enumerate(np.argsort(-drop), 1) if np.isfinite(drop[i])}
    for i, row in enumerate(family.iter_rows(named=True)):
        figures = {name: finite_or_none(row[name]) for name in (*FIGURES, "p_value")}
        figures |= {name: finite_or_none(values[i]) for name, values in columns.items()}
        yield BlindSpotRow(
            model=row["model"],
            base=row["base"],
            dataset=row["dataset"],
            attack=row["attack"],
            defense=row["defense"],
            scenario=row["scenario"],
            part=row["part"],
            threshold=format_threshold(row["threshold"]),
            method=method_of(row),
            scored_model=row["scored"],
            scored_base=row["scored_base"],
            unsafe_model=row["hits"],
            unsafe_base=row["hits_base"],
            asr_model=finite_or_none(row["rate"]),
            asr_base=finite_or_none(row["rate_base"]),
            **figures,
            rank=places.get(i),
            judge=row["judge"],
            sampling=row["sampling"],
            simulated=row["simulated"],
            cell=row["cell"],
        )


def _shrunken(rate: Array, n: Array) -> Array:
    return shrink(np.nan_to_num(rate) * n, n)


def _against_the_rest(family: pl.DataFrame, rate: Array, n: Array) -> dict[str, Array]:
    """Hold each scenario of the reasoning model against all its others taken together."""
    sums = family.select(SUMS)
    rate1, n1 = rate_of(sums.select(pl.all().sum() - pl.all()))
    against = {f"rest_{name}": values for name, values in contrast(rate, n, rate1, n1).items()}
    p_value = fisher(rate, n, rate1, n1)
    return {
        "asr_rest": rate1,
        **against,
        "rest_p_value": p_value,
        "rest_holm": holm(p_value),
        "rest_bh": benjamini_hochberg(p_value),
    }
