"""The tables of a report: beside its charts on the page, and as files."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from opensafemlrm.report.blindspots import GROUPED, blindspot_tables
from opensafemlrm.report.drift import drift_tables
from opensafemlrm.report.labels import calibrated_tables
from opensafemlrm.report.outcomes import (
    COST,
    NOT_APPLICABLE,
    SCORES,
    coverage_tables,
    stopping_table,
)
from opensafemlrm.report.page.findings import Findings
from opensafemlrm.report.rates import (
    CORRECTION,
    TAX,
    asr_table,
    comprehension_tables,
    defense_table,
    overrefusal_tables,
)
from opensafemlrm.report.tables import Table
from opensafemlrm.text import Format

FILES: Final = {Format.CSV: "csv", Format.MD: "md", Format.LATEX: "tex"}
"""The formats that tables are written in, and how their files end."""


_OF_PAIRS: Final = (
    *("model", "base", "attack", "defense"),
    *("scored_model", "asr_model", "asr_base", "difference", "low"),
)


def summary(findings: Findings) -> Table:
    """Return the figures of the first chart: of each pair, and without pairs of each model."""
    pairs = findings.headline(findings.averages)
    if pairs.is_empty():
        rates = ("model", "attack", "defense", "scored", "asr", "low")
        table = asr_table(findings.headline(findings.asr)).only(rates)
    else:
        table = replace(TAX.of(pairs), title="Reasoning tax", notes=()).only(_OF_PAIRS)
    return findings.finished([table])[0]


def file_tables(findings: Findings) -> list[Table]:
    """Return every table of a store, each under a name of its own; those without rows left out."""
    tables = [
        asr_table(findings.asr),
        replace(asr_table(findings.by_scenario), name="asr_by_scenario"),
        TAX.of(findings.by_files("tax")),
        *blindspot_tables(findings.blindspots, findings.consistency),
        GROUPED.of(findings.grouped),
        *drift_tables(findings.changes, findings.trend),
        CORRECTION.of(findings.by_files("correction")),
        *overrefusal_tables(findings.by_files("overrefusal"), findings.balance),
        *([defense_table(findings.defenses)] if findings.has_defenses else []),
        *calibrated_tables(findings.by_files("corrected"), findings.corrected_tax),
        *comprehension_tables(findings.comprehension, findings.comprehension_tax),
        SCORES.of(findings.scores),
        *coverage_tables(findings.replies, findings.verdicts, findings.detected, findings.alarms),
        NOT_APPLICABLE.of(findings.not_applicable),
        stopping_table(findings.stops),
        COST.of(findings.cost),
    ]
    return [table for table in findings.finished(tables) if len(table.frame)]
