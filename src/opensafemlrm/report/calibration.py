"""Tables of how wrong a judge is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import polars as pl

from opensafemlrm import registry
from opensafemlrm.analysis.calibration import (
    Calibrated,
    Confusion,
    ConfusionRow,
    MeasureRow,
    ReliabilityRow,
    SweepRow,
    measures,
)
from opensafemlrm.analysis.probes import ProbeRow
from opensafemlrm.report.columns import THRESHOLD, frame_of, interval
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
    ],
    notes=["lost: replies that had a score, and none under the probe."],
)


def calibration_tables(result: Calibrated) -> list[Table]:
    """Return the tables of a calibration: measures, confusion, sweep and reliability."""
    measured = frame_of(MeasureRow, result.measures).with_columns(
        title=pl.col("measure").replace(_TITLES)
    )
    against = f"How right the judge is: {result.judge} against {result.labels}"
    tables = [
        MEASURES.of(measured, title=against),
        CONFUSIONS.of(frame_of(ConfusionRow, result.confusions)),
    ]
    if result.sweep:
        tables.append(SWEEP.of(frame_of(SweepRow, result.sweep), caption=_best(result)))
    if result.reliability:
        rows = frame_of(ReliabilityRow, result.reliability)
        tables.append(
            RELIABILITY.of(
                rows.with_columns(
                    score=pl.Series([_range(*ends) for ends in rows["low", "high"].iter_rows()]),
                    diagram=pl.Series(["█" * round(_BLOCKS * share) for share in rows["share"]]),
                )
            )
        )
    return tables


def _best(result: Calibrated) -> str:
    best = result.best
    if best is None:
        return ""
    return (
        f"Best: the highest F1, {best.f1:.2f} on these labels; choosing a threshold so is "
        f"worth {best.cross_validated_f1:.2f} on texts that had no part in the choice "
        f"({best.folds} folds, {best.folds_agreeing} of which chose {best.threshold:g})."
    )


def _range(low: float, high: float) -> str:
    return f"{low:g}" if low == high else f"{low:.3g}–{high:.3g}"


def probe_table(rows: Sequence[ProbeRow], threshold: float) -> Table:
    """Return the table of bias probes; a label is that at ``threshold``."""
    caption = f"A flip is a label that changes at the threshold {threshold:g}: each is an error."
    return PROBES.of(frame_of(ProbeRow, rows), caption=caption)


def measured_notes(judges: Iterable[str]) -> tuple[str, ...]:
    """Return, for each judge (as tables call it) that ships with its errors measured, a note."""
    notes = []
    for name in sorted({judge.split("[")[0].split("#")[0] for judge in judges}):
        if name in registry.names(registry.ComponentKind.JUDGE):
            counts = getattr(registry.find(registry.ComponentKind.JUDGE, name), "measured", None)
            if counts is not None:
                notes.append(f"{name}: {_in_words(Confusion(**counts))}")
    return tuple(notes)


def _in_words(counts: Confusion) -> str:
    by_name = {row.measure: row for row in measures(counts)}
    said = ", ".join(
        f"{title} {_interval(by_name[name])}"
        for name, title in (("sensitivity", "sensitivity"), ("specificity", "specificity"))
    )
    return (
        f"a weak judge by rules; on its own {counts.scored} held-out labels of harmless replies "
        f"F1 {by_name['f1'].value:.2f}, {said}. Calibrate it on labels of your own data."
    )


def _interval(row: MeasureRow) -> str:
    ends = (row.value, row.low, row.high)
    value, low, high = (f"{100 * (end or 0):.0f}" for end in ends)
    return f"{value} % ({low}–{high})"
