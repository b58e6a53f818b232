"""Notes below tables: what is known of a judge's errors, and sampling that was not sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import polars as pl

from opensafemlrm import registry
from opensafemlrm.analysis.conditions import ALL
from opensafemlrm.report.tables import Note, Table
from opensafemlrm.selection import (
    ALL_ROWS,
    EVERYTHING,
    RowChoice,
    Selection,
    plain_name,
    selected,
)

_JUDGE: Final = registry.ComponentKind.JUDGE
MEASURED: Final = frozenset({"rules"})
"""Judges of this project that ship with their errors measured: to load the others, only to find
that there is nothing to say, would take as long as a table does."""


def measured_notes(judges: Iterable[str]) -> list[str]:
    """Return, for each judge (as tables call it) that ships with its errors measured, a note."""
    notes = []
    for name in sorted({plain_name(judge) for judge in judges}):
        shipped = name in registry.built_in(_JUDGE)
        if name in MEASURED or (not shipped and name in registry.names(_JUDGE)):
            counts = registry.find(_JUDGE, name).measured
            if counts is not None:
                notes.append(f"{name}: {_in_words(counts)}")
    return notes


def _in_words(counts: Mapping[str, int]) -> str:
    from opensafemlrm.analysis.calibration import measures  # noqa: PLC0415 # loads numpy

    rows = measures(pl.DataFrame([{"scenario": ALL, "threshold": 0.0, **counts}]))
    by_name = {row["measure"]: row for row in rows.iter_rows(named=True)}
    shares = ", ".join(
        "{} {:.0f} % ({:.0f}–{:.0f})".format(
            name, *(100 * (by_name[name][end] or 0) for end in ("value", "low", "high"))
        )
        for name in ("sensitivity", "specificity")
    )
    return (
        f"a weak judge by rules; on its own {by_name['accuracy']['n']} held-out labels of harmless "
        f"replies F1 {by_name['f1']['value']:.2f}, {shares}. Calibrate it on labels of your own "
        "data."
    )


_NAMED: Final = ("model", "base", "judge")
"""Columns that name what was asked."""


def finished(
    tables: Iterable[Table],
    notes: Mapping[str, str],
    selection: Selection = EVERYTHING,
    rows: RowChoice = ALL_ROWS,
) -> list[Table]:
    """Return tables with the notes that they need, and in the order that ``rows`` asks for.

    ``notes`` are sentences of sampling by what tables call a model or a judge, as
    :func:`opensafemlrm.analysis.alarms.sent_otherwise` makes them. A table of a part of the store
    says so below it, and names the scenarios that it is of.
    """
    made = []
    for table in tables:
        chosen = selected(selection, rows, table.frame.columns)
        noted = _with_notes(table, notes) if notes else table
        noted = _with_scenarios(noted, selection.scenario)
        if chosen:
            noted = replace(noted, notes=[*noted.notes, chosen])
        is_grouped = rows.by not in (None, "scenario")
        made.append(noted.grouped_by(str(rows.by)) if is_grouped else noted)
    return made


def _with_scenarios(table: Table, chosen: Sequence[str]) -> Table:
    """Name the chosen scenarios where all rows are of "all": beside named ones it means them."""
    frame = table.frame
    if not chosen or "scenario" not in frame.columns or set(frame["scenario"].unique()) != {ALL}:
        return table
    named = pl.lit(", ".join(chosen)).alias("scenario")
    return replace(table, frame=frame.with_columns(named))


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
