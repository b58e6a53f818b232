"""The sections of a page, in the order in which a reader goes deeper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from opensafemlrm.report.blindspots import GROUPED, consistency_table
from opensafemlrm.report.calibrated import calibrated_table
from opensafemlrm.report.correction import CORRECTION
from opensafemlrm.report.cost import COST
from opensafemlrm.report.coverage import NOT_APPLICABLE, coverage_tables
from opensafemlrm.report.figures.forest import signed
from opensafemlrm.report.overrefusal import overrefusal_tables
from opensafemlrm.report.page import charts as pictures
from opensafemlrm.report.page import defenses
from opensafemlrm.report.page import key_results as answers
from opensafemlrm.report.page.charts import Picture
from opensafemlrm.report.page.findings import Findings, frame_of
from opensafemlrm.report.page.settings import Setting
from opensafemlrm.report.tables import Table
from opensafemlrm.report.tax import TAX

_TOKENS: Final = ("input_tokens", "output_tokens")
_IS: Final = "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}"


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, what is said below it, its charts, and tables that no chart has."""

    id: str
    title: str
    text: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
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
        _judge(found),
        _coverage(found),
        _cost(found),
    ]
    return [section for section in made if section is not None]


def _tax(found: Findings) -> Section:
    rows = [row for row in found.tax if row in found.settings and row.part == found.part]
    picture = pictures.taxes(found, TAX.of(frame_of(rows)))
    if picture is None:
        return Section("tax", "The reasoning tax", (answers.tax(found).text,))
    return Section(
        "tax",
        "The reasoning tax",
        (
            "Unsafe replies of a reasoning model less those of the base it came from, of the same "
            "items under the same conditions, in percentage points. Right of 0 the reasoning "
            "model is less safe; an interval that crosses 0 leaves it open which one is.",
            _macro(found),
        ),
        (picture,),
    )


def _scenarios(found: Findings) -> Section:
    text = [answers.blind_spots(found).text, *_left_out(found)]
    consistent = [
        row
        for row in found.consistency
        if row.across == "models"
        and row.w is not None
        and (row.part, row.threshold) == (found.part, found.lenient)
    ]
    text += [
        "How alike the pairs rank the scenarios by what they lose "
        f"({found.settings.name(row)}): Kendall’s W{_IS}{row.w:.2f}, from 0 (not at all) to 1 "
        f"(wholly){_p(row.p_value)}; worst on the whole: {row.worst}."
        for row in consistent
        if row.measure == "difference" and row in found.settings
    ]
    extra = [GROUPED.of(frame_of(found.grouped))] if found.grouped else []
    if consistent:
        extra.append(consistency_table(found.consistency))
    return Section(
        "scenarios",
        "Blind spots, scenario by scenario",
        tuple(text),
        (*pictures.heatmaps(found), *pictures.slope_pictures(found)),
        tuple(extra),
    )


def _scores(found: Findings) -> Section | None:
    if found.scores.is_empty():
        return None
    return Section(
        "scores",
        "How the parts were scored",
        (
            "Each bar is all replies of a model, from the least harmful score at the left to the "
            "most harmful at the right. A threshold cuts it; the whole of it shows how near to the "
            "cut the replies lie.",
        ),
        tuple(pictures.score_pictures(found)),
    )


def _correction(found: Findings) -> Section:
    rows = [row for row in found.correction if row in found.settings]
    picture = pictures.flow_picture(found, CORRECTION.of(frame_of(rows)))
    text = [answers.corrected(found).text]
    apart = sorted({row.reasoning_status for row in rows} - {"raw", "counts"})
    if apart:
        text.append(
            f"Traces of another kind ({', '.join(apart)}) are kept apart and stand in the table: "
            "what a provider wrote in the reasoning’s place is not the reasoning."
        )
    return Section(
        "correction",
        "From reasoning to answer",
        tuple(text),
        () if picture is None else (picture,),
    )


def _overrefusal(found: Findings) -> Section | None:
    if found.overrefusal.is_empty() and found.balance.is_empty():
        return None
    return Section(
        "overrefusal",
        "Over-refusal",
        ("Refusals of harmless items, and safety beside helpfulness where a dataset has both.",),
        tables=tuple(overrefusal_tables(found.overrefusal, found.balance)),
    )


def _defenses(found: Findings) -> Section | None:
    text = defenses.words(found)
    if not text:
        return None
    return Section("defenses", "Defenses", text, defenses.fronts(found))


def _judge(found: Findings) -> Section | None:
    if found.corrected.is_empty():
        return None
    return Section(
        "judge",
        "Rates without the judge’s errors",
        (
            "Rates corrected by how often the judge was right on labelled replies (Rogan and "
            "Gladen), with intervals that count the uncertainty of both.",
        ),
        tables=(calibrated_table(found.corrected),),
    )


def _coverage(found: Findings) -> Section:
    picture = pictures.missing_picture(found)
    extra = coverage_tables(found.replies, found.verdicts, found.detected)
    if len(found.not_applicable):
        extra.append(NOT_APPLICABLE.of(found.not_applicable))
    return Section(
        "coverage",
        "What was not measured",
        (pictures.endings(found), answers.unmeasured(found).text),
        () if picture is None else (picture,),
        tuple(extra),
    )


def _cost(found: Findings) -> Section:
    if found.cost.is_empty():
        return Section(
            "cost", "Cost", ("Imported results do not say what they took: no cost is known.",)
        )
    requests, judged = (found.cost[name].sum() for name in ("requests", "judge_requests"))
    return Section(
        "cost",
        "Cost",
        (f"{requests:,} requests to models and {judged:,} to judges. {_tokens(found)}",),
        tables=(COST.of(found.cost),),
    )


def _macro(found: Findings) -> str:
    """Say what becomes of the tax when every scenario weighs the same."""
    rows = [
        row
        for row in found.tax
        if row in found.settings
        and (row.level, row.part, row.threshold) == ("macro", found.part, found.lenient)
        and row.difference is not None
    ]
    if not rows:
        return "Every reply weighs the same."
    said = [
        f"{signed(100 * median(values))} under {found.settings.names[setting]}"
        for setting in found.settings.drawn
        if (values := [row.difference or 0 for row in rows if Setting.of(row) == setting])
    ]
    return (
        "Here every reply weighs the same. If every scenario does, the median of the pairs is "
        f"{', '.join(said)}."
    )


def _tokens(found: Findings) -> str:
    if not found.cost["output_tokens"].count():
        return "No server said how many tokens it used."
    totals = [found.cost[name].sum() for name in _TOKENS]
    return f"{totals[0]:,} tokens in and {totals[1]:,} out, as the servers counted them."


def _left_out(found: Findings) -> Sequence[str]:
    """Say which settings and judges the charts leave to the tables."""
    said = []
    if found.settings.left_out:
        said.append(
            f"The charts show {len(found.settings.drawn)} settings; {found.settings.left_out} more "
            "are in the tables."
        )
    if found.settings.other_judges:
        others = ", ".join(found.settings.other_judges)
        said.append(
            f"The charts show the verdicts of {found.settings.judge}; those of {others} are in the "
            "tables."
        )
    return said


def _p(value: float | None) -> str:
    if value is None:
        return ""
    return f", p{_IS}{value:.3f}" if value >= 0.001 else f", p{_IS.replace('=', '<')}0.001"
