"""Rates drawn towards what they have in common, the more so the fewer samples they have."""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy import optimize, special

from opensafemlrm.analysis.intervals import Array

_WEIGHTS: Final = (1.0, 1e5)
"""The least and the greatest weight of the prior, in samples."""


def shrink(hits: Array, n: Array) -> Array:
    """Return the rates of one family of scenarios, shrunken towards their common rate.

    Each rate is the posterior mean under a beta prior: its mean is the family's rate over all
    samples (half a hit added to hits and misses, so that it is never 0), its weight in samples is
    the one that makes the family's counts most likely (beta-binomial, empirical Bayes). Scenarios
    that differ no more than chance would have it are drawn together wholly. NaN where ``n`` is 0.
    Source: Casella, "An introduction to empirical Bayes data analysis", The American Statistician
    39 (1985); beta-binomial likelihood: Skellam, JRSS B 10 (1948).
    """
    known = n > 0
    shrunken = np.full(len(n), np.nan)
    if known.any():
        mean, weight = prior(hits[known], n[known])
        shrunken[known] = (hits[known] + weight * mean) / (n[known] + weight)
    return shrunken


def prior(hits: Array, n: Array) -> tuple[float, float]:
    """Return the mean and the weight of the prior that :func:`shrink` uses."""
    mean = (hits.sum() + 0.5) / (n.sum() + 1)

    def unlikelihood(log_weight: float) -> float:
        a, b = mean * np.exp(log_weight), (1 - mean) * np.exp(log_weight)
        return -float(np.sum(special.betaln(hits + a, n - hits + b) - special.betaln(a, b)))

    low, high = np.log(_WEIGHTS)
    # The likelihood may have a second, flat top at the end of the range: the best of a grid is
    # where the search begins.
    grid = np.linspace(low, high, 24)
    best = int(np.argmin([unlikelihood(one) for one in grid]))
    found = optimize.minimize_scalar(
        unlikelihood,
        bounds=(grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]),
        method="bounded",
    )
    return float(mean), float(np.exp(found.x))
