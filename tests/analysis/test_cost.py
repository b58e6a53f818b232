"""Cost: each sample once, whatever its parts and judges; unknown is not zero."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from opensafemlrm.analysis.cost import cost
from opensafemlrm.types import PARTS
from tests.support import records

USAGE: dict[str, Any] = {
    "input_tokens": 100,
    "output_tokens": 50,
    "reasoning_tokens": 20,
    "latency": 2.0,
    "retries": 1,
}


def test_a_sample_is_paid_once_and_every_verdict_of_it(rows: Any) -> None:
    judge = {"judge_requests": 1, "judge_input_tokens": 300, "judge_output_tokens": 50}
    frame = pl.concat(rows([5.0, 0.0], part=str(part), **USAGE, **judge) for part in PARTS)
    (row,) = records(cost(frame))
    assert (row.samples, row.requests, row.retries) == (2, 4, 2)
    assert (row.input_tokens, row.output_tokens, row.reasoning_tokens) == (200, 100, 40)
    assert (row.seconds, row.seconds_a_request) == (4.0, 2.0)
    assert (row.judge_requests, row.judge_input_tokens, row.judge_output_tokens) == (6, 1800, 300)
    assert row.judge_share == 2100 / 2400


def test_requests_of_searches_and_defenses_are_counted_in(rows: Any) -> None:
    calls = {
        "extra_requests": 3,
        "extra_retries": 1,
        "extra_input_tokens": 30,
        "extra_output_tokens": 6,
    }
    (row,) = records(cost(rows([5.0], extra_latency=6.0, **calls, **USAGE)))
    assert (row.requests, row.extra_requests, row.retries) == (6, 3, 2)
    assert (row.input_tokens, row.output_tokens, row.seconds) == (130, 56, 8.0)


def test_dollars_are_of_all_tokens_those_of_more_requests_too(rows: Any) -> None:
    """A reply in three stages was shown for a third of what it cost."""
    frame = rows([5.0], extra_requests=2, extra_input_tokens=30, extra_output_tokens=6, **USAGE)
    (row,) = records(cost(frame, {frame["model"][0]: (1000, 100)}))
    assert row.dollars == pytest.approx((130 * 1000 + 56 * 100) / 1e6)


def test_a_server_that_does_not_count_tokens_has_no_tokens_rather_than_zero(rows: Any) -> None:
    (row,) = records(cost(rows([5.0], retries=0)))
    assert (row.input_tokens, row.output_tokens, row.reasoning_tokens) == (None, None, None)
    assert (row.usage_known, row.judge_share, row.judge_input_tokens) == (0, None, None)


def test_a_sum_over_some_samples_says_over_how_many(rows: Any) -> None:
    frame = pl.concat([rows([5.0], **USAGE), rows([5.0], first=1, retries=0)])
    (row,) = records(cost(frame))
    assert (row.samples, row.usage_known, row.output_tokens) == (2, 1, 50)


def test_imported_results_say_nothing_of_their_cost(rows: Any) -> None:
    assert cost(rows([5.0], source="import", retries=0)).is_empty()
