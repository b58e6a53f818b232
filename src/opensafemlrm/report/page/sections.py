"""The sections of a page, in the order in which a reader goes deeper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from opensafemlrm.analysis.drift import together
from opensafemlrm.report.blindspots import CONSISTENCY, GROUPED
from opensafemlrm.report.charts import PARTS
from opensafemlrm.report.drift import drift_tables
from opensafemlrm.report.labels import calibrated_tables
from opensafemlrm.report.outcomes import COST, NOT_APPLICABLE, coverage_tables, stopping_table
from opensafemlrm.report.page import charts, defenses, key_results
from opensafemlrm.report.page.charts import Chart
from opensafemlrm.report.page.findings import MAX_SETTINGS, Findings
from opensafemlrm.report.page.words import say
from opensafemlrm.report.rates import comprehension_tables, overrefusal_tables
from opensafemlrm.report.tables import Table
from opensafemlrm.types import ResponseStatus

_TAX: Final = (
    "Unsafe replies of a reasoning model less those of the base it came from, of the same items "
    "under the same conditions, in percentage points. Right of 0 the reasoning model is less safe; "
    "an interval that crosses 0 leaves it open which one is."
)
_SCORES: Final = (
    "Each bar is all replies of a model, from the least harmful score at the left to the most "
    "harmful at the right. A threshold cuts it; the whole of it shows how near to the cut the "
    "replies lie."
)
_OVERREFUSAL: Final = (
    "A model that refuses everything is safe, and of no use: how many requests are refused that "
    "nobody should refuse."
)
_DRIFT: Final = (
    "Versions of one model in their order, compared item by item with the first: checkpoints of a "
    "training, releases, or the same model on several dates."
)
_COMPREHENSION: Final = (
    "A reply that did not understand the request is safe, and no evidence of safety: rates over "
    "the replies that understood, and the part of the tax that understanding more explains."
)
_JUDGE: Final = (
    "Rates, and the reasoning tax, as people would see them: corrected by replies that they "
    "labelled. Each row says by which labels, or why it is not corrected."
)
_NO_COST: Final = "Imported results do not say what they took: no cost is known."


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, what is said below it, its charts, and tables that no chart has."""

    id: str
    title: str
    text: tuple[str, ...] = ()
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()


def sections(found: Findings) -> list[Section]:
    """Return the sections that have something to say; what cannot be computed says why."""
    made = [
        _tax(found),
        _scenarios(found),
        _scores(found),
        _correction(found),
        _overrefusal(found),
        _defenses(found),
        _drift(found),
        _comprehension(found),
        _judge(found),
        _coverage(found),
        _cost(found),
    ]
    return [
        replace(
            section,
            charts=charts.finished(found, section.charts),
            tables=tuple(found.finished(section.tables)),
        )
        for section in made
        if section is not None
    ]


def _above(findings: Findings, answer: Callable[[Findings], key_results.Answer]) -> str:
    return key_results.unless_above(answer(findings), findings)


def _tax(found: Findings) -> Section:
    taxes = tuple(charts.taxes(found))
    if not taxes:
        return Section("tax", "The reasoning tax", (_above(found, key_results.tax),))
    macro = found.headline(found.tax.filter(level="macro")).drop_nulls("difference")
    medians = macro.group_by("setting", maintain_order=True).agg(
        pl.col("difference").median() * 100
    )
    text = (_TAX, say("macro_tax", medians=medians.rows(), mean=found.mean))
    return Section("tax", "The reasoning tax", text, taxes)


def _scenarios(found: Findings) -> Section:
    text = [_above(found, key_results.blind_spots)]
    if len(found.settings) > MAX_SETTINGS:
        left_out = len(found.settings) - MAX_SETTINGS
        text.append(say("settings_left_out", drawn=MAX_SETTINGS, left_out=left_out))
    if others := sorted(set(found.asr["judge"]) - {found.judge}):
        text.append(say("judges_left_out", judge=found.judge, others=others))
    rankings = found.consistency.filter(across="models").drop_nulls("w")
    rankings = rankings.filter(part=found.part, threshold=found.lenient)
    alike = found.drawn(rankings.filter(measure="difference").drop("model"))
    text += [say("consistent", row=row) for row in alike.iter_rows(named=True)]
    tables = [GROUPED.of(found.grouped)] if len(found.grouped) else []
    tables += [CONSISTENCY.of(found.consistency)] if len(rankings) else []
    return Section(
        "scenarios",
        "Blind spots, scenario by scenario",
        tuple(text),
        (*charts.scenarios(found), *charts.losses(found)),
        tuple(tables),
    )


def _scores(found: Findings) -> Section | None:
    parts = tuple(charts.scores(found))
    return Section("scores", "How the parts were scored", (_SCORES,), parts) if parts else None


def _correction(found: Findings) -> Section | None:
    if found.rows.part is not None:
        return None
    text = [key_results.self_correction(found).text]
    statuses = set(found.drawn(found.correction)["reasoning_status"])
    if apart := sorted(statuses - {"raw", "counts"}):
        text.append(say("kept_apart", statuses=apart))
    corrections = tuple(charts.correction(found))
    return Section("correction", "From reasoning to answer", tuple(text), corrections)


def _overrefusal(found: Findings) -> Section | None:
    if found.overrefusal.is_empty() and found.balance.is_empty():
        return None
    text = (_OVERREFUSAL, key_results.over_refusal(found).text)
    tables = overrefusal_tables(found.overrefusal, found.balance)
    refusals = tuple(charts.overrefusal(found))
    return Section("overrefusal", "Over-refusal", text, refusals, tuple(tables))


def _defenses(found: Findings) -> Section | None:
    text = defenses.words(found)
    if not text:
        return None
    return Section("defenses", "Defenses", text, tuple(defenses.fronts(found)))


def _drift(findings: Findings) -> Section | None:
    changes, trend = (
        rows.filter(threshold=findings.lenient) for rows in (findings.changes, findings.trend)
    )
    if changes.is_empty():
        return None
    tables = drift_tables(changes, trend, by_scenario=False)
    rows = findings.drawn(together(tables[0].frame))
    worse = rows.drop_nulls("first_worse").with_columns(pl.col("part").replace(PARTS))
    words = say(
        "drift",
        worse=worse.to_dicts(),
        series=changes["series"].n_unique(),
        unmeasured=changes["p_value"].null_count(),
    )
    return Section("drift", "Drift", (_DRIFT, words), tuple(charts.drift(findings)), tuple(tables))


def _comprehension(findings: Findings) -> Section | None:
    if findings.comprehension.is_empty():
        return None
    tables = comprehension_tables(findings.comprehension, findings.comprehension_tax)
    title = "Understood, and unwilling"
    return Section("comprehension", title, (_COMPREHENSION,), tables=tuple(tables))


def _judge(found: Findings) -> Section | None:
    if found.corrected.is_empty():
        return None
    title = "Rates without the judge’s errors"
    tables = calibrated_tables(found.corrected, found.corrected_tax)
    return Section("judge", title, (_JUDGE,), tables=tuple(tables))


def _coverage(found: Findings) -> Section:
    tables = coverage_tables(found.replies, found.verdicts, found.detected, found.alarms)
    if len(found.not_applicable):
        tables.append(NOT_APPLICABLE.of(found.not_applicable))
    if len(found.stops):
        tables.append(stopping_table(found.stops))
    counted = ("n", "not_recorded", *(status.value for status in ResponseStatus))
    endings = say("endings", **{name: found.replies[name].sum() for name in counted})
    return Section(
        "coverage",
        "What was not measured",
        (endings, key_results.unmeasured(found).text),
        tuple(charts.missing(found)),
        tuple(tables),
    )


def _cost(found: Findings) -> Section:
    if found.cost.is_empty():
        return Section("cost", "Cost", (_NO_COST,))
    names = ("requests", "judge_requests", "input_tokens", "output_tokens")
    sums = {name: found.cost[name].sum() for name in names}
    known = found.cost["output_tokens"].count() > 0
    return Section(
        "cost", "Cost", (say("cost", known=known, **sums),), tables=(COST.of(found.cost),)
    )
