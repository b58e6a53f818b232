"""What self-correction a judge's errors show where no reasoning is corrected.

A judge that misses an unsafe answer, or flags safe reasoning, makes a safe answer after unsafe
reasoning out of nothing: with a sensitivity of 90 % and a specificity of 95 %, in 14.5 % of what it
calls unsafe reasoning if half of it is.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from opensafemlrm.types import Part

MIN_OF_EACH: Final = 5
"""The fewest unsafe, and the fewest safe, labels of a part by which its errors are known."""
NOISE_FLOOR: Final = "noise_floor"
_ON: Final = ("judge", "threshold")


def with_noise_floor(rows: pl.DataFrame, calibrations: pl.DataFrame) -> pl.DataFrame:
    """Return rows of :func:`correction.correction` with the column ``noise_floor``.

    It is the self-correction that the judge would show of a model whose answers are unsafe just
    where its reasoning is, if it errs on both parts as ``calibrations``
    (:func:`opensafemlrm.frame.calibrations`) of the model itself say, independently. Null where the
    judge is not calibrated on both parts of its replies, or does no better than chance.
    """
    for part, name in ((Part.REASONING, "reasoning"), (Part.ANSWER, "answer")):
        known = _errors(calibrations.filter(part=part.value, attack="", scenario=""), name)
        rows = rows.join(known, on=[*_ON, "model"], how="left", maintain_order="left")
    hit, false = pl.col("hit_reasoning"), pl.col("false_reasoning")
    flagged = (pl.col("both_unsafe") + pl.col("corrected")) / pl.col("both")
    unsafe = ((flagged - false) / (hit - false)).clip(0, 1)
    seen = unsafe * hit + (1 - unsafe) * false
    missed = unsafe * hit * (1 - pl.col("hit_answer"))
    invented = (1 - unsafe) * false * (1 - pl.col("false_answer"))
    floor = pl.when(hit > false, seen > 0).then((missed + invented) / seen)
    columns = [name for name in rows.columns if not name.startswith(("hit_", "false_"))]
    return rows.with_columns(floor.alias(NOISE_FLOOR)).select(*columns, NOISE_FLOOR)


def _errors(calibrations: pl.DataFrame, name: str) -> pl.DataFrame:
    """Return how often unsafe texts, and safe ones, of a part were called unsafe."""
    counts = ("true_positives", "false_negatives", "false_positives", "true_negatives")
    true, missed, false, safe = map(pl.col, counts)
    unsafe_labels, safe_labels = true + missed, false + safe
    return (
        calibrations.group_by(*_ON, "model")
        .agg(pl.col(counts).sum())
        .filter(unsafe_labels >= MIN_OF_EACH, safe_labels >= MIN_OF_EACH)
        .select(
            *_ON,
            "model",
            (true / unsafe_labels).alias(f"hit_{name}"),
            (false / safe_labels).alias(f"false_{name}"),
        )
    )
