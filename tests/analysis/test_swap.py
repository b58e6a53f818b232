"""The test of the probe: exact where nothing changed, and sharp where something did."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from opensafemlrm.analysis.swap import DISTANCE, Swap, swap_test


def compared(values: Any, new: int = 1, **options: Any) -> Swap:
    """Compare the last replies of each request with the others; values: requests × replies."""
    table = np.asarray(values, dtype=float)
    requests, replies = table.shape
    request = np.repeat(np.arange(requests), replies)
    is_new = np.tile(np.arange(replies) >= replies - new, requests)
    return swap_test({"length": table.ravel()}, request, is_new, **options)


def test_the_p_value_is_the_share_of_choices_that_look_as_unlike() -> None:
    """Three requests with four earlier replies alike, and a new one unlike them: 1 of 125."""
    exact = compared([[0, 0, 0, 0, 1]] * 3, draws=20_000).p_value
    assert exact == pytest.approx(1 / 125, rel=0.25)


def test_of_an_unchanged_model_p_values_are_as_rare_as_they_say() -> None:
    rng = np.random.default_rng(3)
    p = np.array(
        [
            compared(rng.random((15, 5)) < rng.random((15, 1)), draws=199, seed=i).p_value
            for i in range(300)
        ]
    )
    for level in (0.05, 0.1, 0.5):
        assert (p <= level).mean() <= level + 2 * (level * (1 - level) / len(p)) ** 0.5


def test_what_moved_is_named_with_its_direction() -> None:
    rng = np.random.default_rng(4)
    longer = compared(rng.normal(0, 1, (20, 5)) + np.array([0, 0, 0, 0, 3]))
    assert longer.statistic == "length"
    assert longer.z > 3
    both_ways = rng.normal(0, 0.1, (20, 5))
    both_ways[:, 4] += np.where(np.arange(20) % 2, 5, -5)
    found = compared(both_ways)
    assert (found.statistic, found.p_value) == (DISTANCE, 1 / 5000)


@pytest.mark.parametrize(
    "values", [[[1, 1, 1, 1, 1]] * 4, [[0]] * 4, np.zeros((0, 5))], ids=["same", "alone", "none"]
)
def test_where_nothing_can_differ_nothing_is_seen(values: Any) -> None:
    assert compared(values).p_value == 1


def test_requests_may_have_any_number_of_replies_in_any_order() -> None:
    request = np.array([2, 0, 0, 2, 1, 0, 7])
    is_new = np.array([True, False, True, False, False, False, True])
    features = {"a": np.arange(7.0), "b": np.zeros(7)}
    found = swap_test(features, request, is_new, draws=99)
    order = np.random.default_rng(0).permutation(7)
    again = {name: values[order] for name, values in features.items()}
    assert 0 < found.p_value <= 1
    assert swap_test(again, request[order], is_new[order], draws=99).z == pytest.approx(found.z)
