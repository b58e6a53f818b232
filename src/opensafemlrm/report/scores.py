"""The table of score distributions."""

from __future__ import annotations

from typing import Final

from opensafemlrm.report.columns import CONDITION_COLUMNS, JUDGE, MODEL
from opensafemlrm.report.forms import Form
from opensafemlrm.report.tables import Column, Table, WhenConstant

SCORES: Final = Table(
    name="scores",
    title="How many replies got which score",
    columns=[
        MODEL,
        *CONDITION_COLUMNS,
        JUDGE,
        Column("part", "Part"),
        Column("n", "n", Form.COUNT),
        Column("unscored", "no score", Form.COUNT),
        Column("counts", "score: replies", Form.DISTRIBUTION),
        Column("reasons", "why no score", Form.TALLY, WhenConstant.DROP_IF_ZERO),
    ],
)
