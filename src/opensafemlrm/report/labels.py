"""The tables of people's labels: judges compared with them, corrected rates, what to label."""

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
from opensafemlrm.analysis.prediction_powered import MIN_LABELS
from opensafemlrm.report.columns import (
    BASE,
    CONDITION_COLUMNS,
    JUDGE_COLUMNS,
    JUDGED,
    MODEL,
    PAIR,
    SCENARIO,
    THRESHOLD,
    interval,
    rate,
)
from opensafemlrm.report.forms import Form
from opensafemlrm.report.tables import Column, Note, Table, WhenConstant
from opensafemlrm.text import counted

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
    notes=[("unscored: texts that the judge gave no score; they are in no rate.", "unscored")],
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
    title="Bias probes: the same reply in another form",
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


_BASIS: Final = (
    Column("method", "By", constant=WhenConstant.CAPTION),
    Column("basis", "Basis", constant=WhenConstant.CAPTION, in_paper=False),
)
_NOTES: Final[tuple[Note, ...]] = (
    (
        f"prediction-powered: at least {MIN_LABELS} of these very replies are labelled; what a "
        "verdict is worth is measured on them, and nothing is assumed of the judge's errors.",
        pl.col("method") == "prediction-powered",
    ),
    (
        "Rogan–Gladen: by the judge's errors on other replies of the same part; the interval "
        "counts how sure sensitivity and specificity are, not whether they hold here.",
        pl.col("method") == "Rogan–Gladen",
    ),
    ("none: nothing is corrected, for the reason beside it.", pl.col("method") == "none"),
)
CALIBRATED: Final = Table(
    name="calibrated",
    title="ASR corrected by people's labels",
    columns=[
        *JUDGED,
        SCENARIO,
        Column("labels", "Labels", constant=WhenConstant.CAPTION, in_paper=False),
        Column("scored", "scored", Form.COUNT),
        Column("asr", "ASR %", Form.PERCENT, bounds=("bound_low", "bound_high")),
        interval("low", "high"),
        rate("corrected", "corrected %"),
        interval("corrected_low", "corrected_high"),
        *_BASIS,
        Column("sensitivity", "sensitivity %", Form.PERCENT, WhenConstant.CAPTION, in_paper=False),
        Column("specificity", "specificity %", Form.PERCENT, WhenConstant.CAPTION, in_paper=False),
        Column(
            "labelled_unsafe", "labelled unsafe", Form.COUNT, WhenConstant.CAPTION, in_paper=False
        ),
        Column("labelled_safe", "labelled safe", Form.COUNT, WhenConstant.CAPTION, in_paper=False),
    ],
    notes=_NOTES,
)
CALIBRATED_TAX: Final = Table(
    name="calibrated_tax",
    title="Reasoning tax corrected by people's labels",
    columns=[
        *PAIR,
        Column("scored", "n", Form.COUNT),
        Column("difference", "tax", Form.POINTS),
        interval("low", "high", Form.POINTS_INTERVAL),
        Column("corrected", "corrected", Form.POINTS),
        interval("corrected_low", "corrected_high", Form.POINTS_INTERVAL),
        Column("labelled", "labelled", Form.COUNT),
        *_BASIS,
    ],
    caption="labelled: items of which both replies are labelled.",
    notes=[
        *_NOTES,
        (
            "rates apart: the difference of the two corrected rates, whose interval takes them as "
            "independent; label both replies to an item for a narrower one.",
            pl.col("method") == "rates apart",
        ),
    ],
)
_NO_LABELS: Final = (
    "No judge of this store was compared with labels. Label some replies: safemlrm label STORE "
    "--annotator YOU"
)


def calibrated_tables(rates: pl.DataFrame, taxes: pl.DataFrame) -> list[Table]:
    """Return the tables of corrected rates and of the corrected tax; the second where there is one.

    There are rows only for judges that were calibrated, or whose replies are labelled.
    """
    tables = [CALIBRATED.of(rates, caption="" if len(rates) else _NO_LABELS)]
    return tables if taxes.is_empty() else [*tables, CALIBRATED_TAX.of(taxes)]


_ALPHA: Final = "α: Krippendorff's, 1 is full agreement and 0 that of chance."

RATERS: Final = Table(
    name="raters",
    title="Agreement on the texts that both gave a label",
    columns=[
        Column("first", "A"),
        Column("second", "B"),
        Column("part", "Part", constant=WhenConstant.CAPTION),
        Column("n", "both", Form.COUNT),
        Column("share_same", "same %", Form.PERCENT),
        Column("alpha", "α", Form.DECIMAL),
        Column("safe_to_unsafe", "only B unsafe", Form.COUNT),
        Column("unsafe_to_safe", "only A unsafe", Form.COUNT),
        Column("first_requests", "requests A", Form.COUNT, WhenConstant.DROP_IF_ZERO),
        Column("second_requests", "requests B", Form.COUNT, WhenConstant.DROP_IF_ZERO),
    ],
)
PANELS: Final = Table(
    name="panels",
    title="Judges that are made of judges",
    columns=[
        Column("judge", "Judge"),
        Column("texts", "texts", Form.COUNT),
        Column("members", "members", Form.COUNT),
        Column("alpha", "α", Form.DECIMAL),
        Column("split", "split", Form.COUNT),
        Column("asked_all", "asked all", Form.COUNT),
        Column("share_asked_all", "asked all %", Form.PERCENT),
        Column("requests", "requests", Form.COUNT),
    ],
    caption=f"{_ALPHA} split: texts on which members differ. asked all: texts that every "
    "member was asked about; what a cascade saves is the rest.",
)


def raters_table(pairs: pl.DataFrame, raters: str) -> Table:
    """Return the table of every two raters; ``raters`` says in its title what they are."""
    title = f"Agreement of {raters} on the texts that both gave a label"
    return RATERS.of(pairs, title=title, caption=_ALPHA if len(pairs) else "")


PLAN: Final = Table(
    name="plan",
    title="How many labels the corrected figures need",
    columns=[
        MODEL,
        BASE,
        *[column for column in CONDITION_COLUMNS if column.key != "sampling"],
        *JUDGE_COLUMNS,
        Column("items", "items", Form.COUNT),
        Column("labelled", "labelled", Form.COUNT),
        Column("within", "± now", Form.PERCENT),
        Column("wanted", "± wanted", Form.PERCENT, WhenConstant.CAPTION),
        Column("needed", "labels for it", Form.COUNT),
        Column("next_labels", "after this plan", Form.COUNT),
        Column("next_within", "± then", Form.PERCENT),
    ],
    caption="±: half the 95 % interval over these very items, in points, expected from the labels "
    "there are; before there are any, from a guess at how often the judge is wrong.",
    notes=[
        (
            "A comparison with a base counts items of which both replies are labelled.",
            pl.col("base").is_not_null(),
        )
    ],
)
SAMPLES: Final = Table(
    name="samples",
    title="What to label next, in this order",
    columns=[Column("place", "#", Form.COUNT), Column("sample", "Reply")],
)


def plan_tables(plan: pl.DataFrame, samples: Sequence[str]) -> list[Table]:
    """Return the table of comparisons, and that of the replies to label, by their keys."""
    order = pl.DataFrame({"sample": samples}, schema={"sample": pl.String})
    order = order.with_row_index("place", offset=1).with_columns(pl.col("place").cast(pl.Int64))
    title = f"What to label next: {counted(len(samples), 'reply')}, in this order"
    return [PLAN.of(plan), SAMPLES.of(order, title=title)]
