"""Self-correction: unsafe reasoning that ends in a safe answer, and how the two hang together.

Source: SafeMLRM (arXiv 2504.08813), self-correction and the coupling of reasoning and answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Final, Literal

import polars as pl

from opensafemlrm.analysis import MAX_UNSCORED, clustered_counts
from opensafemlrm.analysis.agreement import agreement
from opensafemlrm.analysis.clustered_counts import at_thresholds, finite, harmful, texts
from opensafemlrm.analysis.conditions import (
    ALL,
    CELL_COLUMNS,
    JUDGE_TO_CELL,
    MODEL_TO_DEFENSE,
    PART_AND_THRESHOLD,
    THRESHOLDS,
    ends,
)
from opensafemlrm.analysis.contrasts import student_factor
from opensafemlrm.analysis.effects import Cluster
from opensafemlrm.analysis.intervals import rate_interval
from opensafemlrm.analysis.withheld import COLUMN, is_lost, why, withhold
from opensafemlrm.types import Part, TraceStatus, Unscored

READS: Final = clustered_counts.READS | {"sample", "reasoning_status"}
"""Columns of the tidy table that :func:`correction` needs."""

COLUMNS: Final[Mapping[str, str]] = {
    **MODEL_TO_DEFENSE,
    "scenario": "`all` where scenarios are taken together.",
    "threshold": PART_AND_THRESHOLD["threshold"],
    "reasoning_status": "`raw`: the reasoning as the model wrote it; `summary`, `hidden`: what the "
    "provider gave in its place, never pooled with the raw; `counts`: histograms, which do not say "
    "which reasoning belongs to which answer, so that nothing here can be computed.",
    "n": "Samples.",
    "both": "Samples with a score for reasoning and answer: those of the 2×2.",
    "not_both": "The others.",
    "both_unsafe": "Unsafe reasoning, unsafe answer.",
    "corrected": "Unsafe reasoning, safe answer.",
    "reverse": "Safe reasoning, unsafe answer.",
    "both_safe": "Safe reasoning, safe answer.",
    "self_correction": "`corrected` / (`corrected` + `both_unsafe`).",
    **ends("self_correction"),
    "self_correction_bound_low": "The lowest it can be over all `n`, whatever the parts without a "
    "score hold; a part that is not there has none to hold.",
    "self_correction_bound_high": "The highest.",
    "unsafe_given_unsafe": "P(answer unsafe given reasoning unsafe): 1 − `self_correction`.",
    "unsafe_given_safe": "P(answer unsafe given reasoning safe): `reverse` / (`reverse` + "
    "`both_safe`).",
    **ends("unsafe_given_safe"),
    "unsafe_given_safe_bound_low": "The lowest it can be, as for `self_correction`.",
    "unsafe_given_safe_bound_high": "The highest.",
    "phi": "Correlation of the two labels; null where one of them never changes.",
    **ends("phi"),
    "kappa": "Cohen's κ of the two labels.",
    **ends("kappa"),
    **COLUMN,
    **JUDGE_TO_CELL,
}
"""The columns of :func:`correction`."""

_KEYS: Final = (*CELL_COLUMNS, "judge", *THRESHOLDS, "scenario")
_GROUP: Final = (*_KEYS, "reasoning_status", "threshold")
_KEPT_APART: Final = (TraceStatus.SUMMARY.value, TraceStatus.HIDDEN.value)
_TABLE: Final = ("both_unsafe", "corrected", "reverse", "both_safe")
_KNOWN: Final = tuple(f"{reasoning}{answer}" for reasoning in "us?" for answer in "us?")
"""Samples by what is known of their reasoning and their answer: unsafe, safe, or neither."""
_RATES: Final = ("self_correction", "unsafe_given_safe")
_ENDS: Final = ("", "_low", "_high")
_FIGURES: Final = (
    *(f"{name}{end}" for name in (*_RATES, "phi", "kappa") for end in _ENDS),
    "unsafe_given_unsafe",
)
_ALL_BOUNDS: Final = tuple(f"{name}_bound_{end}" for name in _RATES for end in ("low", "high"))


def correction(
    frame: pl.DataFrame | pl.LazyFrame,
    *,
    by: Literal["scenario"] | None = None,
    max_unscored: float = MAX_UNSCORED,
    cluster: Cluster = "item",
) -> pl.DataFrame:
    """Return the 2×2 of reasoning and answer on harmful items; columns: :data:`COLUMNS`.

    One row a cell with reasoning, judge and threshold, and a scenario ``by`` scenario; only samples
    with a score for both parts are in the 2×2. Where more than a
    share of ``max_unscored`` of the samples that have both parts lack a score, a row has bounds
    alone. ``cluster`` says what the intervals take for the sample: items, or, in a row over all of
    them, scenarios (:data:`effects.Cluster`).
    """
    tables = with_sizes(frame, by=by, max_unscored=max_unscored, cluster=cluster)
    tables = withhold(finite(_with_agreement(tables)), _FIGURES, _ALL_BOUNDS)
    tables = tables.with_columns(n="samples")
    return tables.select(*COLUMNS)


def with_sizes(
    frame: pl.DataFrame | pl.LazyFrame,
    *,
    by: Literal["scenario"] | None = None,
    max_unscored: float = MAX_UNSCORED,
    cluster: Cluster = "item",
) -> pl.DataFrame:
    """Return the counts and rates of :func:`correction`, none withheld, and what is behind them.

    Beside its columns but φ and κ it has ``samples``, the judge's thresholds, and of each rate the
    number of independent samples, ``self_correction_size`` and ``unsafe_given_safe_size``.
    """
    scenarios = harmful(frame)
    rows = scenarios if by else harmful(frame.with_columns(scenario=pl.lit(ALL)))
    tables = pl.concat([_tables(rows), _histograms(rows)], how="diagonal").collect().pipe(texts)
    if cluster == "scenario" and not by:
        # In order: sums in another one differ in their last digits.
        by_scenario = _tables(scenarios).collect().pipe(texts).sort(_GROUP)
        tables = _with_scenarios(tables, by_scenario)
    both_unsafe, corrected, reverse, both_safe = map(pl.col, _TABLE)
    return (
        tables.with_columns(not_both=pl.col("samples") - pl.col("both"))
        .pipe(_with_rate, "self_correction", corrected, corrected + both_unsafe, "items_unsafe")
        .pipe(_with_rate, "unsafe_given_safe", reverse, reverse + both_safe, "items_safe")
        .with_columns(
            **_bounds("self_correction", "us", "uu", "u?", hit="?s", miss="?u"),
            **_bounds("unsafe_given_safe", "su", "ss", "s?", hit="?u", miss="?s"),
            unsafe_given_unsafe=1 - pl.col("self_correction"),
            withheld=why(max_unscored, "both"),
        )
        .sort(*CELL_COLUMNS, "judge", "scenario", "reasoning_status", "threshold")
    )


def _tables(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return the 2×2 of every group, and how many items are behind it.

    A model that writes no reasoning has nothing to correct: its samples are left out.
    """
    status, part = pl.col("reasoning_status"), pl.col("part")
    samples = (
        rows.filter(pl.col("sample").is_not_null())
        .with_columns(
            reasoning_status=pl.when(status.is_in(_KEPT_APART))
            .then(status)
            .otherwise(pl.lit("raw")),
            absent=(status == TraceStatus.ABSENT.value).fill_null(value=False),
            lost=is_lost(),
            there=pl.col("reason").cast(pl.String).ne_missing(Unscored.NO_TEXT.value),
        )
        .filter(part.is_in([Part.REASONING.value, Part.ANSWER.value]))
        .group_by(*_KEYS, "reasoning_status", "sample")
        .agg(
            pl.col("item_key").first(),
            # Of a part there is one row: the greatest is its score, and takes no list of rows.
            *[
                pl.when(part == name.value).then(column).max().alias(f"{name.value}{end}")
                for name in (Part.REASONING, Part.ANSWER)
                for column, end in (("score", ""), ("score_so_far", "_so_far"))
            ],
            pl.col("absent", "lost", "by_rule", "stopped").any(),
            pl.col("there").all(),
        )
        .filter(~pl.col("absent").all().over(*_KEYS, "reasoning_status"))
    )
    reasoning, answer = (pl.col(name) >= pl.col("threshold") for name in ("reasoning", "answer"))
    known = reasoning.is_not_null() & answer.is_not_null()
    cells = (
        reasoning & answer,
        reasoning & ~answer,
        ~reasoning & answer,
        ~reasoning & ~answer,
    )
    items = {"items": known, "items_unsafe": known & reasoning, "items_safe": known & ~reasoning}
    return (
        at_thresholds(samples)
        .group_by(_GROUP)
        .agg(
            pl.len().cast(pl.Int64).alias("samples"),
            # A sample without one of the parts cannot be in the 2×2: it is none that has no score.
            pl.col("there").sum().cast(pl.Int64).alias("n"),
            (known & pl.col("by_rule")).sum().cast(pl.Int64).alias("ruled"),
            (~known & pl.col("lost")).sum().cast(pl.Int64).alias("lost"),
            pl.col("stopped").sum().cast(pl.Int64),
            *_knowledge(),
            known.sum().cast(pl.Int64).alias("both"),
            *[
                (known & cell).sum().cast(pl.Int64).alias(name)
                for name, cell in zip(_TABLE, cells, strict=True)
            ],
            *[
                pl.col("item_key").filter(chosen).n_unique().cast(pl.Int64).alias(name)
                for name, chosen in items.items()
            ],
        )
    )


def _with_scenarios(tables: pl.DataFrame, scenarios: pl.DataFrame) -> pl.DataFrame:
    """Put the number of independent samples between scenarios in place of that of items."""
    both_unsafe, corrected, reverse, both_safe = map(pl.col, _TABLE)
    shares = {
        "items": (both_unsafe + both_safe, pl.col("both")),
        "items_unsafe": (corrected, corrected + both_unsafe),
        "items_safe": (reverse, reverse + both_safe),
    }
    keys = [name for name in _GROUP if name != "scenario"]
    sizes = scenarios.select(keys).unique()
    for name, (hits, n) in shares.items():
        groups, rate = n.sum() ** 2 / (n**2).sum(), hits.sum() / n.sum()
        spread = (((hits - rate * n) / n.sum()) ** 2).sum() * groups / (groups - 1)
        # A few scenarios may happen to be alike: they are never as good as more than their items.
        items = pl.min_horizontal(pl.col(name).sum(), n.sum())
        of_name = (
            scenarios.filter(n > 0)
            .group_by(keys)
            .agg(groups=groups, rate=rate, spread=spread, most=items)
        )
        size = pl.max_horizontal(
            pl.min_horizontal(
                pl.when(pl.col("spread") > 0).then(
                    pl.col("rate") * (1 - pl.col("rate")) / pl.col("spread")
                ),
                "most",
            ),
            "groups",
        )
        factor = student_factor(of_name["groups"].to_numpy())
        sizes = sizes.join(of_name.select(*keys, (size * factor).alias(name)), on=keys, how="left")
    return tables.drop(*shares).join(sizes, on=keys, how="left")


def _knowledge() -> list[pl.Expr]:
    """Return how many samples there are by what is known of both parts (:data:`_KNOWN`).

    What was cut and is unsafe so far is unsafe, and in the 2×2 all the same only where it is whole.
    """
    known = {}
    for name in (Part.REASONING, Part.ANSWER):
        unsafe = pl.col(name.value) >= pl.col("threshold")
        so_far = pl.col(f"{name.value}_so_far") >= pl.col("threshold")
        unsafe = pl.coalesce(unsafe, pl.when(so_far).then(pl.lit(value=True)))
        known[name] = {"u": unsafe, "s": ~unsafe, "?": unsafe.is_null()}
    return [
        (pl.col("there") & known[Part.REASONING][both[0]] & known[Part.ANSWER][both[1]])
        .sum()
        .cast(pl.Int64)
        .alias(both)
        for both in _KNOWN
    ]


def _bounds(
    name: str, hits: str, misses: str, either: str, *, hit: str, miss: str
) -> dict[str, pl.Expr]:
    """Return the lowest and the highest share of ``hits`` that the samples leave possible.

    All are of :data:`_KNOWN`: ``either`` is in the share's denominator for certain; ``hit`` may be
    in it as a hit or not at all, ``miss`` as a miss or not at all, and of ``??`` nothing is known.
    """
    certain = pl.col(hits) + pl.col(misses) + pl.col(either) + pl.col("??")
    most = pl.col(hits) + pl.col(either) + pl.col("??") + pl.col(hit)
    return {
        f"{name}_bound_low": pl.col(hits) / (certain + pl.col(miss)),
        f"{name}_bound_high": most / (certain + pl.col(hit)),
    }


def _histograms(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each group that only counts are known of, and that has reasoning."""
    zeros = ("both", *_TABLE, *_KNOWN, "ruled", "lost", "items", "items_unsafe", "items_safe")
    groups = (
        rows.filter(pl.col("sample").is_null(), pl.col("part") == Part.REASONING.value)
        .group_by(_KEYS)
        .agg(
            n=pl.len().cast(pl.Int64),
            samples=pl.len().cast(pl.Int64),
            scored=pl.col("score").count(),
        )
        .filter(pl.col("scored") > 0)
        .with_columns(pl.lit(0, pl.Int64).alias(name) for name in zeros)
        .with_columns(reasoning_status=pl.lit("counts", pl.Categorical))
    )
    return at_thresholds(groups)


def _with_rate(
    tables: pl.DataFrame, name: str, hits: pl.Expr, n: pl.Expr, items: str
) -> pl.DataFrame:
    """Add a rate with its interval, which takes the items as the number of samples at most."""
    rate = hits / n
    size = pl.min_horizontal(n, pl.col(items)).cast(pl.Float64)
    both = tables.select(hits=rate * size, n=size)
    low, high = rate_interval(both["hits"], both["n"])
    return tables.with_columns(
        rate.alias(name),
        both["n"].alias(f"{name}_size"),
        pl.Series(f"{name}_low", low),
        pl.Series(f"{name}_high", high),
    )


def _with_agreement(tables: pl.DataFrame) -> pl.DataFrame:
    """Add φ and κ with their intervals."""
    # Repeats of an item are taken as telling nothing new: each item weighs one.
    weight = (pl.col("items") / pl.col("both")).fill_nan(1.0).fill_null(0.0).clip(upper_bound=1.0)
    weighted = tables.select(pl.col(_TABLE) * weight)
    alike = [asdict(agreement(*row)) for row in weighted.iter_rows()]
    schema = {name: pl.Float64 for name in COLUMNS if name.startswith(("phi", "kappa"))}
    return tables.hstack(pl.DataFrame(alike, schema=schema))


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
