"""Wilson's interval, held against statsmodels' own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from opensafemlrm.analysis.intervals import wilson


@given(st.integers(1, 10**7).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_it_equals_statsmodels_and_holds_the_rate(case: tuple[int, int]) -> None:
    hits, n = case
    low, high = wilson([hits], [n])
    expected = proportion_confint(hits, n, alpha=0.05, method="wilson")
    assert (low[0], high[0]) == pytest.approx(expected, abs=1e-9)
    assert 0 <= low[0] <= hits / n <= high[0] <= 1


def test_nothing_measured_has_no_interval() -> None:
    low, high = wilson([0, 1], [0, 2])
    assert np.isnan(low[0])
    assert np.isnan(high[0])
    assert not np.isnan(low[1])


def test_the_ends_are_exact() -> None:
    low, high = wilson([0, 7], [7, 7])
    assert low[0] == 0
    assert high[1] == 1
