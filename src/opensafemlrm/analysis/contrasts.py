"""The contrast of two rates: difference and ratio, with intervals and p-values that agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

from opensafemlrm.analysis.intervals import (
    CONFIDENCE,
    Array,
    Limits,
    Z,
    difference_interval,
    difference_of,
    ratio_interval,
    ratio_of,
)
from opensafemlrm.analysis.significance import Rates, inverted

CONTRAST: Final = ("difference", "low", "high", "ratio", "ratio_low", "ratio_high", "p_value")
"""What :func:`contrast` returns."""
ALONE: Final = 1e-9
"""By how much more than one a number of groups has to be, rounding apart."""


def contrast(rates: Rates, exact: Array | None = None) -> dict[str, Array]:
    """Return difference and ratio of two rates, their intervals and the p-value, by name.

    The p-value is the greater of the interval's own (:func:`significance.inverted`) and that of an
    ``exact`` test. Where the exact test lets equal rates stand, the intervals are widened to hold
    them: so the p-value is at most 5 % exactly where the 95 % interval of the difference leaves out
    0, and that of the ratio 1.
    """
    ends = (*difference_interval(*rates), *ratio_interval(*rates))
    level = float(2 * special.ndtr(-Z))
    return _contrast(rates[0], rates[2], ends, inverted(rates), exact, level)


def holding(value: float, ends: Limits, stands: NDArray[np.bool_]) -> Limits:
    """Return intervals widened to hold a value where an exact test lets it stand."""
    low, high = ends
    return (
        np.where(stands, np.minimum(low, value), low),
        np.where(stands, np.maximum(high, value), high),
    )


def student_contrast(
    rates: tuple[Array, Array], variances: tuple[Array, Array], correlation: Array, groups: Array
) -> dict[str, Array]:
    """Return what :func:`contrast` does, of rates whose ``variances`` so many ``groups`` show.

    The intervals are Student's, with ``groups`` less one as degrees of freedom, and the p-value is
    the interval's own. It is never below 2^(1 − groups), the smallest that an exact test by the
    signs of so many differences can give: with fewer than six groups nothing is found, since then
    an interval of 95 % can hold only if the differences are normal. NaN for fewer than two groups.
    """
    p, q = rates
    t = _student(groups)
    half, half0 = (t * np.sqrt(variance) for variance in variances)
    limits = (p - half, p + half), (q - half0, q + half0)
    low, high = difference_of(p, q, *limits, correlation)
    ends = np.maximum(low, -1), np.minimum(high, 1), *ratio_of(p, q, *limits, correlation)
    with np.errstate(invalid="ignore", divide="ignore"):
        statistic = np.where(p == q, 0.0, 2 * t * np.abs(p - q) / (high - low))
    p_value = 2 * special.stdtr(groups - 1, -statistic)
    return _contrast(p, q, ends, p_value, np.exp2(1 - groups), 1 - CONFIDENCE)


def _contrast(
    p: Array,
    q: Array,
    ends: tuple[Array, Array, Array, Array],
    p_value: Array,
    exact: Array | None,
    level: float,
) -> dict[str, Array]:
    """Widen the intervals to hold equal rates where the ``exact`` test does not reject them."""
    low, high, ratio_low, ratio_high = ends
    if exact is not None:
        p_value = np.maximum(p_value, exact)
        stands = exact > level
        low, high = holding(0, (low, high), stands)
        ratio_low, ratio_high = holding(1, (ratio_low, ratio_high), stands)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = (p - q, low, high, p / q, ratio_low, ratio_high, p_value)
    return dict(zip(CONTRAST, values, strict=True))


def _student(groups: Array) -> Array:
    """Return Student's quantile of so many groups; NaN for fewer than two."""
    freedom = np.where(groups > 1 + ALONE, groups - 1, np.nan)
    return np.asarray(special.stdtrit(freedom, (1 + CONFIDENCE) / 2))


def student_factor(groups: Array) -> Array:
    """Return what share of a size is left when so many groups alone say how certain it is.

    It is (normal quantile / Student's)², as Korn & Graubard do ("Confidence intervals for
    proportions with small expected number of positive counts estimated from survey data", Survey
    Methodology 24 (1998)); NaN for fewer than two groups.
    """
    return np.asarray((Z / _student(groups)) ** 2)


def whatever_is_unscored(
    shares: Mapping[str, Array], contrasted: Callable[[Array, Array], Mapping[str, Array]]
) -> dict[str, Array]:
    """Return :data:`CONTRAST`'s interval ends and p-value that hold whatever has no score, and the
    bounds of the difference.

    ``shares`` are ``if_safe`` and ``if_unsafe`` of both sides, and ``contrasted`` is a contrast of
    two rates. Source: Horowitz & Manski, "Nonparametric analysis of randomized experiments with
    missing covariate and outcome data", JASA 95 (2000); the ends are those of the interval at
    either bound.
    """
    safe, unsafe = shares["if_safe"], shares["if_unsafe"]
    safe0, unsafe0 = shares["if_safe_right"], shares["if_unsafe_right"]
    least = greatest = contrasted(safe, unsafe0)
    if not (_same(safe, unsafe) and _same(safe0, unsafe0)):
        greatest = contrasted(unsafe, safe0)
    p_value = np.where(safe > unsafe0, least["p_value"], 1.0)
    return {
        "bound_low": least["difference"],
        "bound_high": greatest["difference"],
        **{name: least[name] for name in ("low", "ratio_low")},
        **{name: greatest[name] for name in ("high", "ratio_high")},
        "p_value": np.where(unsafe < safe0, greatest["p_value"], p_value),
    }


def _same(one: Array, other: Array) -> bool:
    return bool(np.array_equal(one, other, equal_nan=True))
