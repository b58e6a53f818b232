"""Typed results turned into tables for people, papers and programs."""

from opensafemlrm.report.asr import asr_table
from opensafemlrm.report.blindspots import blindspot_tables, grouped_table
from opensafemlrm.report.calibrated import calibrated_table
from opensafemlrm.report.correction import correction_table
from opensafemlrm.report.cost import cost_table
from opensafemlrm.report.coverage import coverage_tables, not_sent_table
from opensafemlrm.report.defense import defense_table
from opensafemlrm.report.overrefusal import overrefusal_tables
from opensafemlrm.report.tables import (
    SIMULATED_NOTE,
    Column,
    Form,
    Format,
    Placed,
    Table,
    WhenConstant,
    render,
    render_all,
    unneeded_fields,
)
from opensafemlrm.report.tax import tax_table

__all__ = [
    "SIMULATED_NOTE",
    "Column",
    "Form",
    "Format",
    "Placed",
    "Table",
    "WhenConstant",
    "asr_table",
    "blindspot_tables",
    "calibrated_table",
    "correction_table",
    "cost_table",
    "coverage_tables",
    "defense_table",
    "grouped_table",
    "not_sent_table",
    "overrefusal_tables",
    "render",
    "render_all",
    "tax_table",
    "unneeded_fields",
]
