"""How wrong a judge is: its scores compared with labels that people gave.

``labelled`` is a frame of texts: ``unsafe`` (what people say of it), ``score`` (the judge's; null
where it gave none) and ``scenario``. A text is unsafe to the judge where its score is at least a
threshold. What the judge could not score is in no rate, and counted beside them.

Sources: intervals of rates by Wilson (see :mod:`opensafemlrm.analysis.intervals`); F1 is 2J/(1+J)
of J = tp/(tp+fp+fn), a rate, so that its interval is Wilson's, carried over; κ with its interval
is that of :mod:`opensafemlrm.analysis.agreement`.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
import polars as pl

from opensafemlrm.analysis.agreement import agreement, kappa
from opensafemlrm.analysis.conditions import ALL, ends
from opensafemlrm.analysis.intervals import wilson

LABELLED: Final = pl.Schema({"unsafe": pl.Boolean, "score": pl.Float64, "scenario": pl.String})
"""The columns of labelled texts."""
CONDITIONS: Final = pl.Schema(
    {"part": pl.String, "model": pl.Binary, "attack": pl.Binary, "weight": pl.Float64}
)
"""What :func:`counts_by_condition` needs too; the keys of model and attack are empty where they are
not known. ``weight`` is how many replies a labelled one stands for."""

CONFUSION_COLUMNS: Final[Mapping[str, str]] = {
    "scenario": "The scenario; `all` are all of them.",
    "threshold": "The lowest score that counts as unsafe.",
    "labelled": "Texts with a label, those without a score included.",
    "unscored": "Texts that the judge gave no score; they are in no rate.",
    "true_positives": "Texts that the judge and people call unsafe.",
    "false_positives": "Texts that only the judge calls unsafe.",
    "true_negatives": "Texts that both call safe.",
    "false_negatives": "Texts that only people call unsafe.",
    "accuracy": "Share of texts on which both say the same.",
    "f1": "The harmonic mean of precision and recall.",
    **ends("f1"),
    "kappa": "Cohen's κ.",
}
"""The columns of :func:`confusions`."""

MEASURE_COLUMNS: Final[Mapping[str, str]] = {
    "scenario": CONFUSION_COLUMNS["scenario"],
    "threshold": CONFUSION_COLUMNS["threshold"],
    "measure": "`accuracy`, `precision`, `recall`, `f1`, `sensitivity`, `specificity` or `kappa`; "
    "recall and sensitivity are two names of one measure.",
    "value": "Its value; null where it is a share of nothing.",
    **ends(),
    "n": "Texts that the measure is a share of.",
}
"""The columns of :func:`measures`."""

SWEEP_COLUMNS: Final[Mapping[str, str]] = {
    "threshold": "A threshold that tells scores apart.",
    "sensitivity": "Share of unsafe texts that the judge calls unsafe.",
    "specificity": "Share of safe texts that the judge calls safe.",
    "precision": "Share of what the judge calls unsafe that is.",
    "f1": "The harmonic mean of precision and sensitivity; 0 where nothing is found.",
    "kappa": "Cohen's κ.",
    "chosen": "`lenient`, `strict`, `best`, or several of them.",
}
"""The columns of :func:`sweep`."""

BEST_COLUMNS: Final[Mapping[str, str]] = {
    "threshold": "The threshold with the highest F1 on all labels.",
    "f1": "Its F1 on the labels it was chosen on: flattered by the choice.",
    "cross_validated_f1": "F1 on texts that had no part in the choice: each fold at the threshold "
    "that the others chose.",
    "folds": "How many folds there were.",
    "folds_agreeing": "In how many of them the same threshold was chosen.",
}
"""The columns of :func:`best_threshold`."""

RELIABILITY_COLUMNS: Final[Mapping[str, str]] = {
    "low": "The lowest score of the row.",
    "high": "The highest; equal where each score has a row of its own.",
    "n": "Texts with such a score.",
    "unsafe": "Of these texts, those that people call unsafe.",
    "share": "`unsafe` / `n`.",
    **ends("share"),
}
"""The columns of :func:`reliability`."""

CELLS: Final = ("true_positives", "false_positives", "true_negatives", "false_negatives")
MEASURES: Final = (
    *("accuracy", "precision", "recall", "f1", "sensitivity", "specificity", "kappa"),
)
_ENDS: Final = ("", "_low", "_high")
_FOLDS: Final = 5
_SEED: Final = 0
_MAX_THRESHOLDS: Final = 50
_MAX_BINS: Final = 12
_BINS: Final = 10


def confusions(labelled: pl.DataFrame, thresholds: Sequence[float]) -> pl.DataFrame:
    """Return how the judge's labels at ``thresholds`` fall against people's, over all texts and,
    where there is more than one, scenario by scenario. Columns: :data:`CONFUSION_COLUMNS`.
    """
    texts = labelled.with_columns(scenario=pl.lit(ALL))
    if labelled["scenario"].n_unique() > 1:
        texts = pl.concat([texts, labelled.sort("scenario")])
    counts = _count(texts, thresholds)
    by_measure = measures(counts, ("accuracy", "f1")).partition_by("measure", as_dict=True)
    f1 = by_measure["f1",]
    return counts.with_columns(
        labelled=pl.sum_horizontal(*CELLS, "unscored"),
        kappa=_kappa(counts),
        accuracy=by_measure["accuracy",]["value"],
        f1=f1["value"],
        f1_low=f1["low"],
        f1_high=f1["high"],
    ).select(*CONFUSION_COLUMNS)


def counts_by_condition(labelled: pl.DataFrame, thresholds: Sequence[float]) -> pl.DataFrame:
    """Return how the judge's labels fall against people's, for each part under each condition.

    Columns: part, model, attack, scenario, threshold, those of :data:`CELLS`, and unscored. There
    is a row for every model, attack and scenario, for all combinations of them, and for all
    together (empty). Where weights differ, the counts are those of as many texts as say as much
    (Kish), in the shares that the weights give; an unweighted judge would look more sensitive than
    it is where people were shown what it flags.
    """
    conditions = ("model", "attack", "scenario")
    keys = ("part", *conditions)
    found = []
    for together in itertools.product((False, True), repeat=len(conditions)):
        all_of = [name for name, all_ in zip(conditions, together, strict=True) if all_]
        texts = labelled.with_columns(
            pl.lit("" if name == "scenario" else b"").alias(name) for name in all_of
        )
        found.append(_count(texts, thresholds, keys, weighted=True))
    return pl.concat(found).unique([*keys, "threshold"]).sort(*keys, "threshold")


def measures(counts: pl.DataFrame, names: Sequence[str] = MEASURES) -> pl.DataFrame:
    """Return measures of each row of ``counts`` with their intervals; columns:
    :data:`MEASURE_COLUMNS`.

    ``counts`` has the columns of :data:`CELLS`, ``scenario`` and ``threshold``.
    """
    tp, fp, tn, fn = (counts[name] for name in CELLS)
    shares = {
        "accuracy": (tp + tn, tp + fp + tn + fn),
        "precision": (tp, tp + fp),
        "recall": (tp, tp + fn),
        "f1": (tp, tp + fp + fn),
        "sensitivity": (tp, tp + fn),
        "specificity": (tn, tn + fp),
        "kappa": (tp + tn, tp + fp + tn + fn),
    }
    keys = counts.select("scenario", "threshold").with_row_index("row")
    tables = []
    for name in names:
        hits, n = shares[name]
        limits = [(hits / n).to_numpy(), *wilson(hits, n)]
        if name == "f1":
            limits = [2 * end / (1 + end) for end in limits]
        elif name == "kappa":
            alike = [agreement(*table) for table in zip(tp, fp, fn, tn, strict=True)]
            limits = [np.array([getattr(row, name + end) for row in alike], float) for end in _ENDS]
        value, low, high = (pl.Series(end, nan_to_null=True) for end in limits)
        tables.append(keys.with_columns(measure=pl.lit(name), value=value, low=low, high=high, n=n))
    return pl.concat(tables).sort("row", maintain_order=True).select(*MEASURE_COLUMNS)


def sweep(labelled: pl.DataFrame, chosen: Mapping[str, float]) -> pl.DataFrame:
    """Return the judge at every threshold that tells its scores apart, and at the ``chosen`` ones.

    Columns: :data:`SWEEP_COLUMNS`; ``chosen`` gives a name's threshold, such as ``lenient``.
    """
    thresholds = sorted({*_thresholds(labelled), *chosen.values()})
    counts = _count(labelled.with_columns(scenario=pl.lit(ALL)), thresholds)
    names = [", ".join(name for name, t in chosen.items() if t == at) for at in thresholds]
    tp, fp, tn, fn = map(pl.col, CELLS)
    return counts.select(
        "threshold",
        sensitivity=_share(tp, tp + fn),
        specificity=_share(tn, tn + fp),
        precision=_share(tp, tp + fp),
        f1=_F1,
        kappa=_kappa(counts),
        chosen=pl.Series(names, dtype=pl.String),
    )


def best_threshold(labelled: pl.DataFrame) -> pl.DataFrame:
    """Return the threshold with the highest F1, and the F1 of choosing one, cross-validated.

    Columns: :data:`BEST_COLUMNS`. The folds (five, or as many as the rarer label has texts) hold
    both labels in the same shares; the shuffle is seeded. There is no row where a label has fewer
    than two texts with a score.
    """
    scored = labelled.drop_nulls("score").with_columns(scenario=pl.lit(ALL))
    folds = min(_FOLDS, *(scored.filter(pl.col("unsafe") == side).height for side in (False, True)))
    if folds < 2:
        return pl.DataFrame(schema=[*BEST_COLUMNS])
    order = random.Random(_SEED).sample(range(len(scored)), len(scored))  # noqa: S311  # no secret
    scored = scored[order].with_columns(fold=pl.int_range(pl.len()).over("unsafe") % folds)
    best, chosen, held_out = _best(scored), [], []
    for fold in range(folds):
        chosen.append(_best(scored.filter(pl.col("fold") != fold))["threshold"].item())
        held_out.append(_count(scored.filter(fold=fold), chosen[-1:]))
    threshold = best["threshold"].item()
    return best.select(
        "threshold",
        "f1",
        cross_validated_f1=pl.concat(held_out).sum().select(_F1).item(),
        folds=pl.lit(folds, pl.Int64),
        folds_agreeing=pl.lit(chosen.count(threshold), pl.Int64),
    )


def reliability(labelled: pl.DataFrame) -> pl.DataFrame:
    """Return, for each score, the share of texts that people call unsafe.

    Columns: :data:`RELIABILITY_COLUMNS`. More than twelve different scores are put into ten bins of
    equal width: a bin holds its lower end, the last one its upper end too.
    """
    scored = labelled.drop_nulls("score")
    scores = scored["score"].unique().sort().to_numpy()
    lows, highs = scores, scores
    if len(scores) > _MAX_BINS:
        lows = scores[0] + (scores[-1] - scores[0]) / _BINS * np.arange(_BINS)
        highs = np.append(lows[1:], scores[-1])
    place = np.searchsorted(lows, scored["score"].to_numpy(), side="right") - 1
    rows = (
        scored.with_columns(low=pl.Series(lows[place]), high=pl.Series(highs[place]))
        .group_by("low", "high")
        .agg(n=pl.len().cast(pl.Int64), unsafe=pl.col("unsafe").sum().cast(pl.Int64))
        .sort("low")
    )
    low, high = wilson(rows["unsafe"], rows["n"])
    share = pl.col("unsafe") / pl.col("n")
    return rows.with_columns(share=share, share_low=low, share_high=high)


_F1: Final = (
    pl.when(pl.sum_horizontal(CELLS[0], CELLS[1], CELLS[3]) > 0)
    .then(2 * pl.col(CELLS[0]) / (2 * pl.col(CELLS[0]) + pl.col(CELLS[1]) + pl.col(CELLS[3])))
    .otherwise(0.0)
)
"""F1, taken for 0 where there is nothing unsafe to find and nothing found."""


def _count(
    texts: pl.DataFrame,
    thresholds: Iterable[float],
    keys: Sequence[str] = ("scenario",),
    *,
    weighted: bool = False,
) -> pl.DataFrame:
    """Count how labels fall against people: a row for each of ``keys`` and thresholds, in order."""
    at = pl.DataFrame({"threshold": pl.Series(list(dict.fromkeys(thresholds)), dtype=pl.Float64)})
    unsafe, found = pl.col("unsafe"), pl.col("score") >= pl.col("threshold")
    sides = (unsafe & found, ~unsafe & found, ~unsafe & ~found, unsafe & ~found)
    # Each text counts as one, or as its weight over the mean square of the weights (Kish).
    weight = pl.col("weight") if weighted else pl.lit(1.0)
    known = pl.when(found.is_not_null()).then(weight)
    scale = known.sum() / (known**2).sum()
    return (
        texts.join(at, how="cross")
        .group_by(*keys, "threshold", maintain_order=True)
        .agg(
            *[
                (pl.when(side).then(weight).sum() * scale)
                .fill_nan(0)
                .round()
                .cast(pl.Int64)
                .alias(name)
                for name, side in zip(CELLS, sides, strict=True)
            ],
            unscored=pl.col("score").null_count().cast(pl.Int64),
        )
    )


def _share(hits: pl.Expr, n: pl.Expr) -> pl.Expr:
    return pl.when(n > 0).then(hits / n)


def _kappa(counts: pl.DataFrame) -> pl.Series:
    """Return Cohen's κ of each row of counts; null where a label never changes."""
    tp, fp, tn, fn = (counts[name].to_numpy().astype(np.float64) for name in CELLS)
    varies = (tp + fp) * (tn + fn) * (tp + fn) * (tn + fp) > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        values = kappa(np.stack([tp, fp, fn, tn]))
    return pl.Series(np.where(varies, values, np.nan), nan_to_null=True)


def _thresholds(labelled: pl.DataFrame) -> list[float]:
    """Return the scores that there are; of very many, as many as are worth looking at."""
    scores = labelled["score"].drop_nulls().unique().sort().to_list()
    return scores[:: max(1, -(-len(scores) // _MAX_THRESHOLDS))]


def _best(scored: pl.DataFrame) -> pl.DataFrame:
    """Return threshold and F1 of the highest F1; of equals the lowest, which misses least."""
    counts = _count(scored, _thresholds(scored)).select("threshold", f1=_F1)
    return counts.sort("f1", "threshold", descending=[True, False]).head(1)


RETEST_COLUMNS: Final[Mapping[str, str]] = {
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
    """Compare the scores of the same texts, a row a threshold; columns: :data:`RETEST_COLUMNS`."""
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
    schema = {name: pl.Int64() if name in counts else pl.Float64() for name in RETEST_COLUMNS}
    return pl.DataFrame(rows, schema=schema, orient="row").fill_nan(None)
