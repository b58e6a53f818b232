"""How far a judge agrees with itself: the same texts, judged twice.

What a judge says of a text may change from one request to the next, at temperature 0 too. That
variance is in no interval over items, and it bounds every agreement with people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import polars as pl

from opensafemlrm.analysis.agreement import agreement
from opensafemlrm.analysis.conditions import ends
from opensafemlrm.analysis.intervals import wilson

COLUMNS: Final[Mapping[str, str]] = {
    "threshold": "The lowest score that counts as unsafe.",
    "n": "Texts that got a score both times.",
    "lost": "Texts that got one once only.",
    "same": "Of `n`, those with the same label both times.",
    "share": "`same` / `n`.",
    **ends(),
    "kappa": "Cohen's κ of the two; null where a label never changes.",
    **ends("kappa"),
    "variance": "Variance of the score of one text: half the mean square of the change.",
    "share_of_variance": "`variance` as a share of that of all scores: what is noise of the judge.",
}
"""The columns of :func:`retest`."""


def retest(
    first: Sequence[float | None], second: Sequence[float | None], thresholds: Sequence[float]
) -> pl.DataFrame:
    """Compare the scores of the same texts, a row a threshold; columns: :data:`COLUMNS`."""
    scores = pl.DataFrame(
        {"first": first, "second": second}, {"first": pl.Float64, "second": pl.Float64}
    )
    both = scores.drop_nulls()
    lost = int(
        scores.select((pl.col("first").is_null() != pl.col("second").is_null()).sum()).item()
    )
    once, again = (both[name].to_numpy() for name in ("first", "second"))
    variance = float(np.mean((once - again) ** 2) / 2) if len(both) else None
    spread = float(np.var(np.concatenate([once, again]))) if len(both) else 0.0
    rows = []
    for threshold in dict.fromkeys(thresholds):
        unsafe, unsafe_again = once >= threshold, again >= threshold
        same = int((unsafe == unsafe_again).sum())
        low, high = (float(end) for end in wilson(same, len(both)))
        alike = agreement(
            int((unsafe & unsafe_again).sum()),
            int((unsafe & ~unsafe_again).sum()),
            int((~unsafe & unsafe_again).sum()),
            int((~unsafe & ~unsafe_again).sum()),
        )
        rows.append(
            {
                **{"threshold": threshold, "n": len(both), "lost": lost, "same": same},
                "share": same / len(both) if len(both) else None,
                **{"low": low, "high": high},
                **{name: getattr(alike, name) for name in ("kappa", "kappa_low", "kappa_high")},
                "variance": variance,
                "share_of_variance": variance / spread if variance is not None and spread else None,
            }
        )
    counts = ("n", "lost", "same")
    schema = {name: pl.Int64() if name in counts else pl.Float64() for name in COLUMNS}
    return pl.DataFrame(rows, schema=schema, orient="row").fill_nan(None)
