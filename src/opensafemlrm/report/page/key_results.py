"""The first screen in words: five questions, each with its figure and what it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Final

import numpy as np
import polars as pl

from opensafemlrm.analysis.conditions import ALL
from opensafemlrm.analysis.significance import holm
from opensafemlrm.analysis.withheld import BY_RULE, STOPPED, UNSCORED
from opensafemlrm.report.charts import ALPHA, PARTS
from opensafemlrm.report.forms import BOUNDS_MARK, signed
from opensafemlrm.report.page.findings import MAX_SETTINGS, Findings
from opensafemlrm.report.page.words import estimate, percent, say
from opensafemlrm.text import counted, plural
from opensafemlrm.types import Part

UNKNOWN: Final = "Not known"
_NAMED: Final = 6
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
    part = found.rows.part
    first = safer(found)
    others = [
        tax(found),
        blind_spots(found),
        # One is of two parts, the other of no reasoning alone.
        *([self_correction(found)] if part is None else []),
        *([over_refusal(found)] if part != Part.REASONING else []),
        unmeasured(found),
    ]
    return [first, *(replace(answer, text=unless_above(answer, found)) for answer in others)]


def unless_above(answer: Answer, findings: Findings) -> str:
    """Return the text of an answer; where it is the first one's reason, where that stands."""
    first = safer(findings)
    if answer.figure == first.figure == UNKNOWN and answer.text == first.text:
        return say("answered_above", question=first.question)
    return answer.text


def safer(found: Findings) -> Answer:
    """Say how often the base is the safer one: adjusted over the page, whatever has no score."""
    question = "Which is safer?"
    if found.compared.is_empty():
        return _no_pairs(question, found)
    rows = found.compared_parts.with_columns(
        adjusted=pl.Series(holm(found.compared_parts["bound_p_value"].fill_null(np.nan)))
    )
    sure = pl.col("adjusted") <= ALPHA
    counts = rows.group_by("part", maintain_order=True).agg(
        base=(sure & (pl.col("difference") > 0)).sum(),
        model=(sure & (pl.col("difference") < 0)).sum(),
        n=pl.len(),
    )
    withheld = len(found.withheld)
    text = say(
        "safer",
        models=found.tax.select("model", "base").n_unique(),
        settings=len(found.settings.head(MAX_SETTINGS)),
        parts=[(PARTS[part], base, model, n) for part, base, model, n in counts.iter_rows()],
        withheld=withheld,
        unmeasured=len(found.headline(found.averages)) - len(found.compared) - withheld,
    )
    base, model = counts["base"].sum(), counts["model"].sum()
    if not base and not model:
        n = counts["n"][0]
        return Answer(question, "Not decided", f"in any of {n:,} comparisons" * (n > 1), text)
    if base == model:
        return Answer(question, "Neither", "is safer more often", text)
    whose = "base" if base > model else "reasoning model"
    column = "base" if base > model else "model"
    first, *rest = (f"{row[column]} of {row['n']}" for row in counts.iter_rows(named=True))
    unit = plural(counts["n"][0], "comparison")
    return Answer(
        question, first, f"{unit}: the {whose} is safer{_by_parts(counts['part'], rest)}", text
    )


def tax(found: Findings) -> Answer:
    """Say the median tax of the pairs in each part, its range, and how sure the largest is."""
    question = "How large is the reasoning tax?"
    rows = found.compared_parts
    bounded = found.withheld.drop_nulls("bound_low")
    if found.compared.is_empty() and (withheld := bounded.head(1).to_dicts()):
        low, high = (signed(100 * withheld[0][end]) for end in ("bound_low", "bound_high"))
        unit = f"points, bounds alone, {withheld[0]['model_label']}, {withheld[0]['setting']}"
        return Answer(
            question, f"{low} to {high} {BOUNDS_MARK}", unit, _no_pairs(question, found).text
        )
    if found.compared.is_empty():
        return _no_pairs(question, found)
    top = largest(found.compared, "difference")
    groups = rows.group_by("setting", "part", maintain_order=True).agg(
        points=100 * pl.col("difference"), first=pl.struct(pl.all()).first()
    )
    spreads = [
        (setting, PARTS[part], values, estimate(first))
        for setting, part, values, first in groups.iter_rows()
    ]
    first = groups.filter(pl.col("setting") == groups["setting"][0])
    medians = [signed(median(values)) for values in first["points"]]
    pairs = counted(len(first["points"][0]), "pair")
    median_of = f", median of {pairs}" if len(first["points"][0]) > 1 else ""
    unit = f"points{median_of}, {first['setting'][0]}{_by_parts(first['part'], medians[1:])}"
    text = say(
        "tax",
        spreads=spreads,
        top=top,
        withheld=len(found.withheld),
        several=len(found.compared) > 1,
    )
    return Answer(question, medians[0], unit, text)


def blind_spots(found: Findings) -> Answer:
    """Say where the loss stands out among all comparisons of the page, or that none does."""
    question = "Where are the blind spots?"
    rows = found.of_parts(found.blindspots)
    withheld = rows.filter(part=found.part)["withheld"].count()
    rows = rows.drop_nulls("difference")
    if rows.filter(part=found.part).is_empty():
        return _no_pairs(question, found, withheld)
    adjusted = pl.Series(holm(rows["bound_p_value"].fill_null(np.nan)))
    lost = rows.filter((adjusted <= ALPHA) & (rows["difference"] > 0))
    groups = found.of_parts(found.grouped).filter(pl.col("scenario") != ALL)
    sure = groups.filter(part=found.part).filter(pl.col("simultaneous_ratio_low") > 1)
    # By the lower end that holds for all of them: of small scenarios the greatest ratio is noise.
    group = largest(sure, "simultaneous_ratio_low")
    alike = {name: group[name] for name in ("scenario", "setting")} if group else {}
    text = say(
        "blind_spots",
        lost=[
            (PARTS[part], lost.filter(part=part).height)
            for part in rows["part"].unique(maintain_order=True)
        ],
        tests=rows["p_value"].count(),
        compared=groups["simultaneous_low"].count(),
        group=group,
        answer=largest(groups.filter(part=Part.ANSWER.value, **alike), "ratio_low")
        if group and found.part != Part.ANSWER.value
        else {},
        withheld=withheld,
    )
    if not group:
        return Answer(question, "None stands out", "", text)
    low, ratio = group["simultaneous_ratio_low"], group["ratio"]
    figure = f"≥ {low:.1f} ×" if ratio is None else f"{ratio:.1f} ×"
    return Answer(question, figure, f"the bases’ rate in {group['scenario']}", text)


def self_correction(found: Findings) -> Answer:
    """Say how much unsafe reasoning ends in a safe answer, model by model, and how much of that the
    judge's errors would show alone.
    """
    question = "How much is self-corrected?"
    every = corrections(found)
    rows = every.filter(pl.col("withheld").is_null()).drop_nulls("self_correction")
    withheld = every["withheld"].count()
    bounded = every.drop_nulls(["withheld", "self_correction_bound_low"])
    if rows.is_empty() and withheld and bounded.is_empty():
        return Answer(question, UNKNOWN, "", say("only_bounds", rows=withheld))
    if rows.is_empty() and withheld:
        row = bounded.row(0, named=True)
        low, high = (percent(row[f"self_correction_bound_{end}"]) for end in ("low", "high"))
        unit = f"of unsafe reasoning, bounds alone, {row['model_label']}, {row['setting']}"
        text = say("only_bounds", rows=withheld)
        return Answer(question, f"{low} to {high} {BOUNDS_MARK}", unit, text)
    if rows.is_empty():
        statuses = sorted(set(found.drawn(found.correction)["reasoning_status"]))
        return Answer(
            question, UNKNOWN, "", say("no_correction", statuses=statuses, where=found.place)
        )
    first = rows.filter(setting=rows["setting"][0])
    rest = rows.filter(pl.col("setting") != rows["setting"][0])
    floors = rows["noise_floor"].drop_nulls()
    text = say(
        "corrected",
        setting=first["setting"][0],
        rows=first.head(_NAMED).to_dicts(),
        more=max(len(first) - _NAMED, 0),
        rest=[rest["self_correction"].min(), rest["self_correction"].max()] if len(rest) else [],
        floors=[floors.min(), floors.max()] if len(floors) else [],
        withheld=withheld,
    )
    figure = _range(first["self_correction"])
    unit = f"of unsafe reasoning, {counted(len(first), 'model')}, {first['setting'][0]}"
    return Answer(question, figure, unit, text)


def over_refusal(found: Findings) -> Answer:
    """Say how many harmless requests are refused, model by model."""
    question = "How much harmless is refused?"
    every = refusals(found)
    rows = every.drop_nulls("rate")
    withheld = every["withheld"].count()
    if rows.is_empty():
        text = (
            say("only_bounds", rows=withheld)
            if withheld
            else say("no_refusals", n=every["n"].sum(), where=found.place)
        )
        return Answer(question, UNKNOWN, "", text)
    first = rows.filter(setting=rows["setting"][0])
    rest = rows.filter(pl.col("setting") != rows["setting"][0])
    text = say(
        "refused",
        setting=first["setting"][0],
        rows=first.head(_NAMED).to_dicts(),
        more=max(len(first) - _NAMED, 0),
        rest=[rest["rate"].min(), rest["rate"].max()] if len(rest) else [],
        withheld=withheld,
    )
    unit = f"of harmless requests, {counted(len(first), 'model')}, {first['setting'][0]}"
    return Answer(question, _range(first["rate"]), unit, text)


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
        withheld=rows["withheld"].is_in([BY_RULE, UNSCORED]).sum(),
        stopped=(rows["withheld"] == STOPPED).sum(),
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


def refusals(found: Findings) -> pl.DataFrame:
    """Return the rates of refused harmless requests that are drawn, by the part judges know best.

    That is the answer: few judges say of a whole reply with reasoning whether it refuses.
    """
    rows = found.drawn(found.overrefusal).filter(pl.col("n") > 0)
    parts = (Part.ANSWER.value, Part.FULL.value)
    return rows.filter(part=max(parts, key=lambda part: rows.filter(part=part)["known"].sum()))


def largest(rows: pl.DataFrame, by: str | pl.Expr) -> dict[str, Any]:
    """Return the first row with the largest value; empty where there are no rows."""
    first = rows.sort(by, descending=True, nulls_last=True, maintain_order=True).head(1)
    return first.row(0, named=True) if len(first) else {}


def _range(rates: pl.Series) -> str:
    """Return rates in per cent: one alone, or from the lowest to the highest."""
    low, high = (percent(end) for end in (min(rates), max(rates)))
    return high if low == high else f"{low.removesuffix(' %')}–{high}"


def _by_parts(parts: pl.Series, more: Sequence[str]) -> str:
    """Say which part a figure is of, and the figures of the other parts; of one part, nothing."""
    names = [PARTS[part] for part in parts]
    if not more:
        return ""
    others = (f"; {figure} by the {name}" for name, figure in zip(names[1:], more, strict=True))
    return f", by the {names[0]}{''.join(others)}"


def _no_pairs(question: str, found: Findings, withheld: int = 0) -> Answer:
    if withheld := withheld or len(found.withheld):
        return Answer(question, UNKNOWN, "", say("only_bounds", rows=withheld))
    return Answer(question, UNKNOWN, "", no_pairs(found))


def no_pairs(findings: Findings) -> str:
    """Say that nothing is compared: that the store lacks it, only where all of it is looked at."""
    return say(
        "no_pairs",
        judged=not findings.asr.is_empty(),
        where=findings.place,
        named=not findings.results.pairs().is_empty(),
        of_reasoning=findings.rows.part == Part.REASONING,
        chosen=bool(findings.selection or findings.rows.words()),
    )
