"""Intervals, compared with statsmodels' own and against published worked examples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from opensafemlrm.analysis.intervals import (
    cautious_correlation,
    difference_interval,
    rate_interval,
    ratio_interval,
    wilson,
)

COUNTS = st.integers(1, 10**7).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
SMALL = st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(COUNTS)
def test_wilson_equals_statsmodels_and_holds_the_rate(case: tuple[int, int]) -> None:
    hits, n = case
    low, high = wilson([hits], [n])
    expected = proportion_confint(hits, n, alpha=0.05, method="wilson")
    assert (low[0], high[0]) == pytest.approx(expected, abs=1e-9)
    assert 0 <= low[0] <= hits / n <= high[0] <= 1


def test_nothing_measured_has_no_interval() -> None:
    for interval in (wilson, rate_interval):
        low, high = interval([0, 1], [0, 2])
        assert np.isnan(low[0])
        assert np.isnan(high[0])
        assert not np.isnan(low[1])


@pytest.mark.parametrize("interval", [wilson, rate_interval])
def test_the_ends_are_exact(interval) -> None:
    low, high = interval([0, 7], [7, 7])
    assert low[0] == 0
    assert high[1] == 1


@given(SMALL)
def test_the_interval_of_a_rate_is_wilsons_away_from_the_ends(case: tuple[int, int]) -> None:
    hits, n = case
    low, high = (float(end) for end in rate_interval(hits, n))
    wilson_low, wilson_high = (float(end) for end in wilson(hits, n))
    assert low <= wilson_low <= hits / n <= wilson_high <= high
    if hits > 3 and n - hits > 3:
        assert (low, high) == (wilson_low, wilson_high)


@given(st.floats(0.05, 3), st.integers(60, 1000))
def test_next_to_the_ends_it_has_the_poisson_bound(hits: float, n: int) -> None:
    """Brown, Cai & DasGupta (2001), section 4.1.1: half a chi-square quantile of 2 × hits."""
    bound = stats.chi2.ppf(0.05, 2 * hits) / 2 / n
    low, _ = rate_interval(hits, n)
    _, high = rate_interval(n - hits, n)
    assert low == pytest.approx(min(bound, float(wilson(hits, n)[0])), rel=1e-10)
    assert high == pytest.approx(max(1 - bound, float(wilson(n - hits, n)[1])), rel=1e-10)


def test_plain_wilson_falls_short_where_the_study_lives() -> None:
    """One hit in two hundred, 109 items: exact coverage, no simulation."""
    hits = np.arange(110)
    chance = stats.binom.pmf(hits, 109, 0.005)

    def coverage(interval) -> float:
        low, high = interval(hits, np.full(110, 109))
        return float(chance[(low <= 0.005) & (high >= 0.005)].sum())

    assert coverage(wilson) == pytest.approx(0.896, abs=5e-4)
    assert coverage(rate_interval) > 0.95


def test_next_to_zero_the_lower_end_is_the_poisson_bound_of_brown_cai_and_dasgupta() -> None:
    """Brown, Cai & DasGupta (2001), section 4.1.1: λ/n with λ = ½ χ²(2x; 0.05)."""
    for hits in (1, 2, 3):
        low, _ = rate_interval(hits, 109)
        assert float(low) == pytest.approx(0.5 * stats.chi2.ppf(0.05, 2 * hits) / 109)
    _, high = rate_interval(107, 109)
    assert float(high) == pytest.approx(1 - 0.5 * stats.chi2.ppf(0.05, 4) / 109)


@given(SMALL, SMALL)
def test_the_unpaired_difference_is_newcombes_as_statsmodels_has_it(
    one: tuple[int, int], other: tuple[int, int]
) -> None:
    (x, n), (y, m) = one, other
    found = [float(end) for end in difference_interval(x / n, n, y / m, m)]
    if min(x, n - x, y, m - y) > 3:
        expected = confint_proportions_2indep(x, n, y, m, compare="diff", method="newcomb")
        assert found == pytest.approx(expected, abs=1e-9)
    assert found[0] <= x / n - y / m <= found[1]


def test_the_worked_example_of_newcombe_for_independent_samples() -> None:
    """Newcombe, Statistics in Medicine 17 (1998) 873, table II (a): 56/70 and 48/80, method 10."""
    found = difference_interval(56 / 70, 70, 48 / 80, 80)
    assert [round(float(end), 4) for end in found] == [0.0524, 0.3339]


def test_the_worked_example_of_newcombe_for_paired_samples() -> None:
    """Newcombe, Statistics in Medicine 17 (1998) 2635: cells 36, 12, 2, 0, method 10.

    The published upper end, 0.3404, rests on Wilson's end for 2 misses of 50, which is mended here.
    """
    correlation = (36 * 0 - 12 * 2) / np.sqrt(48 * 2 * 38 * 12)
    low, high = difference_interval(48 / 50, 50, 38 / 50, 50, correlation)
    assert round(float(low), 4) == 0.0569
    assert 0.3404 < float(high) < 0.345


def test_a_correlation_is_corrected_as_newcombe_corrects_it() -> None:
    """His φ has max(ad − bc − n/2, 0) in place of ad − bc where that is above 0."""
    a, b, c, d = 20, 12, 5, 13
    n, x, y = 50, 32, 25
    margins = np.sqrt(x * (n - x) * y * (n - y))
    found = cautious_correlation(
        np.array([(a * d - b * c) / margins]), np.array([x / n]), np.array([y / n]), np.array([n])
    )
    assert float(found[0]) == pytest.approx((a * d - b * c - n / 2) / margins)


@given(SMALL, SMALL, st.floats(-0.9, 0.9))
def test_ratio_and_difference_never_contradict_each_other(
    one: tuple[int, int], other: tuple[int, int], correlation: float
) -> None:
    """A row in which the ratio is sure and the difference is not would show two truths."""
    (x, n), (y, m) = one, other
    low, high = (float(end) for end in difference_interval(x / n, n, y / m, m, correlation))
    ratio_low, ratio_high = (float(end) for end in ratio_interval(x / n, n, y / m, m, correlation))
    if min(abs(low), abs(high)) > 1e-9:
        assert (low > 0) == (ratio_low > 1)
        assert (high < 0) == (ratio_high < 1)
    if y:
        assert ratio_low - 1e-9 <= (x / n) / (y / m) <= ratio_high + 1e-9


def test_a_ratio_to_a_base_without_hits_has_a_lower_end_and_no_upper() -> None:
    low, high = ratio_interval(0.4, 100, 0.0, 100)
    assert 1 < float(low) < np.inf
    assert np.isinf(high)
    low, high = ratio_interval(0.0, 100, 0.0, 100)
    assert float(low) == 0
    assert np.isinf(high)


def test_the_ratio_is_close_to_the_score_interval_of_statsmodels() -> None:
    found = [float(end) for end in ratio_interval(51 / 96, 96, 30 / 97, 97)]
    expected = confint_proportions_2indep(51, 96, 30, 97, compare="ratio", method="score")
    assert found == pytest.approx(expected, rel=0.02)
