"""The reasoning tax: how much more often a reasoning model is unsafe than the base it came from.

Source: SafeMLRM (arXiv 2504.08813), ASR(MLRM) − ASR(base), per pair, scenario and setting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final, Literal, TypeAlias

import polars as pl

from opensafemlrm.analysis import MAX_UNSCORED, clustered_counts
from opensafemlrm.analysis.clustered_counts import (
    NEVER,
    UNSAFE,
    UNSAFE_SO_FAR,
    at_thresholds,
    finite,
    harmful,
)
from opensafemlrm.analysis.compare import compare, has_part
from opensafemlrm.analysis.conditions import (
    ALL,
    JUDGE_TO_CELL,
    PAIR_TO_DEFENSE,
    PART_AND_THRESHOLD,
    SETTING_COLUMNS,
    in_setting_order,
)
from opensafemlrm.analysis.effects import Cluster, effects, without_withheld
from opensafemlrm.analysis.withheld import COLUMN
from opensafemlrm.selection import RowChoice

READS: Final = clustered_counts.READS | {"repeat"}
"""Columns of the tidy table that :func:`tax` needs."""

FAMILY: Final = ("model", "cell", "base", *SETTING_COLUMNS)
"""Columns of a pair in a setting; its scenarios are a family."""

SCENARIO: Final = (*FAMILY, "scenario")
"""The same of one scenario."""

METHOD: Final[Mapping[str, str]] = {
    "method": "`paired`: only samples are compared of which both models have a score for the same "
    "item and repeat; `unpaired`: only counts are known, or hardly an item is shared; `mixed`: "
    "some scenarios are paired, others not; `none`: one of the two has no score.",
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
    "low": "Lower end of the 95 % interval of `difference`: Newcombe's hybrid score; items, or "
    "scenarios, as clusters.",
    "high": "Upper end.",
    "ratio": "`asr_model` / `asr_base`; null where the base has no unsafe reply.",
    "ratio_low": "Lower end of the 95 % interval of `ratio`: it holds 1 just where that of "
    "`difference` holds 0.",
    "ratio_high": "Upper end; null where the data set none.",
    "p_value": "Two-sided: at most 0.05 exactly where the interval of `difference` leaves out 0. "
    "It is the greater of the p-value of that interval and of an exact test over items (McNemar's "
    "where paired, Fisher's where not; not in macro averages or between scenarios).",
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
    "bound_interval_low": "Lower end of the interval that holds the difference at 95 %, whatever "
    "the unscored samples hold.",
    "bound_interval_high": "Upper end.",
    "bound_p_value": "The `p_value` that is left if the unscored samples speak against the "
    "difference as much as they can.",
    **COLUMN,
}
"""What there is in place of a rate that is withheld."""

COLUMNS: Final[Mapping[str, str]] = {
    **PAIR_TO_DEFENSE,
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


Mean: TypeAlias = Literal["micro", "macro"]
"""A mean over all samples, or over scenarios."""


def tax(
    frame: pl.DataFrame | pl.LazyFrame,
    pairs: pl.DataFrame,
    *,
    by: Literal["scenario"] | None = None,
    mean: Mean | None = None,
    max_unscored: float = MAX_UNSCORED,
    cluster: Cluster = "item",
) -> pl.DataFrame:
    """Return the reasoning tax of every pair, on harmful items; columns: :data:`COLUMNS`.

    ``pairs`` has the columns ``reasoner`` and ``base``. For each pair, dataset, attack, defense,
    sampling, judge, part and threshold that both models were run with there is a micro row, and a
    macro row where there is more than one scenario; ``by`` scenario a row each before them.
    ``mean`` keeps only the rows that have it. Where one of the two has more than a share of
    ``max_unscored`` without a score, a row has bounds alone. ``cluster`` says what the averages are
    a sample of (:data:`effects.Cluster`); a scenario's row is always over its items. Raises
    UnknownNameError for another mean.
    """
    RowChoice(mean=mean)  # raises
    counted = pair_counts(frame, pairs)
    several = counted.filter((pl.len() > 1).over(FAMILY))
    every = partial(effects, max_unscored=max_unscored)
    levels = {
        "scenario": every(counted if by == "scenario" else counted.clear(), SCENARIO),
        "micro": every(counted, FAMILY, mean="micro", cluster=cluster),
        "macro": every(several, FAMILY, mean="macro", cluster=cluster),
    }
    levels = {name: rows for name, rows in levels.items() if mean in (None, name) or name == by}
    rows = pl.concat(
        [
            rows.with_columns(level=pl.lit(name))
            if name == "scenario"
            else rows.with_columns(level=pl.lit(name), scenario=pl.lit(ALL))
            for name, rows in levels.items()
        ],
        how="diagonal",
    ).sort(
        *("model", "base"),
        *in_setting_order(),
        pl.col("level").cast(pl.Enum(list(levels))),
        "scenario",
    )
    return renamed(without_withheld(finite(rows))).select(*COLUMNS)


def pair_counts(frame: pl.DataFrame | pl.LazyFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """Count every pair in every setting and scenario (:func:`compare.compare`).

    Of reasoning and answer only where both models have them: a base that writes no reasoning, or
    writes some in one reply of a hundred, has none to compare.
    """
    sides = beside_bases(at_thresholds(harmful(frame)), pairs, UNSAFE, UNSAFE_SO_FAR)
    return sides.filter(has_part(FAMILY))


def beside_bases(
    rows: pl.LazyFrame, pairs: pl.DataFrame, hit: pl.Expr, so_far: pl.Expr = NEVER
) -> pl.DataFrame:
    """Count ``hit`` of every pair in every setting and scenario (:func:`compare.compare`)."""
    known = pairs["base"].cast(pl.Categorical).implode()
    bases = rows.rename({"model": "base"}).filter(pl.col("base").is_in(known))
    on = ("base", *SETTING_COLUMNS)
    return compare(_reasoners(rows, pairs), bases, on, hit, so_far, by=("model", "cell"))


def item_pairs(rows: pl.LazyFrame, pairs: pl.DataFrame, columns: Sequence[str]) -> pl.LazyFrame:
    """Return the replies of reasoning models beside the base's to the same item and repeat.

    What is the base's of ``columns`` ends in ``_right``. Replies to items that are not known are
    left out.
    """
    on = ["base", *SETTING_COLUMNS, "scenario", "item_key", "repeat"]
    rows = rows.filter(pl.col("item_key").is_not_null())
    bases = rows.rename({"model": "base"}).select(*on, "simulated", *columns)
    both = _reasoners(rows, pairs).join(bases, on=on)
    return both.with_columns(pl.col("simulated") | pl.col("simulated_right"))


def _reasoners(rows: pl.LazyFrame, pairs: pl.DataFrame) -> pl.LazyFrame:
    """Return the rows of reasoning models, with the base of each."""
    bases = pairs.cast(pl.Categorical).lazy()
    return rows.join(bases, left_on="model", right_on="reasoner")


def renamed(rows: pl.DataFrame) -> pl.DataFrame:
    """Name the columns of a comparison of a reasoning model with its base."""
    return rows.with_columns(
        pl.when(pl.col("method") == "paired").then(pl.col("worse", "better")),
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
