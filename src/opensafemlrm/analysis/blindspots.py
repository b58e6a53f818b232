"""Safety blind spots: the scenarios in which a reasoning model loses most.

Source: SafeMLRM (arXiv 2504.08813): per-scenario ratio and difference against the base.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import numpy as np
import polars as pl

from opensafemlrm.analysis import MAX_UNSCORED, tax
from opensafemlrm.analysis.agreement import kendall_w, mean_ranks
from opensafemlrm.analysis.clustered_counts import (
    UNSAFE,
    at_thresholds,
    cautious_rate,
    finite,
    harmful,
    independent_items,
    texts,
    variance,
)
from opensafemlrm.analysis.conditions import (
    ALL,
    DATASET_TO_DEFENSE,
    JUDGE_TO_CELL,
    PAIR_TO_DEFENSE,
    PART_AND_THRESHOLD,
    SETTING_COLUMNS,
    ends,
    in_part_order,
    in_setting_order,
)
from opensafemlrm.analysis.contrasts import contrast, student_contrast, whatever_is_unscored
from opensafemlrm.analysis.effects import Cluster, effects, without_withheld
from opensafemlrm.analysis.hierarchical import blind_spots
from opensafemlrm.analysis.intervals import Array
from opensafemlrm.analysis.significance import benjamini_hochberg, fisher, holm
from opensafemlrm.analysis.tax import (
    COMPARISON,
    FAMILY,
    IF_UNSCORED,
    METHOD,
    SCENARIO,
    pair_counts,
    renamed,
)
from opensafemlrm.analysis.withheld import COVERED, why

READS: Final = tax.READS
"""Columns of the tidy table that :func:`blindspots` needs."""

AGAINST_BASE: Final[Mapping[str, str]] = {
    **METHOD,
    **COMPARISON,
    **IF_UNSCORED,
    "holm": "`p_value`, adjusted by Holm (family-wise error).",
    "bh": "`p_value`, adjusted by Benjamini and Hochberg (false discovery rate).",
    "bound_holm": "`bound_p_value`, adjusted by Holm: what is left whatever the unscored samples "
    "hold.",
    "shrunken_model": "`asr_model`, drawn towards what the model, its pair, and the scenario in "
    "other pairs make likely: one model of all pairs, scenarios and items under the setting.",
    "shrunken_base": "The same of the base.",
    "shrunken_difference": "`shrunken_model` − `shrunken_base`.",
    **ends("shrunken"),
    "shrunken_ratio": "`shrunken_model` / `shrunken_base`; finite also where the base has no "
    "unsafe reply.",
    **ends("shrunken_ratio"),
    "rank": "Place by `shrunken_difference`: 1 is the worst blind spot.",
    "rank_low": "The best of the places that 95 % of what is likely leaves it.",
    "rank_high": "The last of them.",
}
"""A scenario compared with the base."""

AGAINST_REST: Final[Mapping[str, str]] = {
    "asr_rest": "The model's ASR over its other scenarios; null where that is withheld.",
    "rest_difference": "`asr_model` − `asr_rest`.",
    **ends("rest"),
    "rest_ratio": "`asr_model` / `asr_rest`.",
    "rest_ratio_low": "Lower end of its 95 % interval.",
    "rest_ratio_high": "Upper end; null where the data set none.",
    "rest_p_value": "As `p_value`, of `rest_difference` (Fisher's exact test).",
    "rest_holm": "`rest_p_value`, adjusted by Holm.",
    "rest_bh": "`rest_p_value`, adjusted by Benjamini and Hochberg.",
    "rest_bound_holm": "`rest_holm` of what is left whatever the unscored samples hold.",
}
"""A scenario compared with the model's own other scenarios."""

_REST: Final = ("rate", "size", "spread", "groups", "if_safe_right", "if_unsafe_right")

COLUMNS: Final[Mapping[str, str]] = {
    **PAIR_TO_DEFENSE,
    "scenario": "The scenario, as upstream spells it.",
    **PART_AND_THRESHOLD,
    **AGAINST_BASE,
    **AGAINST_REST,
    **JUDGE_TO_CELL,
}
"""The columns of :func:`blindspots`."""


def blindspots(
    frame: pl.DataFrame | pl.LazyFrame,
    pairs: pl.DataFrame,
    *,
    max_unscored: float = MAX_UNSCORED,
    cluster: Cluster = "item",
) -> pl.DataFrame:
    """Return a row for each scenario of every pair, on harmful items; columns: :data:`COLUMNS`.

    ``pairs`` has the columns ``reasoner`` and ``base``. The scenarios of one pair, setting, part
    and threshold are a family, over which p-values are adjusted; a scenario in which one of the two
    has more than a share of ``max_unscored`` without a score has bounds alone, and is no part of
    it. With ``cluster`` ``scenario`` a model's other scenarios are a sample of scenarios; by item
    they are fixed.
    """
    counted = effects(pair_counts(frame, pairs), SCENARIO, max_unscored=max_unscored)
    rows = without_withheld(counted)
    rows = rows.with_columns(
        bound_of_scored=pl.when(pl.col("p_value").is_not_null()).then("bound_p_value"),
        **against_rest(counted, rows, cluster, max_unscored),
    ).with_columns(
        holm=_by_family(holm, "p_value"),
        bh=_by_family(benjamini_hochberg, "p_value"),
        bound_holm=_by_family(holm, "bound_of_scored"),
        rest_holm=_by_family(holm, "rest_p_value"),
        rest_bh=_by_family(benjamini_hochberg, "rest_p_value"),
        rest_bound_holm=_by_family(holm, "rest_bound_p_value"),
    )
    rows = finite(renamed(rows))
    pooled = _pooled(frame, rows)
    rows = rows.join(pooled, on=[*SETTING_COLUMNS, "model", "base", "scenario"], how="left")
    rows = rows.sort("model", "base", *in_setting_order(), "scenario")
    return rows.select(*COLUMNS)


def against_rest(
    counted: pl.DataFrame, rows: pl.DataFrame, cluster: Cluster, max_unscored: float
) -> dict[str, Array]:
    """Return the columns of :data:`AGAINST_REST`, but for those that are adjusted.

    ``counted`` are the rows of :func:`effects.effects` by scenario, ``rows`` the same without what
    is withheld. By item both sides are these scenarios. By scenario the others are a sample, and
    this one stands out if it is unlike another one drawn as they were: their spread counts for it
    too.
    """
    others = _rest(counted, cluster, max_unscored)
    rate, size = (rows[name].fill_null(np.nan).to_numpy() for name in ("rate", "size"))
    rest, rest_size, spread, groups, *ends = (others[name].to_numpy() for name in _REST)
    variances = np.fmax(counted["variance"].to_numpy(), spread * groups), spread
    apart = np.zeros(len(rate))

    def against(p: Array, q: Array) -> dict[str, Array]:
        if cluster == "scenario":
            return student_contrast((p, q), variances, apart, groups)
        return contrast((p, size, q, rest_size, apart), fisher(p, size, q, rest_size))

    shares = dict(zip(_REST[-2:], ends, strict=True))
    shares |= {name: counted[name].to_numpy() for name in ("if_safe", "if_unsafe")}
    found = {f"rest_{name}": values for name, values in against(rate, rest).items()}
    left = whatever_is_unscored(shares, against)["p_value"]
    return {
        "asr_rest": rest,
        **found,
        "rest_bound_p_value": np.maximum(left, found["rest_p_value"]),
    }


def _rest(rows: pl.DataFrame, cluster: Cluster, max_unscored: float) -> pl.DataFrame:
    """Return the rate over the other scenarios of each row's family, and how certain it is."""

    def others(values: pl.Expr) -> pl.Expr:
        return values.sum().over(FAMILY) - values

    scored, hits = pl.col("scored").cast(pl.Float64), pl.col("hits").cast(pl.Float64)
    rate = others(hits) / others(scored)
    squared = pl.col("scored_squared") if cluster == "item" else scored**2
    groups = others(scored) ** 2 / others(squared)
    spread = others(variance(cautious_rate(hits / scored, independent_items())).fill_null(0.0))
    if cluster == "scenario":
        squares = others(hits**2) - 2 * rate * others(hits * scored) + rate**2 * others(scored**2)
        spread = pl.max_horizontal(spread, squares * groups / (groups - 1))
    spread = spread / others(scored) ** 2
    size = pl.max_horizontal(rate * (1 - rate) / spread, groups)
    size = pl.when(spread > 0).then(size).otherwise(groups)
    n, every, known = (pl.col(name) for name in ("n", "hits_every", "scored_every"))
    rest = rows.select(
        rate=rate,
        size=size,
        spread=spread,
        groups=groups,
        if_safe_right=others(every + pl.col("so_far")) / others(n),
        if_unsafe_right=others(every + n - known) / others(n),
    )
    hidden = rows.select(
        *[others(pl.col(name)).alias(name) for name in (*COVERED, "scored_every")]
    ).select(why(max_unscored, "scored_every").is_not_null())
    is_covered = ~hidden.to_series()
    return rest.with_columns(
        rate=pl.when(is_covered).then(pl.col("rate").fill_nan(None)),
        size=pl.when(is_covered).then(pl.col("size").fill_nan(None)).fill_null(0.0),
    ).fill_null(np.nan)


def _by_family(function: Callable[..., Array], *columns: str) -> pl.Expr:
    """Return ``function`` of the columns of each family, an array for an array."""
    return pl.map_groups(
        columns,
        lambda series: pl.Series(function(*(one.to_numpy() for one in series))),
        return_dtype=pl.Float64,
    ).over(FAMILY)


def _pooled(frame: pl.DataFrame | pl.LazyFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Return the figures of :func:`opensafemlrm.analysis.hierarchical.blind_spots`, by setting."""
    measured = rows.filter(pl.col("asr_model").is_not_null())
    scenarios = pl.concat(
        measured.select(*SETTING_COLUMNS, "scenario", model=side) for side in ("model", "base")
    ).unique()
    of_cell = [*SETTING_COLUMNS, "model", "scenario"]
    # An item's repeats are one observation, their mean: how alike they are differs by model, and
    # the model of items has no effect for that. Where items are not known, each count stands alone.
    size = pl.when(pl.col("item").is_not_null()).then(1.0).otherwise(pl.col("n").cast(pl.Float64))
    counts = (
        at_thresholds(harmful(frame))
        .filter(pl.col("score").is_not_null())
        .group_by(*of_cell, item="item_key")
        .agg(share=UNSAFE.mean(), n=pl.len())
        .select(*of_cell, "item", hits=pl.col("share") * size, n=size)
        .collect()
        .pipe(texts)
        .join(scenarios, on=of_cell, how="semi")
        .sort(*of_cell, "item")
    )
    by_setting = counts.partition_by(SETTING_COLUMNS, as_dict=True)
    figures = [blind_spots(counts, []).join(counts.select(SETTING_COLUMNS).clear(), how="cross")]
    for key, pairs in measured.partition_by(SETTING_COLUMNS, as_dict=True).items():
        names = sorted(set(pairs.select("model", "base").iter_rows()))
        setting = pairs.select(SETTING_COLUMNS).head(1)
        figures.append(blind_spots(by_setting[key], names).join(setting, how="cross"))
    return pl.concat(figures)


_MEASURES: Final = {"asr": "asr_model", "difference": "difference"}
_BY_DATASETS: Final = ("model", "base", "defense", "sampling", "judge", "part", "threshold")
_TOPICS: Final = {
    "illegal activitiy": "illegal activity",
    "hatespeech": "hate speech",
    "sex": "adult content",
    "privacy violence": "privacy violation",
    "economicharm": "economic harm",
    "gov decision": "government decision",
}
"""Topics that MM-SafetyBench spells otherwise than FigStep's SafeBench does."""


CONSISTENCY_COLUMNS: Final[Mapping[str, str]] = {
    "across": "`models`: how alike the pairs of one dataset rank the scenarios; `datasets`: how "
    "alike the datasets rank them for one pair.",
    "measure": "What is ranked: `asr` of the reasoning model, or `difference` from its base.",
    "model": "The reasoning model; `all` where models are compared.",
    "dataset": "The dataset; `all` where datasets are compared.",
    "attack": "The attack; `all` where datasets are compared: each has its own attacks, and their "
    "mean is ranked.",
    "defense": DATASET_TO_DEFENSE["defense"],
    **PART_AND_THRESHOLD,
    "raters": "Rankings that are compared.",
    "bases": "Different bases that the rankings are against.",
    "scenarios": "Scenarios that every ranking has.",
    "w": "Kendall's coefficient of concordance: 0 not at all, 1 wholly; null where undefined.",
    "p_value": "By random permutation of every ranking, with a fixed seed; differences from the "
    "same base are permuted together, and null where all are from one.",
    "worst": "The scenario with the highest mean rank.",
    **{name: text for name, text in JUDGE_TO_CELL.items() if name != "cell"},
}
"""The columns of :func:`consistency`."""

_NUMBERS: Final = {
    "threshold": pl.Float64,
    "raters": pl.Int64,
    "bases": pl.Int64,
    "scenarios": pl.Int64,
    "w": pl.Float64,
    "p_value": pl.Float64,
    "simulated": pl.Boolean,
}


def consistency(scenarios: pl.DataFrame) -> pl.DataFrame:
    """Return how alike the rankings in ``scenarios`` are; columns: :data:`CONSISTENCY_COLUMNS`.

    ``scenarios`` are rows of :func:`~opensafemlrm.analysis.blindspots.blindspots`. Only comparisons
    of at least two rankings of at least three scenarios are made.
    """
    known = scenarios.drop_nulls(["asr_model", "difference"])
    known = known.with_columns(topic=pl.col("scenario"), order=in_part_order())
    topics = {name: topic_of(name) for name in known["scenario"].unique()}
    across_datasets = known.with_columns(topic=pl.col("scenario").replace(topics))
    rows = [
        *_rows(known, "models", SETTING_COLUMNS, ("model", "base")),
        *_rows(across_datasets, "datasets", _BY_DATASETS, ("dataset",)),
    ]
    schema = {name: _NUMBERS.get(name, pl.String) for name in CONSISTENCY_COLUMNS}
    return finite(pl.DataFrame(rows, schema=schema))


def topic_of(scenario: str) -> str:
    """Return what a scenario is about, the same for datasets that spell it differently."""
    plain_name = re.sub(r"[\W_]+", " ", re.sub(r"^\d+[-_ ]*", "", scenario)).strip().lower()
    return _TOPICS.get(plain_name, plain_name)


def _rows(
    scenarios: pl.DataFrame, across: str, keys: tuple[str, ...], rater: tuple[str, ...]
) -> Iterator[dict[str, Any]]:
    also = [] if "base" in rater else ["base"]
    keys_in_order = [key if key != "part" else "order" for key in keys]
    ordered = scenarios.sort(*keys_in_order, "topic", *rater)
    for group in ordered.partition_by(keys, maintain_order=True):
        for measure, column in _MEASURES.items():
            table = group.pivot(
                on="topic", index=[*rater, *also], values=column, aggregate_function="mean"
            )
            bases = table["base"].to_list()
            table = table.drop(*rater, *also)
            table = table.select(s for s in table if s.null_count() == 0)
            if len(table) >= 2 and table.width >= 3:
                yield _row(group, across, measure, table, bases)


def _row(
    group: pl.DataFrame, across: str, measure: str, table: pl.DataFrame, bases: list[str]
) -> dict[str, Any]:
    first: dict[str, Any] = group.row(0, named=True)
    values = table.to_numpy()
    # What differs from one base shares the base's chance; rates of the models themselves do not.
    shared = measure == "difference" and across == "models"
    w, p_value = kendall_w(values, bases if shared else None)
    ranks = mean_ranks(values).mean(axis=0)
    every = {"model": ALL} if across == "models" else {"dataset": ALL, "attack": ALL}
    return {
        **{name: first[name] for name in ("model", *SETTING_COLUMNS)},
        **every,
        "across": across,
        "measure": measure,
        "raters": len(table),
        "bases": len(set(bases)) if across == "models" else 1,
        "scenarios": table.width,
        "w": w,
        "p_value": p_value,
        "worst": table.columns[int(np.argmax(ranks))],
        "simulated": bool(group["simulated"].any()),
    }
