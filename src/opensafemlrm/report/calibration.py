"""Tables of how wrong a judge is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Final

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
from opensafemlrm.report.tables import Column, Form, Table, WhenConstant

_BLOCKS: Final = 20
_TITLES: Final = {"f1": "F1", "kappa": "κ"}


class _Named(MeasureRow):
    """A measure under the name it is known by."""

    __slots__ = ()

    @property
    def title(self) -> str:
        return _TITLES.get(self.measure, self.measure)


class _Drawn(ReliabilityRow):
    """A row of the reliability diagram, with its bar."""

    __slots__ = ()

    @property
    def score(self) -> str:
        alike = self.low == self.high
        return f"{self.low:g}" if alike else f"{self.low:.3g}–{self.high:.3g}"

    @property
    def diagram(self) -> str:
        return "█" * round(_BLOCKS * self.share)


def calibration_tables(found: Calibrated) -> list[Table]:
    """Return the tables of a calibration: measures, confusion, sweep and reliability."""
    tables = [_measures(found), _confusions(found.confusions)]
    if found.sweep:
        tables.append(_sweep(found))
    if found.reliability:
        tables.append(_reliability(found.reliability))
    return tables


def probe_table(rows: Sequence[ProbeRow], threshold: float) -> Table:
    """Return the table of bias probes; a label is that at ``threshold``."""
    columns = [
        Column("probe", "Probe"),
        Column("n", "n", Form.COUNT),
        Column("flips", "flips", Form.COUNT),
        Column("share", "flips %", Form.PERCENT),
        Column("low", "95 % CI", Form.INTERVAL, upto="high"),
        Column("to_safe", "→ safe", Form.COUNT),
        Column("to_unsafe", "→ unsafe", Form.COUNT),
        Column("lost", "lost", Form.COUNT),
        Column("mean_change", "Δ score", Form.NUMBER),
    ]
    return Table(
        name="probes",
        title="Bias probes: the same reply in another dress",
        row_type=ProbeRow,
        rows=rows,
        columns=columns,
        caption=f"A flip is a label that changes at the threshold {threshold:g}: each is an error.",
        notes=("lost: replies that had a score, and none under the probe.",),
    )


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


def _measures(found: Calibrated) -> Table:
    rows = [_Named(**asdict(row)) for row in found.measures]
    columns = [
        Column("threshold", "≥", Form.THRESHOLD),
        Column("title", "Measure"),
        Column("n", "n", Form.COUNT),
        Column("value", "value", Form.DECIMAL),
        Column("low", "95 % CI", Form.DECIMAL_INTERVAL, upto="high"),
    ]
    return Table(
        name="measures",
        title=f"How right the judge is: {found.judge} against {found.labels}",
        row_type=MeasureRow,
        rows=rows,
        columns=columns,
        caption="Unsafe is a score of at least the threshold (≥). n: what the measure is a share "
        "of. Recall and sensitivity are two names of one measure.",
    )


def _confusions(rows: Sequence[ConfusionRow]) -> Table:
    columns = [
        Column("scenario", "Scenario"),
        Column("threshold", "≥", Form.THRESHOLD),
        Column("labelled", "labelled", Form.COUNT),
        Column("unscored", "unscored", Form.COUNT, constant=WhenConstant.DROP_IF_ZERO),
        Column("true_positives", "TP", Form.COUNT),
        Column("false_positives", "FP", Form.COUNT),
        Column("true_negatives", "TN", Form.COUNT),
        Column("false_negatives", "FN", Form.COUNT),
        Column("accuracy", "acc. %", Form.PERCENT),
        Column("f1", "F1", Form.DECIMAL),
        Column("f1_low", "95 % CI", Form.DECIMAL_INTERVAL, upto="f1_high"),
        Column("kappa", "κ", Form.DECIMAL),
    ]
    unscored = max((row.unscored for row in rows), default=0)
    notes = ("unscored: texts that the judge gave no score; they are in no rate.",)
    return Table(
        name="confusion",
        title="Confusion: the judge's labels against people's (positive is unsafe)",
        row_type=ConfusionRow,
        rows=rows,
        columns=columns,
        notes=notes if unscored else (),
    )


def _sweep(found: Calibrated) -> Table:
    columns = [
        Column("threshold", "≥", Form.THRESHOLD),
        Column("sensitivity", "sens. %", Form.PERCENT),
        Column("specificity", "spec. %", Form.PERCENT),
        Column("precision", "prec. %", Form.PERCENT),
        Column("f1", "F1", Form.DECIMAL),
        Column("kappa", "κ", Form.DECIMAL),
        Column("chosen", "Threshold"),
    ]
    best = found.best
    said = ""
    if best is not None:
        said = (
            f"Best: the highest F1, {best.f1:.2f} on these labels; choosing a threshold so is "
            f"worth {best.cross_validated_f1:.2f} on texts that had no part in the choice "
            f"({best.folds} folds, {best.folds_agreeing} of which chose {best.threshold:g})."
        )
    return Table(
        name="sweep",
        title="Threshold sweep",
        row_type=SweepRow,
        rows=found.sweep,
        columns=columns,
        caption=said,
    )


def _reliability(rows: Sequence[ReliabilityRow]) -> Table:
    drawn = [_Drawn(**asdict(row)) for row in rows]
    columns = [
        Column("score", "Score"),
        Column("n", "n", Form.COUNT),
        Column("unsafe", "unsafe", Form.COUNT),
        Column("share", "unsafe %", Form.PERCENT),
        Column("share_low", "95 % CI", Form.INTERVAL, upto="share_high"),
        Column("diagram", "0 %".ljust(_BLOCKS - 5) + "100 %"),
    ]
    return Table(
        name="reliability",
        title="Reliability: what people say of the texts that got each score",
        row_type=ReliabilityRow,
        rows=drawn,
        columns=columns,
        caption="A judge that can be relied on has a share that rises with the score.",
    )
