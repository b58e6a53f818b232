"""Columns and notes that several tables have in common."""

from __future__ import annotations

from collections.abc import Sequence

from opensafemlrm.report.tables import SIMULATED_NOTE, Column, Form, Placed, WhenConstant


def condition_columns(left_out: frozenset[str], *names: str) -> list[Column]:
    """Return the columns that say where a row comes from; ``names`` are those of its models."""
    titles = {"model": "Model", "base": "Base", "models": "Models", "bases": "Bases"}
    columns = [
        *[
            # Of a pair, either may be what is simulated: the figure is, and both names say so.
            Column(name, titles[name], simulated="simulated")
            for name in names
        ],
        Column("dataset", "Dataset", constant=WhenConstant.CAPTION),
        Column("attack", "Attack"),
        Column("defense", "Defense", constant=WhenConstant.CAPTION),
        Column("sampling", "Sampling", constant=WhenConstant.CAPTION),
    ]
    return columns if "cell" in left_out else [*columns, Column("cell", "Cell")]


def judge_columns() -> list[Column]:
    """Return the columns of judge, part and threshold."""
    return [
        Column("judge", "Judge", constant=WhenConstant.CAPTION),
        Column("part", "Part", constant=WhenConstant.CAPTION),
        Column("threshold", "≥", Form.THRESHOLD, constant=WhenConstant.CAPTION),
    ]


def notes(rows: Sequence[Placed], *more: str) -> tuple[str, ...]:
    """Return ``more``, without empty ones, and what there is to say of simulated models."""
    simulated = SIMULATED_NOTE if any(row.simulated for row in rows) else ""
    return tuple(note for note in (*more, simulated) if note)
