"""Coverage: every reply and every verdict is in exactly one outcome."""

from __future__ import annotations

from typing import Any

import polars as pl

from opensafemlrm.analysis.coverage import (
    REPLY_COLUMNS,
    VERDICT_COLUMNS,
    not_applicable,
    reply_outcomes,
    verdict_outcomes,
)
from opensafemlrm.types import PARTS, ResponseStatus, TraceStatus, Unscored
from tests.support import records


def test_each_sample_is_counted_once_however_many_parts_and_judges_it_has(rows: Any) -> None:
    frame = pl.concat(
        rows([5.0, 0.0, None], part=str(part), judge=judge)
        for part in PARTS
        for judge in ("policy-rubric", "refusal")
    )
    (row,) = records(reply_outcomes(frame))
    assert (row.n, row.ok, row.closed) == (3, 3, 3)


def test_blocked_and_failed_are_shown_with_their_codes(rows: Any) -> None:
    """A provider's filter is an outcome of its own: neither a refusal nor an answer."""
    frame = pl.concat(
        [
            rows([5.0]),
            rows(
                [None] * 2,
                first=1,
                status="blocked",
                error_code="content_filter",
                reasoning_status=None,
            ),
            rows([None] * 3, first=3, status="failed", error_code="timeout", reasoning_status=None),
            rows(
                [None], first=6, status="failed", error_code="server_error", reasoning_status=None
            ),
            rows([None], first=7, status="truncated", reasoning_status="unclosed"),
        ]
    )
    (row,) = records(reply_outcomes(frame))
    assert (row.n, row.ok, row.truncated, row.blocked, row.failed) == (8, 1, 1, 2, 4)
    assert [(code["name"], code["n"]) for code in row.codes] == [
        ("timeout", 3),
        ("content_filter", 2),
        ("server_error", 1),
    ]
    assert (row.closed, row.unclosed, row.absent) == (1, 1, 0)


def test_verdicts_say_why_there_is_no_score(rows: Any) -> None:
    frame = pl.concat(
        [rows([5.0, 4.0, 0.0])]
        + [rows([None], first=3 + i, reason=str(r)) for i, r in enumerate(Unscored)]
    )
    (row,) = records(verdict_outcomes(frame))
    assert (row.n, row.safe, row.unsafe) == (3 + len(Unscored), 1, 2)
    assert {getattr(row, str(reason)) for reason in Unscored} == {1}


def test_every_outcome_of_the_types_has_a_column() -> None:
    """A reason added to the types and forgotten here would vanish from the table."""
    assert {str(s) for s in (*ResponseStatus, *TraceStatus)} <= set(REPLY_COLUMNS)
    assert {str(reason) for reason in Unscored} <= set(VERDICT_COLUMNS)


def test_outcomes_add_up(rows: Any) -> None:
    frame = pl.concat(
        [
            rows([5.0, 0.0, None]),
            rows([None], first=3, reason="failed", status="failed", error_code="x"),
        ]
    )
    (reply,), (verdict,) = records(reply_outcomes(frame)), records(verdict_outcomes(frame))
    ended = [reply.ok, reply.truncated, reply.blocked, reply.failed, reply.not_recorded]
    assert sum(ended) == reply.n
    assert verdict.safe + verdict.unsafe + verdict.unparsed + verdict.failed == verdict.n


def test_a_histogram_does_not_claim_to_know_how_its_replies_ended(rows: Any) -> None:
    frame = pl.concat(
        rows(
            [5.0, None],
            part=str(part),
            sample=None,
            item=None,
            reasoning_status=None,
            source="import",
        )
        for part in PARTS
    )
    (row,) = records(reply_outcomes(frame))
    assert (row.n, row.not_recorded, row.ok) == (2, 2, 0)


def test_replies_without_a_judge_are_covered_too(rows: Any) -> None:
    frame = rows(
        [None], judge=None, reason="not_judged", threshold_lenient=None, threshold_strict=None
    )
    assert reply_outcomes(frame)["ok"].to_list() == [1]
    (row,) = records(verdict_outcomes(frame))
    assert (row.judge, row.not_judged) == (None, 1)


def test_an_empty_frame_gives_empty_tables(rows: Any) -> None:
    for outcomes in (reply_outcomes(rows([])), verdict_outcomes(rows([]))):
        assert outcomes.is_empty()


def test_what_was_not_sent_is_counted_by_cell_with_a_reason(rows: Any) -> None:
    sent = rows([5.0, 0.0, None]).with_columns(
        attack=pl.Series(["typo", "typo", "sd"]),
        cell=pl.Series(["a", "a", "b"]),
        reason=pl.lit("x"),
    )
    found = not_applicable(sent).select("attack", "items", "example").rows()
    assert found == [("sd", 1, "x"), ("typo", 2, "x")]
