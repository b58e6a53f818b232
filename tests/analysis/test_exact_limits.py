"""Intervals that hold far out: each end is wrong no more often than it says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from opensafemlrm.analysis.exact_limits import (
    CERTAIN,
    binomial_limits,
    difference_limits,
    ratio_limits,
)
from opensafemlrm.analysis.intervals import Array

NONE = np.array([np.nan])


def test_limits_of_a_rate_are_clopper_and_pearsons() -> None:
    for hits, n in ((0, 20), (1, 20), (4, 20), (20, 20), (30, 200)):
        for confidence in (0.95, 0.9999):
            test = stats.binomtest(hits, n).proportion_ci(confidence, method="exact")
            z = -special.ndtri((1 - confidence) / 2)
            assert binomial_limits(hits, n, z) == pytest.approx((test.low, test.high), abs=1e-9)
    assert np.isnan(binomial_limits(0, 0)).all()


def test_a_side_that_is_certain_adds_nothing() -> None:
    rate, n = np.array([0.2]), np.array([20.0])
    nothing = np.array([0.0]), np.array([CERTAIN]), np.array([0.0])
    low, high = difference_limits((rate, n, *nothing), (NONE, NONE, NONE), 3.0)
    assert (low[0], high[0]) == pytest.approx([end[0] for end in binomial_limits([4], [20], 3.0)])


@pytest.mark.parametrize("n", [20, 60])
@pytest.mark.parametrize(
    ("worse", "better"),
    [(0.25, 0), (0.1, 0), (0.05, 0), (0.2, 0.1), (0.1, 0.1), (0.3, 0.3), (0.07, 0.02), (0.1, 0.3)],
)
def test_ends_of_paired_sides_are_wrong_as_often_as_they_say(
    n: int, worse: float, better: float
) -> None:
    """Newcombe's with Wilson's ends missed 17 times as often, where all that differ do one way."""
    counts = [(w, b) for w in range(n + 1) for b in range(n + 1 - w)]
    w, b = (np.array(one, dtype=np.float64) for one in zip(*counts, strict=True))
    shares = [worse, better, 1 - worse - better]
    chance = stats.multinomial.pmf(np.stack([w, b, n - w - b], axis=1), n, shares)
    items = np.full(len(w), float(n))
    # The rates matter only where the sides are not paired.
    rates: tuple[Array, Array, Array, Array, Array] = (w / n, items, b / n, items, 0 * items)
    for error in (0.025, 0.0025, 0.0005):
        z = -special.ndtri(error)
        low, high = difference_limits(rates, (w / n, b / n, items), z)
        assert np.sum(chance * (low > worse - better + 1e-12)) <= 1.25 * error
        assert np.sum(chance * (high < worse - better - 1e-12)) <= 1.25 * error


@pytest.mark.parametrize("n", [20, 100])
@pytest.mark.parametrize(("rate", "rate0"), [(0.5, 0.1), (0.2, 0.02), (0.8, 0.2), (0.5, 0.5)])
def test_ends_of_a_ratio_are_wrong_as_often_as_they_say(n: int, rate: float, rate0: float) -> None:
    """With Wilson's ends the upper one missed twelve times as often, where few of a base are."""
    counts = np.arange(n + 1)
    p, q = (side.ravel() / n for side in np.meshgrid(counts, counts, indexing="ij"))
    chance = np.outer(stats.binom.pmf(counts, n, rate), stats.binom.pmf(counts, n, rate0)).ravel()
    size = np.full(len(p), float(n))
    for error in (0.025, 0.0025, 0.0004):
        low, high = ratio_limits((p, size, q, size, 0 * p), -special.ndtri(error))
        assert np.sum(chance * (low > rate / rate0 + 1e-12)) <= error
        assert np.sum(chance * (high < rate / rate0 - 1e-12)) <= error
