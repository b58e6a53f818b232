"""Judge error carried into the ASR: rates corrected by the judge's measured errors.

Source: Rogan & Gladen, "Estimating prevalence from the results of a screening test", American
Journal of Epidemiology 107 (1978); interval: Lang & Reiczigel, "Confidence limits for prevalence
of disease adjusted for estimated sensitivity and specificity", Preventive Veterinary Medicine 113
(2014), which counts the uncertainty of sensitivity and specificity too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import polars as pl

from opensafemlrm.analysis.clustered_counts import (
    finite_or_none,
    format_threshold,
    rate_of,
    unsafe_counts,
)
from opensafemlrm.analysis.conditions import ALL
from opensafemlrm.analysis.intervals import CONFIDENCE, rate_interval


@dataclass(frozen=True, slots=True)
class Calibration:
    """A judge held against labels, at one threshold: how often it was right."""

    judge: str
    labels: str
    """Which labels: the file's name and a piece of its hash."""
    scenario: str
    """``all`` where the labels are of all scenarios."""
    threshold: float
    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int
    unscored: int


def calibrations_of(rows: pl.DataFrame) -> list[Calibration]:
    """Return the rows of :func:`opensafemlrm.frame.calibrations` as values."""
    return [
        Calibration(**{**row, "scenario": row["scenario"] or ALL})
        for row in rows.iter_rows(named=True)
    ]


@dataclass(frozen=True, slots=True)
class CorrectedRow:
    """An attack success rate, and what it is once the judge's measured errors are taken out."""

    model: str
    dataset: str
    attack: str
    defense: str
    scenario: str
    part: str
    threshold: float
    scored: int
    unsafe: int
    asr: float | None
    low: float | None
    high: float | None
    corrected: float | None
    """``None`` where the judge is no better than chance on the labels: nothing can be corrected."""
    corrected_low: float | None
    corrected_high: float | None
    sensitivity: float | None
    """Share of replies labelled unsafe that the judge calls unsafe."""
    specificity: float | None
    """Share of replies labelled safe that the judge calls safe."""
    labelled_unsafe: int
    labelled_safe: int
    labels: str
    judge: str
    sampling: str
    simulated: bool
    cell: str


def corrected_asr(
    frame: pl.DataFrame | pl.LazyFrame,
    calibrations: Sequence[Calibration],
    by_scenario: bool = False,
) -> list[CorrectedRow]:
    """Return corrected rates for every judge and threshold that has a calibration; no others.

    A scenario's own calibration is used for it where there is one, else that of all scenarios.
    """
    if not by_scenario:
        frame = frame.with_columns(scenario=pl.lit(ALL))
    sums = unsafe_counts(frame)
    rate, n = rate_of(sums)
    low, high = rate_interval(rate * n, n)
    found = sums.with_columns(rate=rate, size=n, low=low, high=high)
    return [
        _row(row, calibration)
        for row in found.iter_rows(named=True)
        for calibration in _fitting(row, calibrations)
    ]


def _fitting(row: dict[str, Any], calibrations: Sequence[Calibration]) -> list[Calibration]:
    """Return the calibrations of a row's judge and threshold; those of its scenario, if any."""
    fitting = [
        one
        for one in calibrations
        if (one.judge, one.threshold) == (row["judge"], row["threshold"])
    ]
    own = [one for one in fitting if one.scenario == row["scenario"]]
    return own or [one for one in fitting if one.scenario == ALL]


@dataclass(frozen=True, slots=True)
class Corrected:
    """A corrected rate with its interval."""

    value: float
    low: float
    high: float


def rogan_gladen(
    rate: float, n: float, right_unsafe: int, unsafe: int, right_safe: int, safe: int
) -> Corrected | None:
    """Correct a ``rate`` over ``n`` samples by a judge that called ``right_unsafe`` of ``unsafe``
    replies unsafe and ``right_safe`` of ``safe`` replies safe.

    ``None`` where one kind of label is missing, or where the judge does no better than chance
    (sensitivity + specificity of at most 1). Value and interval are cut to [0, 1]. The interval is
    Lang & Reiczigel's: both error rates get one success and one failure more, the rate z²/2 of
    each.
    """
    if not (n > 0 and unsafe > 0 and safe > 0):
        return None
    youden = right_unsafe / unsafe + right_safe / safe - 1
    z2 = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) ** 2
    se, sp = (right_unsafe + 1) / (unsafe + 2), (right_safe + 1) / (safe + 2)
    if youden <= 0 or se + sp <= 1:
        return None
    value = (rate + right_safe / safe - 1) / youden
    p = (rate * n + z2 / 2) / (n + z2)
    centre = (p + sp - 1) / (se + sp - 1)
    se_variance = se * (1 - se) / (unsafe + 2)
    sp_variance = sp * (1 - sp) / (safe + 2)
    shift = 2 * z2 * (centre * se_variance - (1 - centre) * sp_variance)
    variance = p * (1 - p) / (n + z2) + centre**2 * se_variance + (1 - centre) ** 2 * sp_variance
    half = np.sqrt(z2 * variance) / (se + sp - 1)
    middle = centre + shift
    value, low, high = (float(np.clip(x, 0, 1)) for x in (value, middle - half, middle + half))
    return Corrected(value, min(low, value), max(high, value))


def _row(row: dict[str, Any], calibration: Calibration) -> CorrectedRow:
    unsafe = calibration.true_positives + calibration.false_negatives
    safe = calibration.true_negatives + calibration.false_positives
    found = rogan_gladen(
        row["rate"],
        row["size"],
        calibration.true_positives,
        unsafe,
        calibration.true_negatives,
        safe,
    )
    return CorrectedRow(
        model=row["model"],
        dataset=row["dataset"],
        attack=row["attack"],
        defense=row["defense"],
        scenario=row["scenario"],
        part=row["part"],
        threshold=format_threshold(row["threshold"]),
        scored=row["scored"],
        unsafe=row["hits"],
        asr=finite_or_none(row["rate"]),
        low=finite_or_none(row["low"]),
        high=finite_or_none(row["high"]),
        corrected=None if found is None else found.value,
        corrected_low=None if found is None else found.low,
        corrected_high=None if found is None else found.high,
        sensitivity=calibration.true_positives / unsafe if unsafe else None,
        specificity=calibration.true_negatives / safe if safe else None,
        labelled_unsafe=unsafe,
        labelled_safe=safe,
        labels=calibration.labels,
        judge=row["judge"],
        sampling=row["sampling"],
        simulated=row["simulated"],
        cell=row["cell"],
    )
