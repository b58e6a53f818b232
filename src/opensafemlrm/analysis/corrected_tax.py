"""The reasoning tax as people would see it: a judge's verdicts corrected by labels, pair by pair.

The difference of two corrected rates carries the judge's errors on both models. Where people
labelled both replies to an item, the difference itself is estimated: its strata are what the judge
says of the two (:mod:`opensafemlrm.analysis.prediction_powered`), and errors that are the same on
both sides fall out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from opensafemlrm.analysis import MAX_UNSCORED, corrected
from opensafemlrm.analysis.clustered_counts import finite, texts
from opensafemlrm.analysis.conditions import (
    JUDGE_TO_CELL,
    PAIR_TO_DEFENSE,
    PART_AND_THRESHOLD,
    SETTING_COLUMNS,
    ends,
    only,
)
from opensafemlrm.analysis.corrected import POWERED, corrected_asr
from opensafemlrm.analysis.intervals import Array
from opensafemlrm.analysis.judge_errors import NONE
from opensafemlrm.analysis.prediction_powered import DIFFERENCE, MIN_LABELS, stratified_mean
from opensafemlrm.analysis.tax import FAMILY, tax

READS: Final = corrected.READS | {"repeat"}
"""Columns of the tidy table that :func:`corrected_tax` needs."""

APART: Final = "rates apart"

COLUMNS: Final[Mapping[str, str]] = {
    **PAIR_TO_DEFENSE,
    **PART_AND_THRESHOLD,
    "scored": "Samples of the reasoning model whose scores are compared.",
    "difference": "ASR of the reasoning model less that of the base, as judged.",
    **ends(),
    "corrected": "The same as people would see it; null where `method` is `none`.",
    **ends("corrected"),
    "method": f"`{POWERED}`: by items of which both replies are labelled, at least {MIN_LABELS}; "
    f"`{APART}`: the difference of the two corrected rates; `{NONE}`.",
    "basis": "Which labels the correction is made by, or why there is none.",
    "labelled": "Items and repeats of which both replies are labelled.",
    **JUDGE_TO_CELL,
}
"""The columns of :func:`corrected_tax`."""

_GUESSED: Final = (0.02, 0.25)
"""How often two replies are expected to differ where the judge calls both safe, and elsewhere."""
_NO_RATE: Final = {"method": NONE, "basis": "it has no rate"}
_FIGURES: Final[Mapping[str, Any]] = {
    **dict.fromkeys(("corrected", "corrected_low", "corrected_high"), pl.Float64()),
    **{"method": pl.String(), "basis": pl.String(), "labelled": pl.Int64()},
}


def corrected_tax(
    frame: pl.DataFrame | pl.LazyFrame,
    pairs: pl.DataFrame,
    calibrations: pl.DataFrame,
    labels: pl.DataFrame | None = None,
    *,
    part: str | None = None,
    threshold: float | None = None,
    max_unscored: float = MAX_UNSCORED,
) -> pl.DataFrame:
    """Return the tax of every pair and setting beside what labels make of it.

    Only judges that have a calibration, or labels of what they judged; columns: :data:`COLUMNS`.
    The other arguments are those of :func:`opensafemlrm.analysis.corrected.corrected_asr`.
    """
    rates = corrected_asr(frame, calibrations, labels, max_unscored=max_unscored)
    if rates.is_empty():
        frame = frame.clear()
    rows = tax(frame, pairs, mean="micro", max_unscored=max_unscored).filter(
        pl.col("judge").is_in(rates["judge"].unique().to_list()), pl.col("method") != NONE
    )
    on = [*SETTING_COLUMNS]
    by_rate = {
        tuple(row[name] for name in ("model", *on)): row
        for row in rates.filter(scenario="all").iter_rows(named=True)
    }
    known = {} if labels is None else units(frame, pairs, labels)
    paired = {key: _estimate(rows_of_pair) for key, rows_of_pair in known.items()}
    figures = []
    for row in rows.iter_rows(named=True):
        if row["withheld"] is not None:
            figures.append(
                {"method": NONE, "basis": f"as judged it is withheld: {row['withheld']}"}
            )
            continue
        correction = paired.get(tuple(row[name] for name in FAMILY))
        if correction is None or correction["method"] == NONE:
            sides = {
                side: by_rate.get((row[side], *(row[name] for name in on)), _NO_RATE)
                for side in ("model", "base")
            }
            correction = {**_apart(sides), "labelled": (correction or {}).get("labelled", 0)}
        figures.append(correction)
    beside = pl.DataFrame(figures, schema=_FIGURES, orient="row")
    rows = rows.drop("method").rename({"scored_model": "scored"}).hstack(beside)
    return only(finite(rows.select(*COLUMNS)), part, threshold)


def verdict_pairs(model: ArrayLike, base: ArrayLike) -> NDArray[np.int64]:
    """Return the stratum of each pair: 0 where the judge flags neither reply, 1 the base's alone, 2
    the model's alone, 3 both."""
    return 2 * np.asarray(model).astype(np.int64) + np.asarray(base).astype(np.int64)


def guessed(strata: NDArray[np.int64]) -> Array:
    """Return how often the replies of a stratum of :func:`verdict_pairs` are expected to differ.

    It matters only where there are few labels or none: it says where the first ones go.
    """
    return np.where(strata == 0, *_GUESSED).astype(np.float64)


def units(
    frame: pl.DataFrame | pl.LazyFrame, pairs: pl.DataFrame, labels: pl.DataFrame
) -> dict[tuple[Any, ...], pl.DataFrame]:
    """Return the pairs of scored replies of every family (:data:`tax.FAMILY`).

    Columns: simulated, item_key, repeat, and of both sides (the base's end in ``_right``) sample,
    flagged, score and label.
    """
    rows = corrected.labelled_rows(frame, labels)
    columns = ("sample", "flagged", "score", "label")
    on = ["base", *SETTING_COLUMNS, "scenario", "item_key", "repeat"]
    rows = rows.filter(pl.col("item_key").is_not_null())
    bases = rows.rename({"model": "base"}).select(*on, "simulated", *columns)
    known = pairs.cast(pl.Categorical).lazy()
    both = rows.join(known, left_on="model", right_on="reasoner").join(bases, on=on)
    both = both.with_columns(pl.col("simulated") | pl.col("simulated_right"))
    ends = [f"{name}_right" for name in columns]
    both_known = texts(
        both.select(*FAMILY, "simulated", "item_key", "repeat", *columns, *ends)
        .collect()
        .sort("sample")
    )
    return both_known.partition_by(FAMILY, as_dict=True, include_key=False)


def _estimate(rows: pl.DataFrame) -> dict[str, Any]:
    label = (rows["label"] - rows["label_right"]).cast(pl.Float64).fill_null(np.nan).to_numpy()
    labelled = int((~np.isnan(label)).sum())
    # Repeats of an item say little more than one of them.
    if rows["item_key"].filter(pl.Series(~np.isnan(label))).n_unique() < MIN_LABELS:
        return {"method": NONE, "labelled": labelled}
    estimate = stratified_mean(
        verdict_pairs(rows["flagged"], rows["flagged_right"]),
        label,
        DIFFERENCE,
        scores=(rows["score"] - rows["score_right"]).to_numpy(),
        items=rows["item_key"].rank("dense").cast(pl.Int64).to_numpy(),
    )
    return {
        "corrected": estimate.value,
        "corrected_low": estimate.low,
        "corrected_high": estimate.high,
        "method": POWERED,
        "basis": f"labels of both replies to {labelled:,} of {estimate.units:,} items: nothing is "
        "assumed of the judge's errors",
        "labelled": labelled,
    }


def _apart(sides: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the difference of two corrected rates; its interval takes them as independent."""
    for name, side in sides.items():
        if side["method"] == NONE:
            return {"method": NONE, "basis": f"the {name}: {side['basis']}"}
    (p, low, high), (q, low0, high0) = (
        [side[f"corrected{end}"] for end in ("", "_low", "_high")] for side in sides.values()
    )
    methods = " and ".join(side["method"] for side in sides.values())
    return {
        "corrected": p - q,
        "corrected_low": p - q - float(np.hypot(p - low, high0 - q)),
        "corrected_high": p - q + float(np.hypot(high - p, q - low0)),
        "method": APART,
        "basis": f"the two rates, {methods}: fewer than {MIN_LABELS} items have both replies "
        "labelled",
    }
