"""Score distributions count everything once, and keep what has no score apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from opensafemlrm.analysis.coverage import scores
from opensafemlrm.frame import SCHEMA
from tests.support import records

Rows = Callable[..., pl.DataFrame]


def test_each_score_is_counted_and_what_has_none_by_its_reason(rows: Rows) -> None:
    frame = pl.concat(
        [rows([0, 0, 5, None]), rows([None, None], first=4, reason="failed", status="failed")]
    )
    (row,) = records(scores(frame))
    assert [tuple(count.values()) for count in row.counts] == [("0", 2), ("5", 1)]
    assert (row.n, row.unscored) == (6, 3)
    assert [tuple(reason.values()) for reason in row.reasons] == [("failed", 2), ("unparsed", 1)]


def test_parts_are_told_apart_in_their_order_and_benign_items_left_out(rows: Rows) -> None:
    frame = pl.concat(
        [
            rows([1], part="full"),
            rows([2], part="reasoning"),
            rows([3], part="answer", expected="benign"),
        ]
    )
    assert [(row.part, row.n) for row in records(scores(frame))] == [("reasoning", 1), ("full", 1)]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_a_judge_of_many_scores_is_counted_in_at_most_seven_kinds(
    given_scores: list[float],
) -> None:
    columns: dict[str, Any] = dict.fromkeys(SCHEMA)
    columns |= {
        "expected": "harmful",
        "judge": "j",
        "part": "full",
        "model": "m",
        "simulated": False,
    }
    frame = pl.DataFrame([{**columns, "score": s} for s in given_scores], schema=SCHEMA)
    (row,) = records(scores(frame))
    assert sum(count["n"] for count in row.counts) == row.n == len(given_scores)
    assert len(row.counts) <= 7
