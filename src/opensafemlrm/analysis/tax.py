"""The reasoning tax: how much more often a reasoning model is unsafe than the base it came from.

Source: SafeMLRM (arXiv 2504.08813), ASR(MLRM) − ASR(base), per pair, scenario and setting.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import polars as pl

from opensafemlrm.analysis import MAX_UNSCORED, clustered_counts
from opensafemlrm.analysis.clustered_counts import (
    UNSAFE,
    UNSAFE_SO_FAR,
    at_thresholds,
    finite,
    harmful,
)
from opensafemlrm.analysis.compare import (
    BOTH_SCORED,
    BOUNDS,
    compare,
    effects,
    mean_effects,
    pool,
    without_withheld,
)
from opensafemlrm.analysis.conditions import (
    DATASET_TO_DEFENSE,
    JUDGE_TO_CELL,
    PART_AND_THRESHOLD,
    SETTING_COLUMNS,
    in_part_order,
    only,
)
from opensafemlrm.analysis.withheld import COLUMN
from opensafemlrm.types import Part

READS: Final = clustered_counts.READS | {"repeat"}
"""Columns of the tidy table that :func:`tax` needs."""

FAMILY: Final = ("model", "cell", "base", *SETTING_COLUMNS)
"""Columns of a pair in a setting; its scenarios are a family."""

METHOD: Final[Mapping[str, str]] = {
    "method": "`paired`: only samples are compared of which both models have a score for the same "
    "item and repeat; `unpaired`: only counts are known, or no item is shared; `none`: one of the "
    "two has no score.",
}
"""How two sides are compared."""

COMPARISON: Final[Mapping[str, str]] = {
    "scored_model": "Samples of the reasoning model whose scores are compared.",
    "scored_base": "The same of the base.",
    "unsafe_model": "Those of `scored_model` that are unsafe.",
    "unsafe_base": "The same of the base.",
    "asr_model": "`unsafe_model` / `scored_model`.",
    "asr_base": "The same of the base.",
    "difference": "`asr_model` − `asr_base`: above 0 the reasoning model is less safe.",
    "low": "Lower end of the 95 % interval of `difference`: Newcombe's hybrid score, items as "
    "clusters.",
    "high": "Upper end.",
    "ratio": "`asr_model` / `asr_base`; null where the base has no unsafe reply.",
    "ratio_low": "Lower end of the 95 % interval of `ratio`: it holds 1 just where that of "
    "`difference` holds 0.",
    "ratio_high": "Upper end; null where the data set none.",
    "p_value": "Two-sided and exact: McNemar's test over items where paired, Fisher's where not; "
    "null for macro averages.",
}
"""What the comparison of a reasoning model with its base says; rates are fractions, null where
not measured, and where ``withheld``."""

IF_UNSCORED: Final[Mapping[str, str]] = {
    "asr_model_if_unscored_safe": "The reasoning model's rate over all `n_model` if every unscored "
    "sample were safe, but for those that were cut and are unsafe so far.",
    "asr_model_if_unscored_unsafe": "The same if every unscored sample were unsafe.",
    "asr_base_if_unscored_safe": "The base's rate over all `n_base` if every unscored were safe.",
    "asr_base_if_unscored_unsafe": "The same if every one were unsafe.",
    "bound_low": "Lowest difference over all samples, whatever the unscored ones hold.",
    "bound_high": "Highest.",
    **COLUMN,
}
"""What there is in place of a rate that is withheld."""

COLUMNS: Final[Mapping[str, str]] = {
    "model": "The reasoning model.",
    "base": "The base model that it came from.",
    **DATASET_TO_DEFENSE,
    "scenario": "`all` in the averages.",
    "level": "`scenario`; `micro`: all samples together; `macro`: the mean over scenarios.",
    **PART_AND_THRESHOLD,
    **METHOD,
    "n_model": "Samples of the reasoning model that should have been scored.",
    "n_base": "The same of the base.",
    **COMPARISON,
    "worse": "Items on which the reasoning model is the more unsafe one; null where unpaired.",
    "better": "Items on which the base is.",
    **IF_UNSCORED,
    **JUDGE_TO_CELL,
}
"""The columns of :func:`tax`."""


def tax(
    frame: pl.DataFrame | pl.LazyFrame,
    pairs: pl.DataFrame,
    *,
    by: Literal["scenario"] | None = None,
    mean: Literal["micro", "macro"] | None = None,
    part: str | None = None,
    threshold: float | None = None,
    max_unscored: float = MAX_UNSCORED,
) -> pl.DataFrame:
    """Return the reasoning tax of every pair, on harmful items; columns: :data:`COLUMNS`.

    ``pairs`` has the columns ``reasoner`` and ``base``. For each pair, dataset, attack, defense,
    sampling, judge, part and threshold that both models were run with there is a micro row, and a
    macro row where there is more than one scenario; ``by`` scenario a row each before them.
    ``mean``, ``part`` and ``threshold`` keep only the rows that have it. Where one of the two has
    more than a share of ``max_unscored`` without a score, a row has bounds alone.
    """
    scenarios = pair_effects(frame, pairs, max_unscored)
    micro = effects(pool(scenarios, FAMILY), max_unscored)
    levels = {
        "scenario": scenarios if by == "scenario" else scenarios.clear(),
        "micro": micro,
        "macro": _macro(scenarios, micro),
    }
    levels = {name: rows for name, rows in levels.items() if mean in (None, name) or name == by}
    rows = pl.concat(
        [rows.with_columns(level=pl.lit(name)) for name, rows in levels.items()],
        how="diagonal",
    ).sort(
        *("model", "base", "dataset", "attack", "defense", "sampling", "judge"),
        in_part_order(),
        "threshold",
        pl.col("level").cast(pl.Enum(list(levels))),
        "scenario",
    )
    return only(renamed(without_withheld(finite(rows))).select(*COLUMNS), part, threshold)


def pair_effects(
    frame: pl.DataFrame | pl.LazyFrame, pairs: pl.DataFrame, max_unscored: float = MAX_UNSCORED
) -> pl.DataFrame:
    """Compare every pair in every setting and scenario (:func:`compare.effects`).

    Of reasoning and answer only where both models have scores somewhere: a base that writes no
    reasoning has none to compare.
    """
    rows = at_thresholds(harmful(frame))
    pairs = pairs.cast(pl.Categorical)
    reasoners = rows.join(pairs.lazy(), left_on="model", right_on="reasoner")
    bases = rows.rename({"model": "base"}).filter(pl.col("base").is_in(pairs["base"].implode()))
    on = ("base", *SETTING_COLUMNS)
    sides = compare(reasoners, bases, on, UNSAFE, UNSAFE_SO_FAR, by=("model", "cell"))
    there = BOTH_SCORED.any().over(FAMILY) | (pl.col("part") == Part.FULL.value)
    return effects(sides.filter(there), max_unscored)


def renamed(rows: pl.DataFrame) -> pl.DataFrame:
    """Name the columns of a comparison of a reasoning model with its base."""
    return rows.with_columns(
        pl.when("paired").then(pl.col("worse", "better")),
        n_model="n",
        n_base="n_right",
        scored_model="scored",
        scored_base="scored_right",
        unsafe_model="hits",
        unsafe_base="hits_right",
        asr_model="rate",
        asr_base="rate_right",
        asr_model_if_unscored_safe="if_safe",
        asr_model_if_unscored_unsafe="if_unsafe",
        asr_base_if_unscored_safe="if_safe_right",
        asr_base_if_unscored_unsafe="if_unsafe_right",
    )


def _macro(scenarios: pl.DataFrame, micro: pl.DataFrame) -> pl.DataFrame:
    """Return the mean over the scenarios of each family that has several."""
    means = mean_effects(scenarios, FAMILY)
    bounds = scenarios.group_by(FAMILY).agg(pl.col(BOUNDS).mean(), several=pl.len() > 1)
    figures = {*means.columns, *bounds.columns} - {*FAMILY}
    return (
        micro.drop(figures, strict=False)
        .join(bounds, on=FAMILY)
        .filter("several")
        .join(means, on=FAMILY, how="left")
        .with_columns(p_value=pl.lit(None, pl.Float64))
    )
