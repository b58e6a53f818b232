"""Intervals of rates, of their differences and of their ratios.

A rate is given by its value and by the number of independent samples behind it. That number need
not be whole: repeats of one item, means over scenarios and means over models enter as the number
of independent samples that would be as uncertain (:mod:`opensafemlrm.analysis.clustered_counts`).

Everything takes arrays or numbers and is NaN where nothing was measured. Each is written out, and
the quantile of a gamma distribution as well, because loading statsmodels takes three seconds and
scipy.special a third of one, half as long as all the rest of a table; the tests hold them against
both.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE: Final = 0.95
Z: Final = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
"""How many standard errors wide intervals are on either side: 1.96."""
TAILS: Final = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
"""The quantiles between which the interval of a distribution lies."""
_NEWTON_STEPS: Final = 8
_SERIES: Final = np.arange(1.0, 60.0)

Array: TypeAlias = NDArray[np.float64]
Limits: TypeAlias = tuple[Array, Array]


def wilson(hits: ArrayLike, n: ArrayLike, z: ArrayLike = Z) -> Limits:
    """Return the ends of Wilson's score interval for ``hits`` of ``n``, as fractions in [0, 1].

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22
    (1927).
    """
    hits, n, z = _floats(hits), _floats(n), _floats(z)
    n = np.where(n > 0, n, np.nan)
    rate = hits / n
    centre = rate + z**2 / (2 * n)
    half = z * np.sqrt(np.maximum(rate * (1 - rate), 0) / n + (z / (2 * n)) ** 2)
    scale = 1 + z**2 / n
    # At the ends rounding would leave 1e-17 in place of 0, and a rate outside its own interval.
    low = np.where(hits <= 0, 0.0 * n, (centre - half) / scale)
    high = np.where(hits >= n, 1.0 + 0.0 * n, (centre + half) / scale)
    return low, high


def rate_interval(hits: ArrayLike, n: ArrayLike, z: ArrayLike = Z) -> Limits:
    """Return Wilson's interval with the ends adjusted next to 0 and 1: the interval of every rate.

    Wilson's lower end is too high at one to three hits, where rates of half a per cent live; there
    it is replaced by a Poisson bound (and the upper end next to 1 likewise). Source: Brown, Cai &
    DasGupta, "Interval estimation for a binomial proportion", Statistical Science 16 (2001),
    section 4.1.1.
    """
    hits, n, z = _floats(hits), _floats(n), _floats(z)
    low, high = wilson(hits, n, z)
    most = np.where(n <= 50, 2, 3)

    misses = n - hits
    few, few_misses = (hits > 0) & (hits <= most), (misses > 0) & (misses <= most)
    with np.errstate(invalid="ignore", divide="ignore"):
        low = np.where(few, np.minimum(low, _poisson(hits, few, z) / n), low)
        high = np.where(few_misses, np.maximum(high, 1 - _poisson(misses, few_misses, z) / n), high)
    return low, high


def difference_interval(
    rate: ArrayLike,
    n: ArrayLike,
    rate0: ArrayLike,
    n0: ArrayLike,
    correlation: ArrayLike = 0.0,
    z: ArrayLike = Z,
) -> Limits:
    """Return Newcombe's hybrid score interval of ``rate − rate0``, in [−1, 1].

    ``correlation`` is that of the two outcomes of one item, 0 for independent samples (estimated:
    :func:`cautious_correlation`). The limits of each rate are those of :func:`rate_interval`, which
    are Wilson's but for one to three hits or misses. Source: Newcombe, "Interval estimation for the
    difference between independent proportions", method 10, and "Improved confidence intervals for
    the difference between binomial proportions based on paired data", method 10, both Statistics
    in Medicine 17 (1998).
    """
    p, q, r = _floats(rate), _floats(rate0), _floats(correlation)
    return difference_of(p, q, *_limits(p, n, q, n0, z), r)


def difference_of(p: Array, q: Array, of_p: Limits, of_q: Limits, r: Array) -> Limits:
    """Return the limits of ``p − q`` recovered from those of each, whose correlation is ``r``."""
    (low, high), (low0, high0) = of_p, of_q

    def half(a: Array, b: Array) -> Array:
        return np.sqrt(np.maximum(a**2 - 2 * r * a * b + b**2, 0))

    difference = p - q
    return difference - half(p - low, high0 - q), difference + half(high - p, q - low0)


def ratio_interval(
    rate: ArrayLike,
    n: ArrayLike,
    rate0: ArrayLike,
    n0: ArrayLike,
    correlation: ArrayLike = 0.0,
    z: ArrayLike = Z,
) -> Limits:
    """Return the interval of ``rate / rate0`` made of the same limits as the difference's.

    It holds 1 just where :func:`difference_interval` holds 0. The upper end is infinite where the
    data set none (no hit in ``rate0``). Source: Donner & Zou, "Closed-form confidence intervals for
    functions of the normal mean and standard deviation", Statistical Methods in Medical Research
    21 (2012): the method of variance estimates recovery for ratios.
    """
    p, q, r = _floats(rate), _floats(rate0), _floats(correlation)
    return ratio_of(p, q, *_limits(p, n, q, n0, z), r)


def ratio_of(p: Array, q: Array, of_p: Limits, of_q: Limits, r: Array) -> Limits:
    """Return the limits of ``p / q`` recovered from those of each, whose correlation is ``r``.

    Of symmetric limits they are Fieller's ("Some problems in interval estimation", JRSS B 16,
    1954); of two pieces that may be left, the one that holds the estimate.
    """
    (low, high), (low0, high0) = of_p, of_q
    # A ratio t is in the interval if the interval of p − t·q holds 0. That is a quadratic in t;
    # each end is written in the form that does not divide by what may be 0.
    with np.errstate(invalid="ignore", divide="ignore"):
        a = p * q - r * (p - low) * (high0 - q)
        b, c = low * (2 * p - low), high0 * (2 * q - high0)
        root = a**2 - b * c
        lower = b / (a + np.sqrt(np.maximum(root, 0)))
        beyond_gap = (b <= 0) & (c < 0) & (a < 0) & (root > 0) & (p >= lower * q)
        lower = np.where((b <= 0) & ~beyond_gap, 0.0 * p, lower)
        a = p * q - r * (high - p) * (q - low0)
        b, c = high * (2 * p - high), low0 * (2 * q - low0)
        root = a**2 - b * c
        upper = (a + np.sqrt(np.maximum(root, 0))) / c
        before_gap = (b < 0) & (c < 0) & (a < 0) & (root > 0) & (p <= upper * q)
        upper = np.where((c <= 0) & ~before_gap, np.where(np.isnan(p + q), np.nan, np.inf), upper)
    return lower, upper


def cautious_correlation(correlation: Array, rate: Array, rate0: Array, n: Array) -> Array:
    """Return an estimated correlation, with Newcombe's correction for continuity if it is above 0.

    A chance coincidence of rare hits looks like a high correlation, which would make the interval
    too short.
    """
    spread = np.sqrt(rate * (1 - rate) * rate0 * (1 - rate0))
    with np.errstate(invalid="ignore", divide="ignore"):
        cautious = np.where(spread > 0, np.maximum(correlation - 1 / (2 * n * spread), 0), 0.0)
    return np.where(correlation > 0, cautious, correlation)


def _limits(
    rate: Array, n: ArrayLike, rate0: Array, n0: ArrayLike, z: ArrayLike
) -> tuple[Limits, Limits]:
    n, n0 = _floats(n), _floats(n0)
    return rate_interval(rate * n, n, z), rate_interval(rate0 * n0, n0, z)


def _poisson(hits: Array, few: NDArray[np.bool_], z: Array) -> Array:
    """Return the lower bound of the mean of a Poisson count where it is ``few``, elsewhere NaN."""
    hits, few, z = np.broadcast_arrays(hits, few, z)
    bounds = np.full(few.shape, np.nan)
    if few.any():
        tails = np.vectorize(math.erfc, otypes=[np.float64])  # of a standard normal
        bounds[few] = _gamma_quantile(hits[few], tails(z[few] / math.sqrt(2)))
    return bounds


def _gamma_quantile(shape: Array, probability: Array) -> Array:
    """Return quantiles of gamma distributions of small ``shape``.

    Newton's method on the logarithm of the distribution's series (Abramowitz & Stegun 6.5.29) over
    the logarithm of x: concave, and begun at its left, it never steps beyond the quantile.
    """
    log_probability = np.log(probability)
    log_gamma = np.vectorize(math.lgamma, otypes=[np.float64])(shape + 1)
    log_x = (log_probability + log_gamma) / shape
    for _ in range(_NEWTON_STEPS):
        x = np.exp(log_x)
        series = 1 + np.cumprod(x / np.add.outer(_SERIES, shape), axis=0).sum(axis=0)
        log_value = shape * log_x - x - log_gamma + np.log(series)
        log_x = log_x + (log_probability - log_value) * series / shape
    return np.asarray(np.exp(log_x), dtype=np.float64)


def _floats(values: ArrayLike) -> Array:
    return np.asarray(values, dtype=np.float64)
