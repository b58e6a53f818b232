"""The table of score distributions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from opensafemlrm.analysis.scores import ScoreRow
from opensafemlrm.report.columns import CONDITION_COLUMNS, JUDGE, MODEL, frame_of
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


def score_table(rows: Sequence[ScoreRow]) -> Table:
    """Return the table of score distributions."""
    return SCORES.of(frame_of(ScoreRow, rows))
