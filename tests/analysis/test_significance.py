"""Exact tests and adjusted p-values, compared with scipy and statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests

from opensafemlrm.analysis.significance import benjamini_hochberg, fisher, holm, mcnemar

COUNT = st.integers(0, 80)


@given(COUNT, COUNT)
def test_mcnemar_equals_statsmodels(worse: int, better: int) -> None:
    expected = statsmodels_mcnemar([[7, worse], [better, 9]], exact=True).pvalue
    assert float(mcnemar([worse], [better])[0]) == pytest.approx(
        1.0 if worse == better else expected
    )


@given(COUNT, COUNT, COUNT, COUNT)
def test_fisher_equals_scipy(a: int, b: int, c: int, d: int) -> None:
    n, m = a + b, c + d
    rates = [np.array([x / k if k else np.nan]) for x, k in ((a, n), (c, m))]
    found = float(fisher(rates[0], np.array([n]), rates[1], np.array([m]))[0])
    if n and m:
        assert found == pytest.approx(
            stats.fisher_exact(np.array([[a, b], [c, d]])).pvalue, rel=1e-6
        )
    else:
        assert np.isnan(found)


def test_fishers_own_example() -> None:
    """Fisher's convicted twins: 2 of 17 and 10 of 13; 0.00054 two-sided (R's fisher.test)."""
    found = fisher(np.array([2 / 17]), np.array([17]), np.array([10 / 13]), np.array([13]))
    assert round(float(found[0]), 5) == 0.00054


@pytest.mark.parametrize("size", [1, 2, 3, 10, 20])
def test_adjusted_p_values_equal_statsmodels(size: int) -> None:
    p_values = np.random.default_rng(size).random(size) ** 3
    p_values[-1] = p_values[0]
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])
    assert benjamini_hochberg(p_values) == pytest.approx(
        multipletests(p_values, method="fdr_bh")[1]
    )


def test_what_was_not_measured_is_no_part_of_the_family() -> None:
    """An unmeasured scenario must neither cost the others power nor get a p-value."""
    for adjust in (holm, benjamini_hochberg):
        adjusted = adjust([0.01, np.nan, 0.04])
        assert adjusted[[0, 2]] == pytest.approx(adjust([0.01, 0.04]))
        assert np.isnan(adjusted[1])
        assert np.isnan(adjust([np.nan])).all()
