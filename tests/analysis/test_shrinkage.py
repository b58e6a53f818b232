"""Shrunken rates: fitted as scipy's beta-binomial says, and no small scenario wins by noise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, stats

from opensafemlrm.analysis.shrinkage import prior, shrink


def test_the_prior_makes_the_counts_most_likely() -> None:
    """Against scipy.stats.betabinom, searched without our grid."""
    hits = np.array([2.0, 30.0, 15.0, 60.0, 9.0, 80.0])
    n = np.array([44.0, 97.0, 109.0, 144.0, 130.0, 167.0])
    mean, weight = prior(hits, n)
    assert mean == pytest.approx((hits.sum() + 0.5) / (n.sum() + 1))

    def unlikelihood(log_weight: float) -> float:
        a, b = mean * np.exp(log_weight), (1 - mean) * np.exp(log_weight)
        return -float(np.sum(stats.betabinom.logpmf(hits, n.astype(int), a, b)))

    best = optimize.minimize_scalar(unlikelihood, bracket=(0.0, 3.0))
    assert weight == pytest.approx(np.exp(best.x), rel=1e-3)


def test_a_small_scenario_does_not_win_by_noise() -> None:
    """2 of 2 is a higher rate than 90 of 120, and says less."""
    hits, n = np.array([2.0, 90, 20, 25, 18, 24]), np.array([2.0, 120, 100, 110, 90, 100])
    assert int(np.argmax(hits / n)) == 0
    assert int(np.argmax(shrink(hits, n))) == 1


def test_scenarios_that_differ_by_chance_alone_are_drawn_together() -> None:
    rates = shrink(np.array([10.0, 11, 9, 10]), np.array([100.0, 100, 100, 100]))
    assert np.ptp(rates) < 0.001


def test_scenarios_that_differ_much_are_left_nearly_as_they_are() -> None:
    hits, n = np.array([5.0, 300, 500, 990]), np.full(4, 1000.0)
    assert shrink(hits, n) == pytest.approx(hits / n, abs=0.005)


def test_a_base_without_hits_has_a_rate_above_zero_and_unmeasured_scenarios_have_none() -> None:
    rates = shrink(np.array([0.0, 0, 0]), np.array([97.0, 163, 0]))
    assert (rates[:2] > 0).all()
    assert np.isnan(rates[2])
    assert np.isnan(shrink(np.zeros(2), np.zeros(2))).all()
