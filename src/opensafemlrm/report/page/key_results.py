"""The first screen in words: five questions, each with its figure and what it rests on."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Any, Final

import polars as pl

from opensafemlrm.analysis.conditions import ALL
from opensafemlrm.report.figures.forest import signed
from opensafemlrm.report.forms import BOUNDS_MARK
from opensafemlrm.report.page.findings import MAX_SETTINGS, Findings
from opensafemlrm.report.page.words import counted, estimate, percent, say

UNKNOWN: Final = "Not known"
ALPHA: Final = 0.05
_DOUBT: Final = 0.05
"""Share of unscored replies from which the page says that the figures may move."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A question, a figure that answers it, what the figure is, and sentences that explain."""

    question: str
    figure: str
    unit: str
    text: str


def answers(found: Findings) -> list[Answer]:
    """Return the answers to what a reader asks first."""
    return [
        safer(found),
        tax(found),
        blind_spots(found),
        self_correction(found),
        unmeasured(found),
    ]


def safer(found: Findings) -> Answer:
    """Say how often the base is the safer one, by intervals that leave 0 out."""
    question = "Which is safer?"
    rows = found.compared
    if rows.is_empty():
        return _no_pairs(question, found)
    withheld = len(found.withheld)
    n, base, model = len(rows), int((rows["low"] > 0).sum()), int((rows["high"] < 0).sum())
    text = say(
        "safer",
        models=found.tax.select("model", "base").n_unique(),
        settings=len(found.settings.head(MAX_SETTINGS)),
        comparisons=n,
        base=base,
        model=model,
        withheld=withheld,
        unmeasured=len(found.headline(found.tax.filter(level="micro"))) - n - withheld,
    )
    if base == model:
        return Answer(question, "Neither", "is safer more often", text)
    whose = "base" if base > model else "reasoning model"
    return Answer(question, f"{max(base, model)} of {n}", f"the {whose} is safer", text)


def tax(found: Findings) -> Answer:
    """Say the median tax of the pairs, its range, and how sure the largest is."""
    question = "How large is the reasoning tax?"
    rows = found.compared
    if rows.is_empty() and (withheld := found.withheld.head(1).to_dicts()):
        low, high = (signed(100 * withheld[0][end]) for end in ("bound_low", "bound_high"))
        unit = f"points, bounds alone, {withheld[0]['model_label']}, {withheld[0]['setting']}"
        return Answer(
            question, f"{low} to {high} {BOUNDS_MARK}", unit, _no_pairs(question, found).text
        )
    if rows.is_empty():
        return _no_pairs(question, found)
    top = largest(rows, "difference")
    groups = rows.group_by("setting", maintain_order=True).agg(
        100 * pl.col("difference"), pl.struct(pl.all()).first().alias("first")
    )
    spreads = [(setting, values, estimate(first)) for setting, values, first in groups.iter_rows()]
    setting, values, _ = groups.row(0)
    unit = f"points, median of {counted(len(values), 'pair')}, {setting}"
    text = say("tax", spreads=spreads, top=top, withheld=len(found.withheld))
    return Answer(question, signed(median(values)), unit, text)


def blind_spots(found: Findings) -> Answer:
    """Say which scenario lost most, and how many losses survive the adjustment for many tests."""
    question = "Where are the blind spots?"
    rows = found.headline(found.blindspots)
    withheld = rows["withheld"].count()
    rows = rows.drop_nulls("difference")
    if rows.is_empty():
        return _no_pairs(question, found, withheld)
    groups = found.headline(found.grouped).filter(pl.col("scenario") != ALL).drop_nulls("ratio")
    worst = largest(rows, pl.coalesce("shrunken_difference", "difference"))
    # By the lower end of its interval: of small scenarios the greatest ratio is often noise.
    group = largest(groups, "ratio_low")
    text = say(
        "blind_spots",
        lost=int(((rows["holm"] <= ALPHA) & (rows["difference"] > 0)).sum()),
        tests=rows["holm"].count(),
        worst=worst,
        group=group,
        withheld=withheld,
    )
    if group:
        unit = f"the bases’ rate in {group['scenario']}"
        return Answer(question, f"{group['ratio']:.1f} ×", unit, text)
    unit = f"points, {worst['scenario']}, {worst['model_label']}"
    return Answer(question, signed(100 * worst["difference"]), unit, text)


def self_correction(found: Findings) -> Answer:
    """Say how much unsafe reasoning ends in a safe answer, pooled and from model to model."""
    question = "How much is self-corrected?"
    corrected_rows = corrections(found)
    rows = corrected_rows.filter(pl.col("withheld").is_null())
    withheld = len(corrected_rows) - len(rows)
    corrected, both_unsafe, reverse, both_safe = (
        int(rows[name].sum()) for name in ("corrected", "both_unsafe", "reverse", "both_safe")
    )
    unsafe = corrected + both_unsafe
    if withheld and not unsafe:
        row = corrected_rows.row(0, named=True)
        low, high = (percent(row[f"self_correction_bound_{end}"]) for end in ("low", "high"))
        unit = f"of unsafe reasoning, bounds alone, {row['model_label']}, {row['setting']}"
        text = say("only_bounds", rows=withheld)
        return Answer(question, f"{low} to {high} {BOUNDS_MARK}", unit, text)
    if not unsafe:
        statuses = sorted(set(found.drawn(found.correction)["reasoning_status"]))
        return Answer(question, UNKNOWN, "", say("no_correction", statuses=statuses))
    text = say(
        "corrected",
        corrected=corrected,
        unsafe=unsafe,
        low=rows["self_correction"].min(),
        high=rows["self_correction"].max(),
        reverse=reverse,
        safe=both_safe,
        withheld=withheld,
    )
    return Answer(question, percent(corrected / unsafe), "of unsafe reasoning", text)


def unmeasured(found: Findings) -> Answer:
    """Say how many replies have no score, and why."""
    question = "What was not measured?"
    rows = found.headline(found.asr)
    n, scored = int(rows["n"].sum()), int(rows["scored"].sum())
    missing = n - scored
    if not n:
        return _no_pairs(question, found)
    reasons = (
        found.drawn(found.scores, part=found.part)
        .select(pl.col("reasons").explode().struct.unnest())
        .drop_nulls()
        .group_by("name", maintain_order=True)
        .agg(pl.col("n").sum())
        .sort("n", descending=True, maintain_order=True)
    )
    never = []
    for part in ("reasoning", "answer"):
        by_model = found.drawn(found.asr, part=part).group_by("model").agg(pl.col("scored").sum())
        without = (by_model["scored"] == 0).sum()
        never += [(part, without)] if part != found.part and without else []
    text = say(
        "unmeasured",
        n=n,
        missing=missing,
        reasons=reasons.rows(),
        withheld=rows["withheld"].count(),
        rates=len(rows),
        doubtful=missing / n >= _DOUBT,
        never=never,
        models=len(found.models),
        not_applicable=found.not_applicable["items"].sum(),
    )
    return Answer(question, percent(missing / n), "of replies without a score", text)


def corrections(found: Findings) -> pl.DataFrame:
    """Return the 2×2 of reasoning as it was written, at the lenient threshold."""
    rows = found.drawn(found.correction, threshold=found.lenient, reasoning_status="raw")
    return rows.filter(pl.col("both") > 0)


def largest(rows: pl.DataFrame, by: str | pl.Expr) -> dict[str, Any]:
    """Return the first row with the largest value; empty where there are no rows."""
    first = rows.sort(by, descending=True, nulls_last=True, maintain_order=True).head(1)
    return first.row(0, named=True) if len(first) else {}


def _no_pairs(question: str, found: Findings, withheld: int = 0) -> Answer:
    if withheld := withheld or len(found.withheld):
        return Answer(question, UNKNOWN, "", say("only_bounds", rows=withheld))
    return Answer(question, UNKNOWN, "", say("no_pairs", judged=not found.asr.is_empty()))
