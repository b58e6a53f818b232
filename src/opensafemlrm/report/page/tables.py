"""The tables of a report: beside its charts on the page, and as files."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from opensafemlrm.report.asr import asr_table
from opensafemlrm.report.blindspots import GROUPED, blindspot_tables
from opensafemlrm.report.calibrated import calibrated_tables
from opensafemlrm.report.comprehension import comprehension_tables
from opensafemlrm.report.correction import CORRECTION
from opensafemlrm.report.cost import COST
from opensafemlrm.report.coverage import NOT_APPLICABLE, coverage_tables
from opensafemlrm.report.defense import defense_table
from opensafemlrm.report.overrefusal import overrefusal_tables
from opensafemlrm.report.page.findings import Findings
from opensafemlrm.report.sampling import with_notes
from opensafemlrm.report.scores import SCORES
from opensafemlrm.report.tables import Table
from opensafemlrm.report.tax import TAX
from opensafemlrm.text import Format

FILES: Final = {Format.CSV: "csv", Format.MD: "md", Format.LATEX: "tex"}
"""The formats that tables are written in, and how their files end."""


def file_tables(found: Findings) -> list[Table]:
    """Return every table of a store, each under a name of its own; those without rows left out."""
    tables = [
        asr_table(found.asr),
        replace(asr_table(found.by_scenario), name="asr_by_scenario"),
        TAX.of(found.tax),
        *blindspot_tables(found.blindspots, found.consistency),
        GROUPED.of(found.grouped),
        CORRECTION.of(found.correction),
        *overrefusal_tables(found.overrefusal, found.balance),
        defense_table(found.defenses),
        *calibrated_tables(found.corrected, found.corrected_tax),
        *comprehension_tables(found.comprehension, found.comprehension_tax),
        SCORES.of(found.scores),
        *coverage_tables(found.replies, found.verdicts, found.detected, found.alarms),
        NOT_APPLICABLE.of(found.not_applicable),
        COST.of(found.cost),
    ]
    tables = with_notes(tables, found.sampling_notes)
    return [table for table in tables if len(table.frame)]
