"""What is known of a judge's errors, for the notes of the tables that it made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import polars as pl

from opensafemlrm import registry
from opensafemlrm.analysis.conditions import ALL
from opensafemlrm.selection import plain_name

_JUDGE: Final = registry.ComponentKind.JUDGE
MEASURED: Final = frozenset({"rules"})
"""Judges of this project that ship with their errors measured: to load the others, only to find
that there is nothing to say, would take as long as a table does."""


def measured_notes(judges: Iterable[str]) -> list[str]:
    """Return, for each judge (as tables call it) that ships with its errors measured, a note."""
    notes = []
    for name in sorted({plain_name(judge) for judge in judges}):
        shipped = name in registry.BUILTIN[_JUDGE]
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
