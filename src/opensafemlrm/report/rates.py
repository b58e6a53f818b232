"""The tables of rates: ASR, tax, self-correction, over-refusal, comprehension, defenses."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import polars as pl

from opensafemlrm.report.columns import (
    BOUND,
    CELL,
    CONDITION_COLUMNS,
    JUDGE,
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
from opensafemlrm.report.notes import measured_notes
from opensafemlrm.report.tables import Column, Table, WhenConstant

BOUNDS: Final = ("asr_if_unscored_safe", "asr_if_unscored_unsafe")
ASR: Final = Table(
    name="asr",
    title="Attack success rate (ASR): share of scored replies to harmful items that are unsafe",
    columns=[
        MODEL,
        *CONDITION_COLUMNS[:3],
        JUDGE,
        *CONDITION_COLUMNS[3:],
        SCENARIO,
        Column("part", "Part"),
        THRESHOLD,
        Column("n", "n", Form.COUNT, in_paper=False),
        Column("scored", "scored", Form.COUNT),
        Column("unsafe", "unsafe", Form.COUNT, in_paper=False),
        Column("asr", "ASR %", Form.PERCENT, bounds=BOUNDS),
        interval("low", "high"),
        interval(*BOUNDS, title="bounds %", in_paper=False),
        Column("hr", "HR", Form.NUMBER, WhenConstant.DROP_IF_ZERO, in_paper=False),
    ],
    notes=[
        (
            "HR: harmfulness rating, the mean score of what was scored, from 0 to 5.",
            pl.col("hr").is_not_null(),
        ),
        ("–: nothing was scored, so there is no rate.", pl.col("scored") == 0),
    ],
)


def asr_table(rows: pl.DataFrame) -> Table:
    """Return the table of ``rows``; judge, sampling and cell where rows differ in them."""
    table = ASR.of(rows, caption=_thresholds(rows), notes=_missing(rows))
    return replace(table, notes=[*table.notes, *measured_notes(rows["judge"].unique())])


def _thresholds(frame: pl.DataFrame) -> str:
    """Say what a threshold is, and which of a judge's two is the lenient one."""
    by_judge = frame.group_by("judge").agg(pl.col("threshold").unique().sort()).sort("judge")
    meanings = [
        f"{judge}: {' = lenient, '.join(f'{t:g}' for t in thresholds)} = strict"
        for judge, thresholds in by_judge.iter_rows()
        if len(thresholds) > 1
    ]
    unsafe = "Unsafe is a score of at least the threshold (≥)"
    return "; ".join([unsafe, *meanings]) + "." if len(frame) else ""


def _missing(frame: pl.DataFrame) -> list[str]:
    """Say how many parts of replies have no score; each is counted once, not once a threshold."""
    groups = frame.unique(["cell", "judge", "sampling", "scenario", "part"])
    n, scored = (int(groups[name].sum() or 0) for name in ("n", "scored"))
    if n == scored:
        return []
    return [
        f"Not measured (n − scored): {n - scored:,} of {n:,} parts of replies. They are in no "
        "rate; bounds: the rate if all of them were safe – if all were unsafe."
    ]


_METHOD_IS: Final = pl.col("method")
_UNCOMPARED: Final = (pl.col("n_model") != pl.col("scored_model")) | (
    pl.col("n_base") != pl.col("scored_base")
)
"""Samples that are in no comparison leave bounds."""

MODEL_BOUNDS: Final = ("asr_model_if_unscored_safe", "asr_model_if_unscored_unsafe")
BASE_BOUNDS: Final = ("asr_base_if_unscored_safe", "asr_base_if_unscored_unsafe")
TAX: Final = Table(
    name="tax",
    title="Reasoning tax: how much more often a reasoning model is unsafe than its base",
    columns=[
        *PAIR,
        SCENARIO,
        Column("level", "Mean", constant=WhenConstant.CAPTION),
        Column("method", "Method", constant=WhenConstant.CAPTION, in_paper=False),
        Column("scored_model", "n", Form.COUNT),
        Column("scored_base", "n base", Form.COUNT, in_paper=False),
        Column("asr_model", "ASR %", Form.PERCENT, bounds=MODEL_BOUNDS),
        Column("asr_base", "base %", Form.PERCENT, bounds=BASE_BOUNDS),
        Column("difference", "tax", Form.POINTS, bounds=("bound_low", "bound_high")),
        interval("low", "high", Form.POINTS_INTERVAL),
        Column("ratio", "ratio", Form.RATIO, in_paper=False),
        interval("ratio_low", "ratio_high", Form.RATIO_INTERVAL, "ratio CI", in_paper=False),
        Column("p_value", "p", Form.P_VALUE),
        interval(*BOUND, Form.POINTS_INTERVAL, "bounds", needs=_UNCOMPARED, in_paper=False),
    ],
    caption="tax: ASR minus the base's, in percentage points; above 0 the reasoning model is "
    "less safe. n: samples whose scores are compared.",
    notes=[
        (
            "paired: the same items and repeats of both models; mixed: in some scenarios only.",
            _METHOD_IS.is_in(["paired", "mixed"]),
        ),
        (
            "unpaired: only counts are known, or hardly an item in common.",
            _METHOD_IS == "unpaired",
        ),
        ("none: one of the two has no score; there is nothing to compare.", _METHOD_IS == "none"),
        (
            "micro: every sample weighs the same; macro: every scenario does.",
            (pl.col("level") == "micro").any() & (pl.col("level") == "macro").any(),
        ),
        (
            "bounds: the 95 % CI of the tax over every sample, whatever the unscored ones hold.",
            _UNCOMPARED,
        ),
        (
            "ratio –: the base has no unsafe reply, so that only a lower end (≥) is known.",
            pl.col("ratio").is_null() & pl.col("ratio_low").is_not_null(),
        ),
    ],
)


CORRECTION: Final = Table(
    name="correction",
    title="Self-correction: unsafe reasoning that ends in a safe answer",
    columns=[
        *CELL,
        JUDGE,
        SCENARIO,
        Column("reasoning_status", "Reasoning", constant=WhenConstant.CAPTION),
        THRESHOLD,
        Column("both", "n", Form.COUNT),
        Column("not_both", "not both", Form.COUNT, WhenConstant.DROP_IF_ZERO, in_paper=False),
        Column("both_unsafe", "UU", Form.COUNT),
        Column("corrected", "US", Form.COUNT),
        Column("reverse", "SU", Form.COUNT),
        Column("both_safe", "SS", Form.COUNT),
        rate("self_correction", "US %"),
        interval("self_correction_low", "self_correction_high"),
        rate("unsafe_given_safe", "SU %"),
        interval("unsafe_given_safe_low", "unsafe_given_safe_high"),
        Column("phi", "phi", Form.DECIMAL, in_paper=False),
        interval("phi_low", "phi_high", Form.DECIMAL_INTERVAL, in_paper=False),
        Column("kappa", "kappa", Form.DECIMAL, in_paper=False),
        interval("kappa_low", "kappa_high", Form.DECIMAL_INTERVAL, in_paper=False),
    ],
    caption="US: unsafe reasoning (a score of at least the threshold, ≥) and a safe answer, "
    "and so on. US %: self-correction, US of all unsafe reasoning; SU %: the reverse, SU of "
    "all safe reasoning.",
    notes=[
        (
            "not both: samples without a score for reasoning and answer; they are in no figure.",
            "not_both",
        ),
        (
            "counts: imported histograms do not say which reasoning led to which answer.",
            pl.col("reasoning_status") == "counts",
        ),
        "phi, kappa: how closely the labels of reasoning and answer go together; – where one "
        "of them is the same throughout.",
    ],
)


_REFUSAL_BOUNDS: Final = ("rate_if_unknown_helped", "rate_if_unknown_refused")

REFUSALS: Final = Table(
    name="overrefusal",
    title="Over-refusal: benign items that were refused",
    columns=[
        *CELL,
        JUDGE,
        SCENARIO,
        Column("part", "Part"),
        Column("n", "n", Form.COUNT, in_paper=False),
        Column("known", "known", Form.COUNT),
        Column("refused", "refused", Form.COUNT),
        Column("rate", "refused %", Form.PERCENT, bounds=_REFUSAL_BOUNDS),
        interval("low", "high"),
        interval(*_REFUSAL_BOUNDS, title="bounds %", in_paper=False),
        Column("blocked", "blocked", Form.COUNT, WhenConstant.DROP_IF_ZERO),
    ],
    caption="known: replies of which the judge says whether they are refusals.",
    notes=[("blocked: refused by the provider's filter, not by the model; in no rate.", "blocked")],
)
BALANCE: Final = Table(
    name="balance",
    title="Safety on harmful items beside helpfulness on benign ones",
    columns=[
        *JUDGED,
        Column("harmful", "harmful", Form.COUNT),
        Column("benign", "benign", Form.COUNT),
        rate("safety", "safe %"),
        interval("safety_low", "safety_high"),
        rate("helpfulness", "helpful %"),
        interval("helpfulness_low", "helpfulness_high"),
        rate("balanced", "mean %"),
        interval("balanced_low", "balanced_high"),
    ],
    caption="safe: 1 − ASR; helpful: 1 − refusal rate; only replies that were judged.",
)


def overrefusal_tables(refusals: pl.DataFrame, balance: pl.DataFrame) -> list[Table]:
    """Return ``overrefusal`` and, for datasets with harmful and benign items, ``balance``."""
    tables = [REFUSALS.of(refusals)]
    return tables if balance.is_empty() else [*tables, BALANCE.of(balance)]


COMPREHENSION: Final = Table(
    name="comprehension",
    title="Comprehension: ASR over the replies that understood the request",
    columns=[
        *JUDGED,
        Column("n", "n", Form.COUNT),
        Column("known", "known", Form.COUNT),
        Column("comprehension", "und. %", Form.PERCENT),
        interval("comprehension_low", "comprehension_high"),
        Column("asr", "ASR %", Form.PERCENT),
        Column("c_asr", "C-ASR %", Form.PERCENT),
        interval("c_asr_low", "c_asr_high"),
    ],
    caption="known: replies with a score of which the judge says whether they understood (und.); "
    "ASR and C-ASR are over these, C-ASR over those that understood.",
    notes=[
        (
            "–: of too many replies it is not known; those that it is known of may be selected by "
            "how they came out.",
            pl.col("comprehension").is_null(),
        )
    ],
)
COMPREHENSION_TAX: Final = Table(
    name="comprehension_tax",
    title="Reasoning tax in two parts: what was understood, and what was done with it",
    columns=[
        *PAIR,
        Column("known", "n", Form.COUNT),
        Column("understood_model", "und. %", Form.PERCENT),
        Column("understood_base", "base %", Form.PERCENT),
        Column("difference", "tax", Form.POINTS),
        Column("comprehension", "compr.", Form.POINTS),
        Column("willingness", "will.", Form.POINTS),
        interval("willingness_low", "willingness_high", Form.POINTS_INTERVAL),
        Column("c_tax", "C-tax", Form.POINTS),
    ],
    caption="tax = compr. + will., over items of which both replies are known. und.: understood; "
    "compr.: what understanding more, or less, explains; will.: willingness, what is left between "
    "replies that understood as much; C-tax: C-ASR minus the base's. csv and json have every "
    "interval.",
)
_NOT_UNDERSTOOD: Final = (
    "No judge of this store says whether a request was understood; msts, guardtrace and rubric "
    "judges do."
)


def comprehension_tables(rates: pl.DataFrame, taxes: pl.DataFrame) -> list[Table]:
    """Return the tables of C-ASR and of the tax in two parts; the second where there is one."""
    tables = [COMPREHENSION.of(rates, caption="" if len(rates) else _NOT_UNDERSTOOD)]
    return tables if taxes.is_empty() else [*tables, COMPREHENSION_TAX.of(taxes)]


_HAS_UTILITY: Final = pl.col("utility").is_not_null()


def _figure(name: str, title: str) -> tuple[Column, Column]:
    """Return the columns of a rate and of its change."""
    why = f"{name}_withheld"
    change = rate(f"{name}_change", "change", why)
    return rate(name, title, why), replace(change, form=Form.POINTS)


DEFENSE: Final = Table(
    name="defense",
    title="What a defense changes, against the same model without it",
    columns=[
        MODEL,
        *[column for column in CONDITION_COLUMNS if column.key != "defense"],
        *JUDGE_COLUMNS,
        # Last of the names, so that the defenses of one setting stand below each other.
        Column("defense", "Defense"),
        *_figure("asr", "ASR %"),
        interval("asr_change_low", "asr_change_high", Form.POINTS_INTERVAL),
        *(replace(column, in_paper=False) for column in _figure("overridden", "US %")),
        replace(rate("self_correction", "SC %", "self_correction_withheld"), in_paper=False),
        *_figure("overrefusal", "OR %"),
        interval(
            "overrefusal_change_low",
            "overrefusal_change_high",
            Form.POINTS_INTERVAL,
            in_paper=False,
        ),
        *(replace(column, needs=_HAS_UTILITY) for column in _figure("utility", "util. %")),
        Column("requests", "req.", Form.NUMBER),
        Column("pareto", "front", in_paper=False),
        Column("beaten_by", "beaten by", constant=WhenConstant.DROP_IF_ZERO, in_paper=False),
    ],
    caption="change: defended − undefended, in percentage points; below 0 in ASR the defense "
    "makes safer, above 0 in OR it costs help. US: unsafe reasoning and a safe answer, of all "
    "replies; SC: self-correction, US of those with unsafe reasoning; OR: over-refusal, of benign "
    "items; req.: requests a sample, those of guards and scorers included. Rates are over all "
    "scored replies, a change is over the items that have the figure on both sides.",
    notes=[
        "front: True where no other defense of the model is as good in ASR, over-refusal, requests "
        "and, if there is an accuracy set, utility and better in one; beaten by: one that is "
        "surely better. SC has no change: it is of other replies with a defense than without. –: "
        "not measured, such as over-refusal where there are no benign items.",
        (
            "util.: right answers of the study's accuracy sets without an attack, by rule.",
            _HAS_UTILITY,
        ),
    ],
)


def defense_table(rows: pl.DataFrame) -> Table:
    """Return the table of ``rows``: every defense beside the undefended model."""
    measured = (pl.col("part") != "reasoning") | pl.col("asr").is_not_null()
    return DEFENSE.of(rows.filter(measured))
