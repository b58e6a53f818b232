"""The first screen in words: five questions, each with its figure and what it rests on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

import polars as pl

from opensafemlrm.report.figures.forest import signed
from opensafemlrm.report.page.findings import Findings
from opensafemlrm.report.page.settings import Setting

MISSING: Final = "–"
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
    return [safer(found), tax(found), blind_spots(found), corrected(found), unmeasured(found)]


def safer(found: Findings) -> Answer:
    """Say how often the base is the safer one, by intervals that leave 0 out."""
    question = "Which is safer?"
    rows = compared(found)
    if not rows:
        return Answer(question, UNKNOWN, "", _no_pairs(found))
    worse = [row for row in rows if row.low is not None and row.low > 0]
    better = [row for row in rows if row.high is not None and row.high < 0]
    undecided = len(rows) - len(worse) - len(better)
    where = "" if len(found.settings.drawn) == 1 else f" in {len(found.settings.drawn)} settings"
    text = (
        f"{_plural(len(found.pairs), 'reasoning model')} beside the base each came from{where}: "
        f"the base is safer in {len(worse)} of {_plural(len(rows), 'comparison')}, the reasoning "
        f"model in {len(better)}"
    )
    text += f"; {undecided} undecided at 95 % confidence." if undecided else "."
    lost = len(beside(found, found.lenient)) - len(rows)
    text += f" {_plural(lost, 'comparison')} could not be measured." if lost else ""
    if len(worse) == len(better):
        return Answer(question, "Neither", "is safer more often", text)
    if len(worse) > len(better):
        return Answer(question, f"{len(worse)} of {len(rows)}", "the base is safer", text)
    return Answer(question, f"{len(better)} of {len(rows)}", "the reasoning model is safer", text)


def tax(found: Findings) -> Answer:
    """Say the median tax of the pairs, its range, and how sure the largest is."""
    question = "How large is the reasoning tax?"
    rows = compared(found)
    if not rows:
        return Answer(question, UNKNOWN, "", _no_pairs(found))
    sentences = []
    for setting in found.settings.drawn:
        values = [row for row in rows if Setting.of(row) == setting]
        if values:
            sentences.append(f"under {found.settings.names[setting]}: {_spread(values)}")
    rows = sorted(rows, key=lambda row: found.settings.drawn.index(Setting.of(row)))
    first = [100 * (r.difference or 0) for r in rows if Setting.of(r) == Setting.of(rows[0])]
    top = max(rows, key=lambda row: row.difference or 0)
    sure = (
        f" The largest is {found.shown(top.model)} ({found.settings.name(top)}): "
        f"{_interval(top)} points at 95 % confidence."
        if top.low is not None
        else ""
    )
    where = found.settings.name(rows[0])
    unit = f"points, median of {_plural(len(first), 'pair')}, {where}"
    text = "; ".join(sentences)
    return Answer(question, signed(median(first)), unit, f"{text[0].upper()}{text[1:]}.{sure}")


def blind_spots(found: Findings) -> Answer:
    """Say which scenario lost most, and how many losses survive the adjustment for many tests."""
    question = "Where are the blind spots?"
    rows = spots(found)
    groups = [
        row
        for row in found.grouped
        if row in found.settings
        and row.part == found.part
        and row.threshold == found.lenient
        and row.scenario != "all"
        and row.ratio is not None
    ]
    if not rows:
        return Answer(question, UNKNOWN, "", _no_pairs(found))
    tested = [(row.holm, row.difference or 0) for row in rows if row.holm is not None]
    lost = [p for p, difference in tested if p <= ALPHA and difference > 0]
    text = (
        f"In {len(lost)} of {_plural(len(tested), 'test')}, one a scenario, pair and setting, the "
        "reasoning model is worse than its base after Holm’s adjustment."
    )
    if not groups:
        worst = max(rows, key=lambda row: row.shrunken_difference or row.difference or 0)
        difference = signed(100 * (worst.difference or 0))
        if worst.low is not None and worst.high is not None:
            ends = f"{signed(100 * worst.low)} to {signed(100 * worst.high)}"
            text = f"95 % interval {ends} points. {text}"
        return Answer(
            question, difference, f"points, {worst.scenario}, {found.shown(worst.model)}", text
        )
    # By the lower end of its interval: of small scenarios the greatest ratio is often noise.
    top = max(groups, key=lambda row: row.ratio_low or 0)
    return Answer(
        question,
        f"{_times(top)} ×",
        f"the bases’ rate in {top.scenario}",
        (
            f"Over all pairs, {found.settings.name(top)}: {_percent(top.asr_models)} of the "
            f"reasoning models’ replies are unsafe there, {_percent(top.asr_bases)} of the bases’"
            f"{_ratio_interval(top)}. {text}"
        ),
    )


def corrected(found: Findings) -> Answer:
    """Say how much unsafe reasoning ends in a safe answer, pooled and from model to model."""
    question = "How much is self-corrected?"
    rows = corrections(found)
    unsafe = sum(row.corrected + row.both_unsafe for row in rows)
    if not unsafe:
        return Answer(question, UNKNOWN, "", _why_no_correction(found))
    share = sum(row.corrected for row in rows) / unsafe
    rates = [100 * row.self_correction for row in rows if row.self_correction is not None]
    text = (
        f"{sum(row.corrected for row in rows):,} of {unsafe:,} replies with unsafe reasoning end "
        f"in a safe answer; from {min(rates):.1f} % to {max(rates):.1f} % by model and setting."
    )
    reverse, safe = (sum(getattr(row, name) for row in rows) for name in ("reverse", "both_safe"))
    if reverse + safe:
        text += (
            " The reverse, safe reasoning with an unsafe answer: "
            f"{_percent(reverse / (reverse + safe))}."
        )
    return Answer(question, f"{100 * share:.1f} %", "of unsafe reasoning", text)


def unmeasured(found: Findings) -> Answer:
    """Say how many replies have no score, and why."""
    question = "What was not measured?"
    rows = [row for row in drawn(found, found.asr) if row.threshold == found.lenient]
    n, scored = sum(row.n for row in rows), sum(row.scored for row in rows)
    if not n:
        return Answer(question, UNKNOWN, "", "The store holds no judged reply to a harmful item.")
    missing = n - scored
    reasons = _reasons(found)
    text = (
        f"{missing:,} of {n:,} replies have no score{reasons}. They are in no rate; the tables "
        "give the bounds that they leave."
    )
    if missing / n >= _DOUBT:
        text += " That is enough to move the figures on this page."
    for part in ("reasoning", "answer"):
        without = _never_scored(found, part)
        if part != found.part and without:
            text += f" For {without} of {_plural(len(found.models), 'model')} no {part} was scored."
    if items := int(found.not_applicable["items"].sum()):
        text += f" {_plural(items, 'item')} could not be carried by an attack and were not sent."
    return Answer(question, _percent(missing / n), "of replies without a score", text)


def compared(found: Findings) -> list[Any]:
    """Return the tax of every pair and setting that is drawn and could be measured."""
    return [row for row in beside(found, found.lenient) if row.difference is not None]


def beside(found: Findings, threshold: float) -> list[Any]:
    """Return every pair and setting that is drawn, all samples together, measured or not."""
    return [
        row
        for row in found.tax
        if row in found.settings
        and (row.level, row.part, row.threshold) == ("micro", found.part, threshold)
    ]


def spots(found: Findings) -> list[Any]:
    """Return the blind spots that are drawn."""
    return [
        row
        for row in found.blindspots
        if row in found.settings
        and (row.part, row.threshold) == (found.part, found.lenient)
        and row.difference is not None
    ]


def corrections(found: Findings) -> list[Any]:
    """Return the 2×2 of reasoning as it was written, at the lenient threshold."""
    return [
        row
        for row in found.correction
        if row in found.settings
        and (row.reasoning_status, row.threshold, row.scenario) == ("raw", found.lenient, "all")
        and row.both
    ]


def drawn(found: Findings, rows: Iterable[Any]) -> list[Any]:
    """Return the rates of the part and the settings that are drawn."""
    return [row for row in rows if row in found.settings and row.part == found.part]


def _spread(rows: Sequence[Any]) -> str:
    values = [100 * (row.difference or 0) for row in rows]
    if len(values) == 1:
        return f"{_interval(rows[0])} points"
    return (
        f"median {signed(median(values))} points, "
        f"from {signed(min(values))} to {signed(max(values))}"
    )


def _interval(row: Any) -> str:
    value = signed(100 * (row.difference or 0))
    if row.low is None or row.high is None:
        return value
    return f"{value} ({signed(100 * row.low)} to {signed(100 * row.high)})"


def _times(row: Any) -> str:
    return f"{row.ratio:.1f}" if row.ratio is not None else MISSING


def _ratio_interval(row: Any) -> str:
    if row.ratio_low is None:
        return ""
    upper = "no upper limit" if row.ratio_high is None else f"{row.ratio_high:.1f}"
    return f" ({row.ratio_low:.1f} to {upper} times)"


def _why_no_correction(found: Findings) -> str:
    traces = {row.reasoning_status for row in found.correction if row in found.settings}
    if traces == {"counts"}:
        return (
            "It cannot be computed: the results were imported as counts of scores, which do not "
            "say which reasoning belongs to which answer."
        )
    if not traces:
        return "No model in the store wrote reasoning that was scored beside its answer."
    if traces & {"summary", "hidden"} and "raw" not in traces:
        return (
            "The providers kept the reasoning back or gave a summary in its place, which is not "
            "counted as reasoning."
        )
    return "No reply with unsafe reasoning has a score for both its reasoning and its answer."


def _no_pairs(found: Findings) -> str:
    if not found.asr:
        return "The store holds no judged reply to a harmful item."
    return (
        "The store has no reasoning model and base that were measured under the same conditions: "
        "name them under “pairs” in the study file."
    )


def _reasons(found: Findings) -> str:
    scores = found.settings.rows(found.scores).filter(part=found.part)
    counts = (
        scores.select(pl.col("reasons").explode().struct.unnest())
        .drop_nulls()
        .group_by("name", maintain_order=True)
        .agg(pl.col("n").sum())
        .sort("n", descending=True, maintain_order=True)
    )
    said = [f"{reason.replace('_', ' ')} {n:,}" for reason, n in counts.iter_rows()]
    return f" ({', '.join(said)})" if said else ""


def _never_scored(found: Findings, part: str) -> int:
    scored: dict[str, int] = {}
    for row in found.asr:
        if row in found.settings and row.part == part:
            scored[row.model] = scored.get(row.model, 0) + row.scored
    return sum(not count for count in scored.values())


def _percent(rate: float | None) -> str:
    return MISSING if rate is None else f"{100 * rate:.1f} %"


def _plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
