"""Typed results turned into tables for people, papers and programs."""

from opensafemlrm.report.asr import asr_table
from opensafemlrm.report.coverage import coverage_tables, not_sent_table
from opensafemlrm.report.tables import (
    SIMULATED_NOTE,
    Column,
    Constant,
    Form,
    Format,
    Placed,
    Table,
    render,
    render_all,
    unneeded_fields,
)

__all__ = [
    "SIMULATED_NOTE",
    "Column",
    "Constant",
    "Form",
    "Format",
    "Placed",
    "Table",
    "asr_table",
    "coverage_tables",
    "not_sent_table",
    "render",
    "render_all",
    "unneeded_fields",
]
