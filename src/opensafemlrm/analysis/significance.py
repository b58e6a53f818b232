"""Tests that agree with the intervals, and p-values adjusted for how many of them there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from opensafemlrm.analysis.intervals import Array, difference_interval

Rates: TypeAlias = tuple[Array, Array, Array, Array, Array]
"""Rate and number of independent samples of the left side and of the right, and correlation."""

_MAX_Z: Final = 8.0
_STEPS: Final = 30
_TIE: Final = 1 + 1e-7
"""Probabilities that differ by less are rounding apart, and taken for equal (as R does)."""


def mcnemar(worse: ArrayLike, better: ArrayLike) -> Array:
    """Return the two-sided p-value of McNemar's exact test, 1 where nothing is discordant.

    ``worse`` and ``better`` count the items on which one side is the more unsafe one. They need not
    be whole: then the binomial distribution is continued by the beta function. Source: McNemar,
    Psychometrika 12 (1947).
    """
    worse, better = np.asarray(worse, np.float64), np.asarray(better, np.float64)
    fewer, more = np.minimum(worse, better), np.maximum(worse, better)
    tail = special.betainc(np.maximum(more, 1e-9), fewer + 1, 0.5)
    return np.asarray(np.where(worse + better > 0, np.minimum(1.0, 2.0 * tail), 1.0))


def inverted(rates: Rates) -> Array:
    """Return the p-value that belongs to :func:`intervals.difference_interval`.

    ``rates`` are its arguments. It is 1 less the confidence at which the interval just reaches 0,
    so that it is at most 5 % exactly where the 95 % interval leaves 0 out. NaN where nothing was
    measured.
    """
    rate, n, rate0, n0, correlation = rates

    def leaves_out(z: Array) -> NDArray[np.bool_]:
        low, high = difference_interval(rate, n, rate0, n0, correlation, z)
        return (low > 0) | (high < 0)

    inside = widest(leaves_out, len(rate))
    return np.where((n > 0) & (n0 > 0), 2 * special.ndtr(-inside), np.nan)


def widest(clears: Callable[[Array], NDArray[np.bool_]], rows: int) -> Array:
    """Return for each of ``rows`` intervals the greatest width at which it ``clears``.

    Widths are in standard errors on either side. ``clears`` takes one for each row; an interval
    that clears at some width does at every smaller one. It is 0 where it clears at none.
    """
    inside, outside = np.zeros(rows), np.full(rows, _MAX_Z)
    for _ in range(_STEPS):
        z = (inside + outside) / 2
        cleared = clears(z)
        inside, outside = np.where(cleared, z, inside), np.where(cleared, outside, z)
    return inside


def fisher(rate: Array, n: Array, rate0: Array, n0: Array) -> Array:
    """Return the two-sided p-values of Fisher's exact test of a rate of ``n`` against another.

    Numbers that are not whole, as of clustered samples, are rounded; NaN where one side has none.
    Written out because thousands of tables take SciPy's own seconds; the tests hold the two against
    each other. Source: Fisher, Statistical Methods for Research Workers (1934), section 21.02.
    """
    p_values = np.full(len(n), np.nan)
    for i in np.flatnonzero((n > 0) & (n0 > 0) & np.isfinite(rate) & np.isfinite(rate0)):
        hits, misses = round(rate[i] * n[i]), round((1 - rate[i]) * n[i])
        hits0, misses0 = round(rate0[i] * n0[i]), round((1 - rate0[i]) * n0[i])
        p_values[i] = _fisher(hits, misses, hits0, misses0)
    return p_values


def _fisher(hits: int, misses: int, hits0: int, misses0: int) -> float:
    """Add up the probabilities of all tables with these margins that are no likelier than this."""
    n, total = hits + misses, hits + hits0
    first = max(0, total - hits0 - misses0)
    a = np.arange(first, min(n, total) + 1)
    cells = np.stack([a, n - a, total - a, misses0 - hits + a])
    log_weights = -special.gammaln(cells + 1).sum(axis=0)
    weights = np.exp(log_weights - log_weights.max())
    as_rare = weights <= weights[hits - first] * _TIE
    return min(1.0, float(weights[as_rare].sum() / weights.sum()))


def holm(p_values: ArrayLike) -> Array:
    """Return p-values adjusted to hold the family-wise error; NaN are no part of the family.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
    Statistics 6 (1979).
    """
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full_like(p, np.nan)
    order = np.argsort(p)[: int(np.isfinite(p).sum())]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted


def benjamini_hochberg(p_values: ArrayLike) -> Array:
    """Return p-values adjusted to hold the false discovery rate; NaN are no part of the family.

    Written out because to load scipy.stats for it takes half a second and 50 MB; the tests hold it
    against statsmodels. Source: Benjamini & Hochberg, Journal of the Royal Statistical Society B 57
    (1995).
    """
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full_like(p, np.nan)
    order = np.argsort(p)[: int(np.isfinite(p).sum())]
    steps = p[order] * (len(order) / np.arange(1, len(order) + 1))
    adjusted[order] = np.minimum(1.0, np.minimum.accumulate(steps[::-1])[::-1])
    return adjusted
