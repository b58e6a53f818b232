"""Whether models, or datasets, agree on which scenarios are the blind spots."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import polars as pl

from opensafemlrm.analysis.agreement import kendall_w, mean_ranks
from opensafemlrm.analysis.clustered_counts import finite
from opensafemlrm.analysis.conditions import (
    ALL,
    DATASET_TO_DEFENSE,
    JUDGE_TO_CELL,
    PART_AND_THRESHOLD,
    SETTING_COLUMNS,
    in_part_order,
)

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


COLUMNS: Final[Mapping[str, str]] = {
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
    """Return how alike the rankings in ``scenarios`` are; columns: :data:`COLUMNS`.

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
    schema = {name: _NUMBERS.get(name, pl.String) for name in COLUMNS}
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
