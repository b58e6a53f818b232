"""Judge error carried into the ASR: rates corrected by the judge's measured errors.

Source: Rogan & Gladen, "Estimating prevalence from the results of a screening test", American
Journal of Epidemiology 107 (1978); interval: Lang & Reiczigel, "Confidence limits for prevalence
of disease adjusted for estimated sensitivity and specificity", Preventive Veterinary Medicine 113
(2014), which counts the uncertainty of sensitivity and specificity too.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import NormalDist
from typing import Final, Literal

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from opensafemlrm.analysis import MAX_UNSCORED, clustered_counts
from opensafemlrm.analysis.calibration import CELLS
from opensafemlrm.analysis.clustered_counts import rate_of, unsafe_counts
from opensafemlrm.analysis.conditions import (
    ALL,
    DATASET_TO_DEFENSE,
    JUDGE_TO_CELL,
    PART_AND_THRESHOLD,
    only,
)
from opensafemlrm.analysis.intervals import CONFIDENCE, Array, rate_interval
from opensafemlrm.analysis.withheld import COLUMN, why, withhold

READS: Final = clustered_counts.READS
"""Columns of the tidy table that :func:`corrected_asr` needs."""

COLUMNS: Final[Mapping[str, str]] = {
    "model": "The model, as tables call it.",
    **DATASET_TO_DEFENSE,
    "scenario": "`all` where scenarios are taken together, each sample with the same weight.",
    **PART_AND_THRESHOLD,
    "scored": "Samples with a score.",
    "unsafe": "Those whose score reaches the threshold.",
    "asr": "`unsafe` / `scored`, from 0 to 1; null where nothing was scored.",
    "low": "Lower end of its 95 % interval.",
    "high": "Upper end.",
    "corrected": "The rate once the judge's measured errors are taken out; null where the judge is "
    "no better than chance on the labels: nothing can be corrected.",
    "corrected_low": "Lower end of its 95 % interval.",
    "corrected_high": "Upper end.",
    "bound_low": "The lowest rate over all samples, whatever the unscored ones hold.",
    "bound_high": "The highest.",
    "corrected_bound_low": "`bound_low`, corrected in the same way.",
    "corrected_bound_high": "`bound_high`, corrected in the same way.",
    **COLUMN,
    "sensitivity": "Share of replies labelled unsafe that the judge calls unsafe.",
    "specificity": "Share of replies labelled safe that the judge calls safe.",
    "labelled_unsafe": "Replies that people labelled unsafe and the judge scored.",
    "labelled_safe": "Replies that people labelled safe and the judge scored.",
    "labels": "Which labels: the file's name and a piece of its hash.",
    **JUDGE_TO_CELL,
}
"""The columns of :func:`corrected_asr`."""


def corrected_asr(
    frame: pl.DataFrame | pl.LazyFrame,
    calibrations: pl.DataFrame,
    *,
    by: Literal["scenario"] | None = None,
    part: str | None = None,
    threshold: float | None = None,
    max_unscored: float = MAX_UNSCORED,
) -> pl.DataFrame:
    """Return corrected rates for every judge and threshold that has a calibration; no others.

    ``calibrations`` is that of :func:`opensafemlrm.frame.calibrations`. A scenario's own is used
    for it where there is one, else that of all scenarios. ``part`` and ``threshold`` keep only the
    rows that have it. Where more than a share of ``max_unscored`` has no score, a row has bounds
    alone. Columns: :data:`COLUMNS`.
    """
    if by is None:
        frame = frame.with_columns(scenario=pl.lit(ALL))
    sums = unsafe_counts(frame)
    rate, size = rate_of(sums)
    low, high = rate_interval(rate * size, size)
    own = pl.col("scenario_labelled") == pl.col("scenario")
    of_all = pl.col("scenario_labelled") == ALL
    tp, fp, tn, fn = map(pl.col, CELLS)
    n, scored, hits, so_far = map(pl.col, ("n", "scored", "hits", "so_far"))
    rows = (
        sums.with_row_index("row")
        .with_columns(asr=rate, size=size, low=low, high=high)
        .join(
            calibrations.filter(model="", attack="").select(
                *("judge", "part", "threshold", "labels", *CELLS),
                scenario_labelled=pl.col("scenario").replace("", ALL),
            ),
            on=["judge", "part", "threshold"],
            maintain_order="left_right",
        )
        .filter(own | (of_all & ~own.any().over("row")))
        .with_columns(
            unsafe="hits",
            labelled_unsafe=tp + fn,
            labelled_safe=tn + fp,
            bound_low=(hits + so_far) / n,
            bound_high=(hits + n - scored) / n,
            withheld=why(max_unscored),
        )
    )
    errors = ("true_positives", "labelled_unsafe", "true_negatives", "labelled_safe")
    (corrected, corrected_low, corrected_high), (lowest, *_), (highest, *_) = (
        rogan_gladen(rows[name], rows["size"], *(rows[error] for error in errors))
        for name in ("asr", "bound_low", "bound_high")
    )
    rows = rows.with_columns(
        corrected=corrected,
        corrected_low=corrected_low,
        corrected_high=corrected_high,
        corrected_bound_low=lowest,
        corrected_bound_high=highest,
        sensitivity=tp / pl.col("labelled_unsafe"),
        specificity=tn / pl.col("labelled_safe"),
    )
    rates = ("asr", "low", "high", "corrected", "corrected_low", "corrected_high")
    return only(withhold(rows.fill_nan(None), rates).select(*COLUMNS), part, threshold)


def rogan_gladen(
    rate: ArrayLike,
    n: ArrayLike,
    right_unsafe: ArrayLike,
    unsafe: ArrayLike,
    right_safe: ArrayLike,
    safe: ArrayLike,
) -> tuple[Array, Array, Array]:
    """Correct a ``rate`` over ``n`` samples by a judge that called ``right_unsafe`` of ``unsafe``
    replies unsafe and ``right_safe`` of ``safe`` replies safe; returns value and interval.

    NaN where one kind of label is missing, or where the judge does no better than chance
    (sensitivity + specificity of at most 1). Value and interval are cut to [0, 1]. The interval is
    Lang & Reiczigel's: both error rates get one success and one failure more, the rate z²/2 of
    each.
    """
    rate, n, right_unsafe, unsafe, right_safe, safe = (
        np.asarray(values, dtype=np.float64)
        for values in (rate, n, right_unsafe, unsafe, right_safe, safe)
    )
    z2 = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) ** 2
    se, sp = (right_unsafe + 1) / (unsafe + 2), (right_safe + 1) / (safe + 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        youden = right_unsafe / unsafe + right_safe / safe - 1
        value = (rate + right_safe / safe - 1) / youden
        p = (rate * n + z2 / 2) / (n + z2)
        centre = (p + sp - 1) / (se + sp - 1)
        se_variance = se * (1 - se) / (unsafe + 2)
        sp_variance = sp * (1 - sp) / (safe + 2)
        shift = 2 * z2 * (centre * se_variance - (1 - centre) * sp_variance)
        variance = p * (1 - p) / (n + z2)
        variance += centre**2 * se_variance + (1 - centre) ** 2 * sp_variance
        half = np.sqrt(z2 * variance) / (se + sp - 1)
        middle = centre + shift
        usable = (n > 0) & (unsafe > 0) & (safe > 0) & (youden > 0) & (se + sp > 1)
        ends = (value, middle - half, middle + half)
    value, low, high = (np.where(usable, np.clip(end, 0, 1), np.nan) for end in ends)
    return value, np.minimum(low, value), np.maximum(high, value)
