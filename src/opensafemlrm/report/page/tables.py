"""The tables of a report: beside its charts on the page, and as files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from opensafemlrm.analysis.scores import ScoreRow
from opensafemlrm.report import (
    asr_table,
    blindspot_tables,
    calibrated_table,
    correction_table,
    cost_table,
    coverage_tables,
    defense_table,
    grouped_table,
    not_sent_table,
    overrefusal_tables,
    tax_table,
)
from opensafemlrm.report.columns import condition_columns, notes
from opensafemlrm.report.page.findings import Findings
from opensafemlrm.report.tables import Column, Form, Format, Table, WhenConstant, unneeded_fields

FILES: Final = {Format.CSV: "csv", Format.MD: "md", Format.LATEX: "tex"}
"""The formats that tables are written in, and how their files end."""


def score_table(rows: Sequence[ScoreRow]) -> Table:
    """Return the table of score distributions."""
    left_out = unneeded_fields(rows)
    return Table(
        name="scores",
        title="How many replies got which score",
        row_type=ScoreRow,
        rows=rows,
        columns=[
            *condition_columns(left_out, "model"),
            Column("judge", "Judge", constant=WhenConstant.CAPTION),
            Column("part", "Part"),
            Column("n", "n", Form.COUNT),
            Column("unscored", "no score", Form.COUNT),
            Column("spread", "score: replies"),
            Column("reasons", "why no score", Form.TALLY, WhenConstant.DROP_IF_ZERO),
        ],
        notes=notes(rows),
        left_out=left_out,
    )


def file_tables(found: Findings) -> list[Table]:
    """Return every table of a store, each under a name of its own; those without rows left out."""
    tables = [
        asr_table(found.asr),
        replace(asr_table(found.by_scenario), name="asr_by_scenario"),
        tax_table(found.tax),
        *blindspot_tables(found.blindspots),
        grouped_table(found.grouped),
        correction_table(found.correction),
        *overrefusal_tables(found.overrefusal),
        defense_table(found.defenses),
        calibrated_table(found.corrected),
        score_table(found.scores),
        *coverage_tables(found.coverage),
        not_sent_table(found.not_sent),
        cost_table(found.cost),
    ]
    return [table for table in tables if table.rows]
