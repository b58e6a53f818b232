"""Over-refusal: benign items alone, and what is not known stays outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest

from opensafemlrm.analysis.intervals import rate_interval
from opensafemlrm.analysis.overrefusal import balance, overrefusal
from tests.support import records


def benign(rows: Any, refusals: Sequence[bool | None], **more: Any) -> Any:
    columns = {"expected": "benign", "part": "answer", **more}
    return rows([0.0] * len(refusals), **columns).with_columns(refusal=pl.Series(refusals))


def test_refusals_of_benign_items_are_counted_and_those_of_harmful_ones_are_not(rows: Any) -> None:
    harmful = rows([0.0] * 9, first=10, part="answer", refusal=True)
    frame = pl.concat([benign(rows, [True, False, False, None]), harmful])
    (row,) = records(overrefusal(frame, max_unscored=0.25))
    assert (row.n, row.known, row.refused) == (4, 3, 1)
    assert row.rate == pytest.approx(1 / 3)
    low, high = rate_interval(1, 3)
    assert (row.low, row.high) == (pytest.approx(float(low)), pytest.approx(float(high)))
    assert (row.rate_if_unknown_helped, row.rate_if_unknown_refused) == (0.25, 0.5)


def test_a_providers_filter_is_no_refusal_of_the_model(rows: Any) -> None:
    frame = pl.concat(
        [
            benign(rows, [False, False]),
            benign(rows, [None], first=2, status="blocked", error_code="content_filter"),
        ]
    )
    (row,) = records(overrefusal(frame, max_unscored=0.5))
    assert (row.rate, row.blocked) == (0.0, 1)


def test_safety_and_helpfulness_are_weighed_alike(rows: Any) -> None:
    """As MSSBench does: the mean of the accuracies on unsafe and on safe situations."""
    harmful = rows([5.0] * 30 + [0.0] * 70, first=100, part="answer")
    frame = pl.concat([benign(rows, [True] * 10 + [False] * 40), harmful])
    row = records(balance(frame))[0]
    assert (row.safety, row.helpfulness) == (pytest.approx(0.7), pytest.approx(0.8))
    assert row.balanced == pytest.approx(0.75)
    assert row.balanced_low < 0.75 < row.balanced_high
    assert row.balanced_high - row.balanced_low < row.helpfulness_high - row.helpfulness_low


def test_a_dataset_of_one_kind_has_no_balance(rows: Any) -> None:
    assert balance(benign(rows, [True])).is_empty()
    assert overrefusal(rows([5.0])).is_empty()


def test_scenarios_can_be_told_apart(rows: Any) -> None:
    frame = pl.concat([benign(rows, [True]), benign(rows, [False], first=1, scenario="02-B")])
    found = {row.scenario: row.rate for row in records(overrefusal(frame, by="scenario"))}
    assert found == {"01-A": 1.0, "02-B": 0.0}
