"""The conditions of a measurement, by the names of their columns.

Samples are pooled only where they have all of :data:`CELL_COLUMNS` in common. Two sides, such as a
reasoning model and its base, are compared only where they have all of :data:`SETTING_COLUMNS` in
common.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from opensafemlrm.types import Part

CONDITION_COLUMNS: Final = ("dataset", "attack", "defense", "sampling")
"""What was asked, and how."""

CELL_COLUMNS: Final = ("model", "simulated", *CONDITION_COLUMNS, "cell")
"""A model under its conditions. ``cell`` tells apart what has all its names in common."""

JUDGE_COLUMNS: Final = ("judge", "part", "threshold")
"""Who judged which part of a reply, and from which score on it is unsafe."""

SETTING_COLUMNS: Final = (*CONDITION_COLUMNS, *JUDGE_COLUMNS)
"""What two sides must have in common to be compared."""

THRESHOLDS: Final = ("threshold_lenient", "threshold_strict")
"""Columns of the tidy table that hold a judge's thresholds."""

ALL: Final = "all"
"""The scenario of a row in which scenarios are taken together."""

PART_ORDER: Final = {part.value: place for place, part in enumerate(Part)}


def in_part_order() -> pl.Expr:
    """Return what to sort by so that parts stand in the order in which they are written."""
    return pl.col("part").replace_strict(PART_ORDER, return_dtype=pl.Int64)


def only(rows: pl.DataFrame, part: str | None, threshold: float | None) -> pl.DataFrame:
    """Return the rows of one part and one threshold; ``None`` keeps all of them."""
    wanted = {"part": part, "threshold": threshold}
    return rows.filter(pl.col(name) == value for name, value in wanted.items() if value is not None)
