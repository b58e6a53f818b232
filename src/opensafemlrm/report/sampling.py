"""What tables say below of sampling that was not sent as the study asks for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

import polars as pl

from opensafemlrm.report.tables import Note, Table

_NAMED: Final = ("model", "base", "judge")
"""Columns that name what was asked."""


def with_notes(tables: Iterable[Table], notes: Mapping[str, str]) -> list[Table]:
    """Return tables with the notes that their rows need, where they tell of sampling.

    ``notes`` are sentences by what tables call a model or a judge, as
    :func:`opensafemlrm.analysis.requests.sent_otherwise` makes them.
    """
    return [_with_notes(table, notes) if notes else table for table in tables]


def _with_notes(table: Table, notes: Mapping[str, str]) -> Table:
    columns = table.frame.columns
    if "sampling" not in columns:
        return table
    named = [pl.col(name).cast(pl.String) for name in _NAMED if name in columns]
    needed: list[Note] = [
        (f"{text}.", pl.any_horizontal(name == label for name in named))
        for label, text in notes.items()
    ]
    return replace(table, notes=[*table.notes, *needed])
