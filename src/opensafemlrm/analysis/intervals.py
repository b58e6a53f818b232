"""Intervals of rates."""

from __future__ import annotations

from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE: Final = 0.95


def wilson(
    hits: ArrayLike, n: ArrayLike, confidence: float = CONFIDENCE
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the ends of Wilson's score interval for ``hits`` of ``n``, as fractions in [0, 1].

    Takes arrays or numbers. Where ``n`` is 0 both ends are NaN: nothing was measured. Source:
    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).

    Written out because importing it from statsmodels takes three seconds; the tests hold the two
    against each other.
    """
    hits, n = np.asarray(hits, dtype=np.float64), np.asarray(n, dtype=np.float64)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    n = np.where(n > 0, n, np.nan)
    rate = hits / n
    centre = rate + z**2 / (2 * n)
    half = z * np.sqrt(rate * (1 - rate) / n + (z / (2 * n)) ** 2)
    scale = 1 + z**2 / n
    # At the ends rounding would leave 1e-17 in place of 0, and a rate outside its own interval.
    low = np.where(hits == 0, 0.0 * n, (centre - half) / scale)
    high = np.where(hits == n, 1.0 + 0.0 * n, (centre + half) / scale)
    return low, high
