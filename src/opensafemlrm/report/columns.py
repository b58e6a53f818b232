"""Columns that several tables have in common."""

from __future__ import annotations

from typing import Final

import polars as pl

from opensafemlrm.report.forms import Form
from opensafemlrm.report.tables import Column, WhenConstant

MODEL: Final = Column("model", "Model", simulated=True)
BOUND: Final = ("bound_interval_low", "bound_interval_high")
"""The interval of a difference that holds whatever has no score."""
BASE: Final = Column("base", "Base", simulated=True)
"""Of a pair, either may be what is simulated: the figure is, and both names say so."""

CONDITION_COLUMNS: Final = (
    Column("dataset", "Dataset", constant=WhenConstant.CAPTION),
    Column("attack", "Attack"),
    Column("defense", "Defense", constant=WhenConstant.CAPTION),
    Column("sampling", "Sampling", constant=WhenConstant.CAPTION),
    Column("cell", "Cell"),
)
"""Under which conditions a row was measured."""

JUDGE: Final = Column("judge", "Judge", constant=WhenConstant.CAPTION)
SCENARIO: Final = Column("scenario", "Scenario", constant=WhenConstant.CAPTION)
THRESHOLD: Final = Column("threshold", "≥", Form.THRESHOLD)

JUDGE_COLUMNS: Final = (
    JUDGE,
    Column("part", "Part", constant=WhenConstant.CAPTION),
    Column("threshold", "≥", Form.THRESHOLD, constant=WhenConstant.CAPTION),
)
"""By which judge, at which threshold, which part was called unsafe."""
CELL: Final = (MODEL, *CONDITION_COLUMNS)
JUDGED: Final = (*CELL, *JUDGE_COLUMNS)
PAIR: Final = (MODEL, BASE, *CONDITION_COLUMNS, *JUDGE_COLUMNS)
"""What a row is of: a model under conditions, the same judged, or a model beside its base."""


def interval(
    low: str,
    upper: str,
    form: Form = Form.INTERVAL,
    title: str = "95 % CI",
    *,
    needs: pl.Expr | None = None,
    in_paper: bool = True,
) -> Column:
    """Return the column of an interval between two columns of the frame."""
    return Column(low, title, form, upper=upper, needs=needs, in_paper=in_paper)


def rate(name: str, title: str, withheld: str = "withheld") -> Column:
    """Return the column of a rate whose bounds are in the columns that its name begins."""
    ends = (f"{name}_bound_low", f"{name}_bound_high")
    return Column(name, title, Form.PERCENT, bounds=ends, withheld=withheld)
