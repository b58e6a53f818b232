"""The reasoning tax: how much more often a reasoning model is unsafe than the base it came from.

Source: SafeMLRM (arXiv 2504.08813), ASR(MLRM) − ASR(base), per pair, scenario and setting.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from opensafemlrm.analysis.clustered_counts import finite_or_none, format_threshold, total
from opensafemlrm.analysis.compare import (
    EVERY,
    FIGURES,
    PAIR,
    PAIRED,
    SIDES,
    effects,
    mean_over_scenarios,
    method_of,
    side_by_side,
)
from opensafemlrm.analysis.conditions import ALL, PART_ORDER


@dataclass(frozen=True, slots=True)
class TaxRow:
    """A reasoning model beside its base: one part, one threshold, one scenario or all of them.

    Rates and differences are fractions; ``None`` means not measured. ``method`` says what is
    compared: ``paired``, where both models have a score for the same item and repeat, and only
    those samples count; ``unpaired``, where only counts are known (imported histograms) or the two
    have no item in common; ``none``, where one of them has no score at all.
    """

    model: str
    base: str
    dataset: str
    attack: str
    defense: str
    scenario: str
    """``all`` in the averages."""
    level: str
    """``scenario``; ``micro``: all samples together; ``macro``: the mean over scenarios."""
    part: str
    threshold: float
    method: str
    n_model: int
    """Samples of the reasoning model that should have been scored."""
    n_base: int
    scored_model: int
    """Samples of the reasoning model whose scores are compared."""
    scored_base: int
    unsafe_model: int
    unsafe_base: int
    asr_model: float | None
    asr_base: float | None
    difference: float | None
    """``asr_model − asr_base``: above 0, the reasoning model is less safe."""
    low: float | None
    high: float | None
    """95 % interval of ``difference`` (Newcombe's hybrid score, items as clusters)."""
    ratio: float | None
    """``asr_model / asr_base``; ``None`` where the base has no unsafe reply."""
    ratio_low: float | None
    ratio_high: float | None
    """95 % interval of the ratio, from the same limits: it holds 1 just where ``low`` to ``high``
    holds 0. ``ratio_high`` is ``None`` where the data set no upper limit."""
    p_value: float | None
    """Two-sided and exact: McNemar's test over items where paired, Fisher's where not; ``None``
    for macro averages."""
    worse: int | None
    """Items on which the reasoning model is the more unsafe one; ``None`` where unpaired."""
    better: int | None
    bound_low: float | None
    bound_high: float | None
    """The difference over all samples, whatever the unscored ones hold."""
    judge: str
    sampling: str
    simulated: bool
    cell: str
    """The reasoning model's cell."""


def tax(frame: pl.DataFrame | pl.LazyFrame, by_scenario: bool = False) -> list[TaxRow]:
    """Return the reasoning tax of every pair in ``frame`` (column ``base``), on harmful items.

    For each pair, dataset, attack, defense, sampling, judge, part and threshold that both models
    were run with: a micro row, and a macro row where there is more than one scenario; with
    ``by_scenario`` also a row a scenario, before them.
    """
    sides = side_by_side(frame)
    scenarios = effects(sides)
    micro = effects(_added_up(sides))
    rows = [_row(row, "scenario") for row in scenarios.iter_rows(named=True)] if by_scenario else []
    rows += [_row(row, "micro") for row in micro.iter_rows(named=True)]
    rows += [
        _macro(group)
        for group in scenarios.partition_by(PAIR, maintain_order=True)
        if len(group) > 1
    ]
    return sorted(rows, key=_place)


def _added_up(sides: pl.DataFrame) -> pl.DataFrame:
    """Add scenarios up; scores in a scenario in which one model has none are no part of it."""
    both = (pl.col("scored") > 0) & (pl.col("scored_base") > 0)
    counts = both | ~both.any().over(PAIR)
    compared = [name for name in (*SIDES, *PAIRED) if name not in ("n", "n_base")]
    sides = sides.with_columns(pl.when(counts).then(pl.col(compared)).otherwise(0))
    columns = [*SIDES, *EVERY, *PAIRED]
    return total(sides, [*PAIR, "paired"], columns).with_columns(scenario=pl.lit(ALL))


def _macro(group: pl.DataFrame) -> TaxRow:
    (added,) = _added_up(group).iter_rows(named=True)
    means = mean_over_scenarios(group)
    bounds = group.select(pl.col("bound_low", "bound_high").mean()).row(0, named=True)
    return _row({**added, **means, **bounds, "p_value": float("nan")}, "macro")


def _row(row: dict[str, Any], level: str) -> TaxRow:
    paired = row["paired"]
    return TaxRow(
        model=row["model"],
        base=row["base"],
        dataset=row["dataset"],
        attack=row["attack"],
        defense=row["defense"],
        scenario=row["scenario"],
        level=level,
        part=row["part"],
        threshold=format_threshold(row["threshold"]),
        method=method_of(row),
        n_model=row["n"],
        n_base=row["n_base"],
        scored_model=row["scored"],
        scored_base=row["scored_base"],
        unsafe_model=row["hits"],
        unsafe_base=row["hits_base"],
        asr_model=finite_or_none(row["rate"]),
        asr_base=finite_or_none(row["rate_base"]),
        **{name: finite_or_none(row[name]) for name in FIGURES},
        p_value=finite_or_none(row["p_value"]),
        worse=row["worse"] if paired else None,
        better=row["better"] if paired else None,
        bound_low=finite_or_none(row["bound_low"]),
        bound_high=finite_or_none(row["bound_high"]),
        judge=row["judge"],
        sampling=row["sampling"],
        simulated=row["simulated"],
        cell=row["cell"],
    )


def _place(row: TaxRow) -> tuple[Any, ...]:
    """Order rows as people read them: setting, part, threshold, then scenarios before averages."""
    level = ("scenario", "micro", "macro").index(row.level)
    setting = (row.model, row.base, row.dataset, row.attack, row.defense, row.sampling, row.judge)
    return (*setting, PART_ORDER[row.part], row.threshold, level, row.scenario)
