"""Whether models, or datasets, agree on which scenarios are the blind spots."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from opensafemlrm.analysis.agreement import kendall_w, mean_ranks
from opensafemlrm.analysis.clustered_counts import finite_or_none, format_threshold
from opensafemlrm.analysis.conditions import ALL, SETTING_COLUMNS, in_part_order

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


@dataclass(frozen=True, slots=True)
class ConsistencyRow:
    """Whether several rankings of the scenarios agree (Kendall's W: 0 not at all, 1 wholly).

    ``across`` is ``models``: how alike the pairs of one dataset rank the scenarios, or
    ``datasets``: how alike the datasets rank them for one pair.
    """

    across: str
    measure: str
    """What is ranked: ``asr`` of the reasoning model, or ``difference`` from its base."""
    model: str
    """``all`` where models are compared."""
    dataset: str
    """``all`` where datasets are compared."""
    attack: str
    """``all`` where datasets are compared: each has its own attacks, and their mean is ranked."""
    defense: str
    part: str
    threshold: float
    raters: int
    scenarios: int
    """Scenarios that every ranking has."""
    w: float | None
    p_value: float | None
    """By random permutation of every ranking, with a fixed seed."""
    worst: str
    """The scenario with the highest mean rank."""
    judge: str
    sampling: str
    simulated: bool
    cell: str = ""


def consistency(scenarios: pl.DataFrame) -> list[ConsistencyRow]:
    """Return how alike the rankings in ``scenarios`` are (rows of :func:`blindspots`).

    Only comparisons of at least two rankings of at least three scenarios are made.
    """
    known = scenarios.drop_nulls(["asr_model", "difference"])
    order = in_part_order()
    known = known.with_columns(topic=pl.col("scenario"), order=order)
    topics = {name: topic_of(name) for name in known["scenario"].unique()}
    across_datasets = known.with_columns(topic=pl.col("scenario").replace(topics))
    return [
        *_rows(known, "models", SETTING_COLUMNS, ("model", "base")),
        *_rows(across_datasets, "datasets", _BY_DATASETS, ("dataset",)),
    ]


def topic_of(scenario: str) -> str:
    """Return what a scenario is about, the same for datasets that spell it differently."""
    plain_name = re.sub(r"[\W_]+", " ", re.sub(r"^\d+[-_ ]*", "", scenario)).strip().lower()
    return _TOPICS.get(plain_name, plain_name)


def _rows(
    scenarios: pl.DataFrame, across: str, keys: tuple[str, ...], rater: tuple[str, ...]
) -> Iterator[ConsistencyRow]:
    keys_in_order = [key if key != "part" else "order" for key in keys]
    ordered = scenarios.sort(*keys_in_order, "topic", *rater)
    for group in ordered.partition_by(keys, maintain_order=True):
        for measure, column in _MEASURES.items():
            table = group.pivot(
                on="topic", index=rater, values=column, aggregate_function="mean"
            ).drop(rater)
            table = table.select(s for s in table if s.null_count() == 0)
            if len(table) >= 2 and table.width >= 3:
                yield _row(group, across, measure, table)


def _row(group: pl.DataFrame, across: str, measure: str, table: pl.DataFrame) -> ConsistencyRow:
    first: dict[str, Any] = group.row(0, named=True)
    values = table.to_numpy()
    w, p_value = kendall_w(values)
    ranks = mean_ranks(values).mean(axis=0)
    by_models = across == "models"
    return ConsistencyRow(
        across=across,
        measure=measure,
        model=ALL if by_models else first["model"],
        dataset=first["dataset"] if by_models else ALL,
        attack=first["attack"] if by_models else ALL,
        defense=first["defense"],
        part=first["part"],
        threshold=format_threshold(first["threshold"]),
        raters=len(table),
        scenarios=table.width,
        w=finite_or_none(w),
        p_value=finite_or_none(p_value),
        worst=table.columns[int(np.argmax(ranks))],
        judge=first["judge"],
        sampling=first["sampling"],
        simulated=bool(group["simulated"].any()),
    )
