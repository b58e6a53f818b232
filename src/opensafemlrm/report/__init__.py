"""Frames of results turned into tables for people, papers and programs."""

from opensafemlrm.report.forms import Form
from opensafemlrm.report.tables import (
    SIMULATED_NOTE,
    Column,
    Table,
    WhenConstant,
    render,
    render_all,
)
from opensafemlrm.text import Format

__all__ = [
    "SIMULATED_NOTE",
    "Column",
    "Form",
    "Format",
    "Table",
    "WhenConstant",
    "render",
    "render_all",
]
