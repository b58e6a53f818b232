"""Intervals that hold far out in the tails, where many of them are to hold together.

Next to 0 and 1 Wilson's ends (:mod:`opensafemlrm.analysis.intervals`) are good at 95 %, but at the
confidence that each of forty checks needs, they are wrong up to fifteen times as often as they say.
Those here are made of exact ends of binomial counts, and are never too short by much.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from opensafemlrm.analysis.intervals import Array, Limits, Z, difference_of, ratio_of
from opensafemlrm.analysis.significance import Rates

Pairs: TypeAlias = tuple[Array, Array, Array]
"""The share of items on which the left side is the worse one, that on which it is the better one,
and the number of independent items; NaN where the sides are not paired."""
CERTAIN: Final = 1e300
"""The size of a side that is certain."""
_NOTHING: Final = 1e-300


def binomial_limits(hits: ArrayLike, n: ArrayLike, z: ArrayLike = Z) -> Limits:
    """Return the exact ends of a rate of ``hits`` of ``n``, each wrong as often as ``z`` says.

    Neither needs be whole. NaN where ``n`` is 0. Source: Clopper & Pearson, "The use of confidence
    or fiducial limits illustrated in the case of the binomial", Biometrika 26 (1934).
    """
    hits, n = np.asarray(hits, np.float64), np.asarray(n, np.float64)
    n = np.where(n > 0, n, np.nan)
    tail, misses = special.ndtr(-np.asarray(z, np.float64)), n - hits
    low = special.betaincinv(np.maximum(hits, _NOTHING), misses + 1, tail)
    high = special.betainccinv(hits + 1, np.maximum(misses, _NOTHING), tail)
    return np.where(hits <= 0, 0.0 * n, low), np.where(misses <= 0, 1.0 + 0.0 * n, high)


def difference_limits(rates: Rates, pairs: Pairs | None = None, z: ArrayLike = Z) -> Limits:
    """Return the ends of the difference of two rates, from exact ends of each.

    Where the two sides answer the same items, the difference is the share of items on which one is
    worse less the share on which the other is; the two shares exclude each other, which says how
    they correlate. Of two rates that correlate by what was estimated the ends would be wrong up to
    ten times as often far out, where nearly all items that differ do so one way. Source: Newcombe's
    method 10 (:func:`intervals.difference_interval`), here with exact ends.
    """
    p, _, q, _, r = rates
    low, high = difference_of(p, q, *_limits(rates, z), r)
    if pairs is None:
        return low, high
    worse, better, items = pairs
    with np.errstate(invalid="ignore", divide="ignore"):
        r = -np.sqrt(worse * better / ((1 - worse) * (1 - better)))
    of_worse, of_better = (binomial_limits(x * items, items, z) for x in (worse, better))
    r = np.where(np.isfinite(r), r, 0.0)
    paired = difference_of(worse, better, of_worse, of_better, r)
    is_paired = np.isfinite(items)
    return np.where(is_paired, paired[0], low), np.where(is_paired, paired[1], high)


def ratio_limits(rates: Rates, z: ArrayLike = Z) -> Limits:
    """Return the ends of the ratio of two rates, from exact ends of each.

    With Wilson's the upper end misses up to twelve times as often as it says, far out and where the
    right side's rate is small. Source: that of :func:`intervals.ratio_interval`.
    """
    p, _, q, _, r = rates
    return ratio_of(p, q, *_limits(rates, z), r)


def _limits(rates: Rates, z: ArrayLike) -> tuple[Limits, Limits]:
    p, n, q, n0, _ = rates
    low0, high0 = binomial_limits(q * n0, n0, z)
    of_q = np.where(n0 < CERTAIN, low0, q), np.where(n0 < CERTAIN, high0, q)
    return binomial_limits(p * n, n, z), of_q
