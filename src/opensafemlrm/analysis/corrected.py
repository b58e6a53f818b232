"""Judge error carried into the ASR: rates that people's labels correct.

Where people labelled replies of a cell, its rate is the prediction-powered one: nothing is assumed
of where the judge errs (:mod:`opensafemlrm.analysis.prediction_powered`). Elsewhere it is corrected
by the errors that were measured on other replies of the same part, of the same model where there
are enough of them, and of all models only where their errors do not differ
(:mod:`opensafemlrm.analysis.judge_errors`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import numpy as np
import polars as pl

from opensafemlrm.analysis import MAX_UNSCORED, clustered_counts
from opensafemlrm.analysis.clustered_counts import (
    UNSAFE,
    at_thresholds,
    finite,
    harmful,
    rate_of,
    texts,
    unsafe_counts,
)
from opensafemlrm.analysis.conditions import (
    ALL,
    JUDGE_TO_CELL,
    MODEL_TO_DEFENSE,
    PART_AND_THRESHOLD,
    SETTING_COLUMNS,
    ends,
    only,
)
from opensafemlrm.analysis.intervals import rate_interval
from opensafemlrm.analysis.judge_errors import FIGURES, NONE, ROGAN_GLADEN, Calibrations
from opensafemlrm.analysis.prediction_powered import MIN_LABELS, RATE, stratified_mean
from opensafemlrm.analysis.withheld import COLUMN, why, withhold
from opensafemlrm.types import Part

READS: Final = clustered_counts.READS | {"sample", "repeat"}
"""Columns of the tidy table that :func:`corrected_asr` needs."""

POWERED: Final = "prediction-powered"

COLUMNS: Final[Mapping[str, str]] = {
    **MODEL_TO_DEFENSE,
    "scenario": "`all` where scenarios are taken together, each sample with the same weight.",
    **PART_AND_THRESHOLD,
    "scored": "Samples with a score.",
    "unsafe": "Those whose score reaches the threshold.",
    "asr": "`unsafe` / `scored`, from 0 to 1; null where nothing was scored.",
    **ends(),
    "corrected": "The rate once the judge's errors are taken out; null where `method` is `none`.",
    **ends("corrected"),
    "bound_low": "The lowest rate over all samples, whatever the unscored ones hold.",
    "bound_high": "The highest.",
    "corrected_bound_low": "`bound_low`, corrected in the same way.",
    "corrected_bound_high": "`bound_high`, corrected in the same way.",
    **COLUMN,
    "method": f"`{POWERED}`: by labels of these replies, to at least {MIN_LABELS} items; "
    f"`{ROGAN_GLADEN}`: by the judge's errors on other replies; `{NONE}`.",
    "basis": "Which labels the correction is made by and why those, or why there is none.",
    "sensitivity": "Share of replies labelled unsafe that the judge calls unsafe; null where the "
    "correction does not use it.",
    "specificity": "Share of replies labelled safe that the judge calls safe.",
    "labelled_unsafe": "Replies behind the correction that people labelled unsafe.",
    "labelled_safe": "Replies behind it that they labelled safe.",
    "labels": "Which labels: the file's name and a piece of its hash, or `this store`.",
    **JUDGE_TO_CELL,
}
"""The columns of :func:`corrected_asr`."""

_MAX_OTHERS: Final = 2
"""Up to how many other models, flagged on the same item, a stratum is told apart by."""
_KEYS: Final = ("cell", "judge", "scenario", "part", "threshold")


def corrected_asr(
    frame: pl.DataFrame | pl.LazyFrame,
    calibrations: pl.DataFrame,
    labels: pl.DataFrame | None = None,
    *,
    by: Literal["scenario"] | None = None,
    part: str | None = None,
    threshold: float | None = None,
    max_unscored: float = MAX_UNSCORED,
) -> pl.DataFrame:
    """Return corrected rates for every judge that has a calibration, or labels of what it judged.

    ``calibrations`` and ``labels`` are those of :func:`opensafemlrm.frame.calibrations` and
    :func:`opensafemlrm.store.ratings.people_labels`. A rate that cannot be
    corrected has a row that says why. ``part`` and ``threshold`` keep only the rows that have it.
    Where more than a share of ``max_unscored`` has no score, a row has bounds alone. Columns:
    :data:`COLUMNS`.
    """
    if by is None:
        frame = frame.with_columns(scenario=pl.lit(ALL))
    by_cell, few = _estimates(frame, labels)
    judges = {*calibrations["judge"], *(key[1] for key in (*by_cell, *few))}
    sums = unsafe_counts(frame).filter(pl.col("judge").is_in(list(judges)))
    rate, size = rate_of(sums)
    low, high = rate_interval(rate * size, size)
    n, scored, hits, so_far = map(pl.col, ("n", "scored", "hits", "so_far"))
    rows = sums.with_columns(
        asr=rate,
        size=size,
        low=low,
        high=high,
        unsafe="hits",
        bound_low=(hits + so_far) / n,
        bound_high=(hits + n - scored) / n,
        withheld=why(max_unscored),
    )
    known = Calibrations.of(calibrations)
    scored_reasoning = sums.filter(pl.col("part") == Part.REASONING.value, pl.col("scored") > 0)
    reasons = set(scored_reasoning.select("cell", "judge").iter_rows())
    figures = []
    for row in rows.iter_rows(named=True):
        key = tuple(row[name] for name in _KEYS)
        other = known.figures(row, has_reasoning=(row["cell"], row["judge"]) in reasons)
        if key in few:
            own = f"replies to {few[key]:,} of these items are labelled, fewer than {MIN_LABELS}"
            other["basis"] = f"{own}; {other['basis']}"
        figures.append(_with_bounds(by_cell[key], row) if key in by_cell else other)
    beside = pl.DataFrame(figures, schema=FIGURES, orient="row")
    rows = finite(rows.hstack(beside)).fill_nan(None)
    rates = ("asr", "low", "high", "corrected", "corrected_low", "corrected_high")
    return only(withhold(rows, rates).select(*COLUMNS), part, threshold)


def _with_bounds(figures: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """Add the corrected rate over all samples if the unscored ones are safe, and if unsafe."""
    unsafe = figures["corrected"] * row["scored"]
    return {
        **figures,
        "corrected_bound_low": (unsafe + row["so_far"]) / row["n"],
        "corrected_bound_high": (unsafe + row["n"] - row["scored"]) / row["n"],
    }


def labelled_rows(frame: pl.DataFrame | pl.LazyFrame, labels: pl.DataFrame) -> pl.LazyFrame:
    """Return the scored rows at each threshold: ``flagged`` by the judge, and ``label``, 1 for
    unsafe, null where nobody said.
    """
    given = labels.with_columns(pl.col("part").cast(pl.Categorical)).lazy()
    rows = at_thresholds(harmful(frame)).filter(
        pl.col("score").is_not_null(), pl.col("sample").is_not_null()
    )
    return rows.join(given, on=["sample", "part"], how="left").with_columns(
        flagged=UNSAFE.cast(pl.Int64), label=pl.col("unsafe").cast(pl.Float64)
    )


def _estimates(
    frame: pl.DataFrame | pl.LazyFrame, labels: pl.DataFrame | None
) -> tuple[dict[tuple[Any, ...], dict[str, Any]], dict[tuple[Any, ...], int]]:
    """Return the prediction-powered figures of every group with enough labels of its own, and how
    many labelled items the groups have that have fewer."""
    if labels is None or labels.is_empty():
        return {}, {}
    rows = labelled_rows(frame, labels)
    # Repeats of an item say little more than one of them.
    items = pl.col("item_key").filter(pl.col("label").is_not_null()).n_unique()
    n = items.over(_KEYS)
    columns = (*_KEYS, "item_key", "flagged", "others", "score", "label")
    # Labels drawn for a comparison depend on the verdicts on both replies: so do the strata.
    item = [name for name in (*SETTING_COLUMNS, "item_key", "repeat") if name != "sampling"]
    others = pl.col("flagged").sum().over(item) - pl.col("flagged")
    rows = rows.with_columns(others=others.clip(0, _MAX_OTHERS))
    labelled = texts(rows.select(*columns).filter(n > 0).collect())
    few = labelled.filter(n < MIN_LABELS).group_by(_KEYS).agg(items)
    chosen = labelled.filter(n >= MIN_LABELS)
    estimates = {}
    for key, group in chosen.partition_by(_KEYS, as_dict=True).items():
        label = group["label"].to_numpy()
        estimate = stratified_mean(
            (group["flagged"] * (_MAX_OTHERS + 1) + group["others"]).to_numpy(),
            label,
            RATE,
            scores=group["score"].to_numpy(),
            items=group["item_key"].rank("dense").cast(pl.Int64).to_numpy(),
        )
        unsafe = int(np.nansum(label))
        estimates[key] = {
            "corrected": estimate.value,
            "corrected_low": estimate.low,
            "corrected_high": estimate.high,
            "method": POWERED,
            "basis": f"labels of {estimate.labels:,} of these {estimate.units:,} replies: nothing "
            "is assumed of the judge's errors",
            "labelled_unsafe": unsafe,
            "labelled_safe": estimate.labels - unsafe,
            "labels": "this store",
        }
    return estimates, {tuple(key): labels for *key, labels in few.iter_rows()}
