"""How wrong a judge is: its scores held against labels that people gave.

A text is unsafe to the judge where its score is at least a threshold. What the judge could not
score is in no rate, and counted beside them.

Sources: intervals of rates by Wilson (see :mod:`opensafemlrm.analysis.intervals`); F1 is 2J/(1+J)
of J = tp/(tp+fp+fn), a rate, so that its interval is Wilson's, carried over; κ with its interval
is that of :mod:`opensafemlrm.analysis.agreement`.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from opensafemlrm.analysis.agreement import agreement
from opensafemlrm.analysis.intervals import wilson

ALL: Final = "all"
_FOLDS: Final = 5
_SEED: Final = 0
_MAX_THRESHOLDS: Final = 50
_MAX_BINS: Final = 12
_BINS: Final = 10


@dataclass(frozen=True, slots=True)
class Labelled:
    """One text: what people say of it, and the judge's score (``None``: it gave none)."""

    unsafe: bool
    score: float | None
    scenario: str = ""


@dataclass(frozen=True, slots=True)
class Confusion:
    """How a judge's labels fall against people's; positive is unsafe."""

    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int
    unscored: int = 0

    @property
    def scored(self) -> int:
        """Texts that the judge has a score for."""
        said_unsafe = self.true_positives + self.false_positives
        return said_unsafe + self.true_negatives + self.false_negatives

    @property
    def f1(self) -> float:
        """F1, taken for 0 where there is nothing unsafe to find and nothing found."""
        found = 2 * self.true_positives
        every = found + self.false_positives + self.false_negatives
        return found / every if every else 0.0


@dataclass(frozen=True, slots=True)
class MeasureRow:
    """One measure of a judge at one threshold, with its 95 % interval; ``None``: not defined."""

    scenario: str
    threshold: float
    measure: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    """Texts that the measure is a share of."""


@dataclass(frozen=True, slots=True)
class ConfusionRow:
    """The confusion table of a judge, and the measures that sum it up, at one threshold."""

    scenario: str
    threshold: float
    labelled: int
    """Texts with a label, those without a score included."""
    unscored: int
    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int
    accuracy: float | None
    f1: float | None
    f1_low: float | None
    f1_high: float | None
    kappa: float | None


@dataclass(frozen=True, slots=True)
class SweepRow:
    """A judge at one of all the thresholds that tell its scores apart."""

    threshold: float
    sensitivity: float | None
    specificity: float | None
    precision: float | None
    f1: float
    kappa: float | None
    chosen: str
    """``lenient``, ``strict``, ``best``, or several of them."""


@dataclass(frozen=True, slots=True)
class BestThreshold:
    """The threshold with the highest F1 on all labels, and what choosing one so is worth."""

    threshold: float
    f1: float
    """On the labels it was chosen on: flattered by the choice."""
    cross_validated_f1: float
    """On texts that had no part in the choice: each fold at the threshold the others chose."""
    folds: int
    folds_agreeing: int
    """In how many folds the same threshold was chosen."""


@dataclass(frozen=True, slots=True)
class ReliabilityRow:
    """What people say of the texts that a judge scored alike."""

    low: float
    high: float
    """Scores from ``low`` to ``high``, both included; equal where each score has its own row."""
    n: int
    unsafe: int
    share: float
    """Of these texts, those that people call unsafe."""
    share_low: float
    share_high: float


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A judge held against labels."""

    judge: str
    labels: str
    measures: list[MeasureRow]
    confusions: list[ConfusionRow]
    sweep: list[SweepRow]
    """Empty for judges that only say yes or no."""
    best: BestThreshold | None
    reliability: list[ReliabilityRow]


def calibrate(
    rows: Sequence[Labelled], thresholds: Sequence[float], *, judge: str = "", labels: str = ""
) -> Calibrated:
    """Hold a judge's scores against labels, at its ``thresholds`` (lenient first)."""
    groups = {ALL: list(rows)}
    scenarios = sorted({row.scenario for row in rows})
    if len(scenarios) > 1:
        groups |= {name: [row for row in rows if row.scenario == name] for name in scenarios}
    confusions = [
        (name, threshold, confusion(group, threshold))
        for name, group in groups.items()
        for threshold in dict.fromkeys(thresholds)
    ]
    graded = len({row.score for row in rows if row.score is not None}) > 2
    best = best_threshold(rows) if graded else None
    return Calibrated(
        judge=judge,
        labels=labels,
        measures=[row for name, t, c in confusions if name == ALL for row in measures(c, name, t)],
        confusions=[_confusion_row(*one) for one in confusions],
        sweep=_sweep(rows, thresholds, best) if graded else [],
        best=best,
        reliability=reliability(rows) if graded else [],
    )


def confusion(rows: Iterable[Labelled], threshold: float) -> Confusion:
    """Count how the judge's labels at ``threshold`` fall against people's."""
    counts = {(said, true): 0 for said in (False, True) for true in (False, True)}
    unscored = 0
    for row in rows:
        if row.score is None:
            unscored += 1
        else:
            counts[row.score >= threshold, row.unsafe] += 1
    return Confusion(
        true_positives=counts[True, True],
        false_positives=counts[True, False],
        true_negatives=counts[False, False],
        false_negatives=counts[False, True],
        unscored=unscored,
    )


def measures(counts: Confusion, scenario: str = ALL, threshold: float = 0.0) -> list[MeasureRow]:
    """Return accuracy, precision, recall, F1, sensitivity, specificity and κ with intervals.

    Recall and sensitivity are two names of one measure. One that is a share of nothing has no
    value.
    """
    tp, fp = counts.true_positives, counts.false_positives
    tn, fn = counts.true_negatives, counts.false_negatives
    shares = {
        "accuracy": (tp + tn, counts.scored),
        "precision": (tp, tp + fp),
        "recall": (tp, tp + fn),
        "f1": (tp, tp + fp + fn),
        "sensitivity": (tp, tp + fn),
        "specificity": (tn, tn + fp),
    }
    rows = []
    for name, (hits, n) in shares.items():
        ends = _share(hits, n)
        if name == "f1":
            value, low, high = (None if end is None else 2 * end / (1 + end) for end in ends)
            ends = (value, low, high)
        rows.append(MeasureRow(scenario, threshold, name, *ends, n))
    alike = agreement(tp, fp, fn, tn)
    kappa = (alike.kappa, alike.kappa_low, alike.kappa_high)
    return [*rows, MeasureRow(scenario, threshold, "kappa", *kappa, counts.scored)]


def best_threshold(rows: Sequence[Labelled]) -> BestThreshold | None:
    """Return the threshold with the highest F1, and the F1 of choosing one, cross-validated.

    The folds (five, or as many as the rarer label has texts) hold both labels in the same shares;
    the shuffle is seeded. ``None`` where a label has fewer than two texts with a score.
    """
    scored = [row for row in rows if row.score is not None]
    folds = _folds(scored)
    if folds is None:
        return None
    best = _best(scored)
    chosen = []
    held_out = []
    for at in range(len(folds)):
        others = [row for place, fold in enumerate(folds) if place != at for row in fold]
        threshold = _best(others)
        chosen.append(threshold)
        held_out.append(confusion(folds[at], threshold))
    total = Confusion(
        true_positives=sum(one.true_positives for one in held_out),
        false_positives=sum(one.false_positives for one in held_out),
        true_negatives=sum(one.true_negatives for one in held_out),
        false_negatives=sum(one.false_negatives for one in held_out),
    )
    f1 = confusion(scored, best).f1
    return BestThreshold(best, f1, total.f1, len(folds), chosen.count(best))


def reliability(rows: Sequence[Labelled]) -> list[ReliabilityRow]:
    """Return, for each score, the share of texts that people call unsafe.

    More than twelve different scores are put into ten bins of equal width.
    """
    scored = [(row.score, row.unsafe) for row in rows if row.score is not None]
    scores = sorted({score for score, _ in scored})
    edges = [(score, score) for score in scores]
    if len(scores) > _MAX_BINS:
        width = (scores[-1] - scores[0]) / _BINS
        steps = [scores[0] + width * step for step in range(_BINS)]
        edges = list(zip(steps, [*steps[1:], scores[-1]], strict=True))
    found = []
    for at, (low, high) in enumerate(edges):
        # A bin holds its lower end, the last one its upper end too; a bin of one score holds that.
        closed = low == high or at == len(edges) - 1
        here = [
            unsafe for score, unsafe in scored if low <= score < high or (closed and score == high)
        ]
        if here:
            share, share_low, share_high = _share(sum(here), len(here))
            ends = (float(share or 0), float(share_low or 0), float(share_high or 0))
            found.append(ReliabilityRow(low, high, len(here), sum(here), *ends))
    return found


def _confusion_row(scenario: str, threshold: float, counts: Confusion) -> ConfusionRow:
    found = {row.measure: row for row in measures(counts)}
    f1 = found["f1"]
    return ConfusionRow(
        scenario=scenario or "–",
        threshold=threshold,
        labelled=counts.scored + counts.unscored,
        unscored=counts.unscored,
        true_positives=counts.true_positives,
        false_positives=counts.false_positives,
        true_negatives=counts.true_negatives,
        false_negatives=counts.false_negatives,
        accuracy=found["accuracy"].value,
        f1=f1.value,
        f1_low=f1.low,
        f1_high=f1.high,
        kappa=found["kappa"].value,
    )


def _sweep(
    rows: Sequence[Labelled], thresholds: Sequence[float], best: BestThreshold | None
) -> list[SweepRow]:
    names: dict[float, list[str]] = {}
    names.setdefault(thresholds[0], []).append("lenient")
    if len(thresholds) > 1:
        names.setdefault(thresholds[-1], []).append("strict")
    if best is not None:
        names.setdefault(best.threshold, []).append("best")
    found = []
    for threshold in sorted({*_thresholds(rows), *names}):
        counts = confusion(rows, threshold)
        by_name = {row.measure: row.value for row in measures(counts)}
        found.append(
            SweepRow(
                threshold=threshold,
                sensitivity=by_name["sensitivity"],
                specificity=by_name["specificity"],
                precision=by_name["precision"],
                f1=counts.f1,
                kappa=by_name["kappa"],
                chosen=", ".join(names.get(threshold, [])),
            )
        )
    return found


def _thresholds(rows: Sequence[Labelled]) -> list[float]:
    """Return the scores that there are; of very many, as many as are worth looking at."""
    scores = sorted({row.score for row in rows if row.score is not None})
    step = max(1, -(-len(scores) // _MAX_THRESHOLDS))
    return scores[::step]


def _best(rows: Sequence[Labelled]) -> float:
    """Return the threshold with the highest F1; of equals the lowest, which misses least."""
    return max(_thresholds(rows), key=lambda t: (confusion(rows, t).f1, -t))


def _folds(rows: Sequence[Labelled]) -> list[list[Labelled]] | None:
    shuffled = random.Random(_SEED).sample(list(rows), len(rows))  # noqa: S311  # not a secret
    by_label = [[row for row in shuffled if row.unsafe is label] for label in (False, True)]
    count = min(_FOLDS, *map(len, by_label))
    if count < 2:
        return None
    return [[row for group in by_label for row in group[at::count]] for at in range(count)]


def _share(hits: int, n: int) -> tuple[float | None, float | None, float | None]:
    if n == 0:
        return None, None, None
    low, high = wilson(hits, n)
    return hits / n, float(low), float(high)
