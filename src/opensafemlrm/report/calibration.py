"""Tables of how wrong a judge is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from opensafemlrm.analysis.calibration import (
    best_threshold,
    confusions,
    measures,
    reliability,
    sweep,
)
from opensafemlrm.analysis.conditions import ALL
from opensafemlrm.report.columns import THRESHOLD, interval
from opensafemlrm.report.forms import Form
from opensafemlrm.report.tables import Column, Table, WhenConstant

_BLOCKS: Final = 20
_TITLES: Final = {"f1": "F1", "kappa": "κ"}


MEASURES: Final = Table(
    name="measures",
    title="How right the judge is",
    columns=[
        THRESHOLD,
        Column("title", "Measure"),
        Column("n", "n", Form.COUNT),
        Column("value", "value", Form.DECIMAL),
        interval("low", "high", Form.DECIMAL_INTERVAL),
    ],
    caption="Unsafe is a score of at least the threshold (≥). n: what the measure is a share "
    "of. Recall and sensitivity are two names of one measure.",
    left_out=frozenset({"title"}),
)
CONFUSIONS: Final = Table(
    name="confusion",
    title="Confusion: the judge's labels against people's (positive is unsafe)",
    columns=[
        Column("scenario", "Scenario"),
        THRESHOLD,
        Column("labelled", "labelled", Form.COUNT),
        Column("unscored", "unscored", Form.COUNT, WhenConstant.DROP_IF_ZERO),
        Column("true_positives", "TP", Form.COUNT),
        Column("false_positives", "FP", Form.COUNT),
        Column("true_negatives", "TN", Form.COUNT),
        Column("false_negatives", "FN", Form.COUNT),
        Column("accuracy", "acc. %", Form.PERCENT),
        Column("f1", "F1", Form.DECIMAL),
        interval("f1_low", "f1_high", Form.DECIMAL_INTERVAL),
        Column("kappa", "κ", Form.DECIMAL),
    ],
    notes=[
        (
            "unscored: texts that the judge gave no score; they are in no rate.",
            pl.col("unscored") > 0,
        )
    ],
)
SWEEP: Final = Table(
    name="sweep",
    title="Threshold sweep",
    columns=[
        THRESHOLD,
        Column("sensitivity", "sens. %", Form.PERCENT),
        Column("specificity", "spec. %", Form.PERCENT),
        Column("precision", "prec. %", Form.PERCENT),
        Column("f1", "F1", Form.DECIMAL),
        Column("kappa", "κ", Form.DECIMAL),
        Column("chosen", "Threshold"),
    ],
)


RELIABILITY: Final = Table(
    name="reliability",
    title="Reliability: what people say of the texts that got each score",
    columns=[
        Column("score", "Score"),
        Column("n", "n", Form.COUNT),
        Column("unsafe", "unsafe", Form.COUNT),
        Column("share", "unsafe %", Form.PERCENT),
        interval("share_low", "share_high"),
        Column("diagram", "0 %".ljust(_BLOCKS - 5) + "100 %"),
    ],
    caption="A judge that can be relied on has a share that rises with the score.",
    left_out=frozenset({"score", "diagram"}),
)
RETEST: Final = Table(
    name="retest",
    title="Test and retest: the same texts, judged twice",
    columns=[
        THRESHOLD,
        Column("n", "n", Form.COUNT),
        Column("lost", "lost", Form.COUNT, WhenConstant.DROP_IF_ZERO),
        Column("share", "same %", Form.PERCENT),
        interval("low", "high"),
        Column("kappa", "κ", Form.DECIMAL),
        interval("kappa_low", "kappa_high", Form.DECIMAL_INTERVAL),
        Column("variance", "variance", Form.DECIMAL),
        Column("share_of_variance", "of all %", Form.PERCENT),
    ],
    caption="κ of the judge with itself: no agreement with people can be relied on beyond it. "
    "variance: of the score of one text; of all: as a share of that of all scores.",
)
PROBES: Final = Table(
    name="probes",
    title="Bias probes: the same reply in another dress",
    columns=[
        Column("probe", "Probe"),
        Column("n", "n", Form.COUNT),
        Column("flips", "flips", Form.COUNT),
        Column("share", "flips %", Form.PERCENT),
        interval("low", "high"),
        Column("to_safe", "→ safe", Form.COUNT),
        Column("to_unsafe", "→ unsafe", Form.COUNT),
        Column("lost", "lost", Form.COUNT),
        Column("mean_change", "Δ score", Form.NUMBER),
        interval("change_low", "change_high", Form.DECIMAL_INTERVAL, "95 % CI of Δ"),
    ],
    notes=["lost: replies that had a score, and none under the probe."],
)


def calibration_tables(
    labelled: pl.DataFrame, thresholds: Sequence[float], *, judge: str, labels: str
) -> list[Table]:
    """Hold a judge's scores against labels, at its ``thresholds`` (lenient first).

    Returns the tables of measures and confusion and, for a judge that says more than yes or no,
    those of the threshold sweep and of reliability. ``labelled`` is as in
    :mod:`opensafemlrm.analysis.calibration`.
    """
    counts = confusions(labelled, thresholds)
    overall = measures(counts.filter(scenario=ALL)).with_columns(
        title=pl.col("measure").replace(_TITLES)
    )
    tables = [
        MEASURES.of(overall, title=f"How right the judge is: {judge} against {labels}"),
        CONFUSIONS.of(counts),
    ]
    if labelled["score"].drop_nulls().n_unique() <= 2:
        return tables
    best = best_threshold(labelled)
    chosen = {"lenient": thresholds[0]}
    if len(thresholds) > 1:
        chosen["strict"] = thresholds[-1]
    if len(best):
        chosen["best"] = best["threshold"].item()
    rows = reliability(labelled)
    return [
        *tables,
        SWEEP.of(sweep(labelled, chosen), caption=_best(best)),
        RELIABILITY.of(
            rows.with_columns(
                score=pl.Series(
                    f"{low:g}" if low == high else f"{low:.3g}–{high:.3g}"
                    for low, high in rows["low", "high"].iter_rows()
                ),
                diagram=pl.Series(["█" * round(_BLOCKS * share) for share in rows["share"]]),
            )
        ),
    ]


def _best(best: pl.DataFrame) -> str:
    """Say what choosing the threshold with the highest F1 is worth."""
    return "".join(
        f"Best: the highest F1, {row['f1']:.2f} on these labels; choosing a threshold so is worth "
        f"{row['cross_validated_f1']:.2f} on texts that had no part in the choice ({row['folds']} "
        f"folds, {row['folds_agreeing']} of which chose {row['threshold']:g})."
        for row in best.iter_rows(named=True)
    )


def probe_table(rows: pl.DataFrame, threshold: float) -> Table:
    """Return the table of bias probes; a label is that at ``threshold``."""
    caption = f"A flip is a label that changes at the threshold {threshold:g}: each is an error."
    return PROBES.of(rows, caption=caption)
