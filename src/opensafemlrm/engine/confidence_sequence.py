"""What may be said of a whole data set before all of it was run, however often one looks.

Items are drawn in a random order, none twice, and each has a value: whether a reply is unsafe, or
by how much two models differ. Somebody bets against a candidate for the mean over *all* items, at
odds that are fair if the candidate is right: then the capital ever reaches 1 / alpha with
probability alpha at most. Candidates against whom that much was won are out, for good. The odds
know that what was drawn is not among what is left, so that after the last item nothing is in doubt.

So long as ``size`` is given, the claim is about the items of the data set and the replies they got:
what a whole run would show. Without it, it is about all items like them, of which these are a
sample; that takes more of them.

Source: Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting", Journal of
the Royal Statistical Society B 86 (2024), sections 4 and 5. Where they bet one share of the capital
after the other, here part of it is bet at each of some shares, for which the same bound holds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import NormalDist
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array: TypeAlias = NDArray[np.float64]
ALPHA: Final = 0.05
"""How often a decision, or any interval of a sequence, may be wrong."""
_SHARES_OF_RATES: Final = 1 / (1 + np.exp(-np.arange(-5.0, 3.2, 0.4)))
"""Shares of the capital that are bet, 0.7 to 95 %: small ones find out what is rare."""
_SHARES_OF_DIFFERENCES: Final = np.linspace(0.1, 0.9, 9)
_CANDIDATES: Final = 501
_NOTHING: Final = 1e-12
_Z: Final = NormalDist().inv_cdf(0.975)


class _Evidence:
    """What was won by betting that the mean over all items is above each of some candidates."""

    def __init__(self, candidates: ArrayLike, size: int | None, low: float, shares: Array) -> None:
        self._candidates = np.asarray(candidates, dtype=float)
        self._size, self._low, self._shares = size, low, shares
        self._capitals = np.zeros((len(self._candidates), len(shares)))
        self._count, self._sum = 0, 0.0
        self._richest = np.zeros(len(self._candidates))

    def draw(self, value: float) -> None:
        """Take the value of the next item, at least ``low``."""
        mean, total = self._candidates, None
        if self._size is not None:
            total = self._size * self._candidates
            mean = (total - self._sum) / (self._size - self._count)  # of what is left
        room = np.maximum(mean - self._low, _NOTHING)
        won = self._shares * ((value - mean) / room)[:, None]
        self._capitals += np.log1p(np.maximum(won, _NOTHING - 1))
        self._sum += value
        self._count += 1
        top = self._capitals.max(axis=1)
        capital = top + np.log(np.exp(self._capitals - top[:, None]).mean(axis=1))
        if self._size is not None and total is not None:
            # Not even the lowest values in all that is left would bring the mean down to these.
            least = self._sum + self._low * (self._size - self._count)
            capital = np.where(least > total + _NOTHING, math.inf, capital)
        self._richest = np.maximum(self._richest, capital)

    def shows(self, alpha: float) -> NDArray[np.bool_]:
        """Whether the mean is above each candidate; any of it is wrong with chance ``alpha``."""
        return self._richest >= math.log(1 / alpha)

    @property
    def p_values(self) -> Array:
        """The least ``alpha`` at which each candidate is shown to be too low."""
        return np.exp(-self._richest)

    def keep(self, chosen: NDArray[np.bool_]) -> None:
        """Go on with some of the candidates."""
        self._candidates, self._richest = self._candidates[chosen], self._richest[chosen]
        self._capitals = self._capitals[chosen]


class ConfidenceSequence:
    """Intervals for the mean of values between 0 and 1, one after each item.

    All of them together hold it with a probability of 95 %. For ``differences``, which lie between
    -1 and 1, it is 90 %, so that each end is as sure as a :class:`Decision`. ``errors`` are other
    probabilities with which the lower and the upper end are wrong. ``size`` is the number of all
    items; ``None`` for a claim about items like these.
    """

    def __init__(
        self,
        size: int | None,
        *,
        differences: bool = False,
        errors: tuple[float, float] | None = None,
    ) -> None:
        low, shares = _range_of(differences=differences)
        self._errors = errors or ((ALPHA if differences else ALPHA / 2),) * 2
        self.interval = (low, 1.0)
        """The ends, rounded outwards to 1/500 of the range."""
        self._candidates = np.linspace(low, 1.0, _CANDIDATES)
        self._above = _Evidence(self._candidates, size, low, shares)
        self._below = _Evidence(-self._candidates, size, -1.0, shares)

    def draw(self, lower: float, upper: float | None = None) -> None:
        """Take the next value; or the two that it lies between, of a reply without a score."""
        self._above.draw(lower)
        self._below.draw(-(lower if upper is None else upper))
        above, below = (
            side.shows(error)
            for side, error in zip((self._above, self._below), self._errors, strict=True)
        )
        low = self._candidates[above].max(initial=self.interval[0])
        high = self._candidates[below].min(initial=self.interval[1])
        self.interval = (float(low), float(high))
        chosen = (self._candidates >= low) & (self._candidates <= high) & ~(above | below)
        if not chosen.all():
            self._candidates = self._candidates[chosen]
            self._above.keep(chosen)
            self._below.keep(chosen)


def p_values(
    bounds: Iterable[tuple[float, float]], limit: float, *, differences: bool = False
) -> tuple[float, float]:
    """Return how probable such values are if the mean is not above, and not below, a limit.

    Both are upper bounds. ``bounds`` are what each value lies between, in the order in which items
    were drawn; the claim is about items like them. They hold however often one looked, and whatever
    ended the drawing.
    """
    low, shares = _range_of(differences=differences)
    above, below = _Evidence([limit], None, low, shares), _Evidence([-limit], None, -1.0, shares)
    for lower, upper in bounds:
        above.draw(lower)
        below.draw(-upper)
    return float(above.p_values[0]), float(below.p_values[0])


def _range_of(*, differences: bool) -> tuple[float, Array]:
    """Return the lowest value there can be, and the shares of the capital that are bet."""
    return (-1.0, _SHARES_OF_DIFFERENCES) if differences else (0.0, _SHARES_OF_RATES)


class Decision:
    """Whether the mean of differences, each between -1 and 1, is above 0.

    The answer ``no`` means below ``margin``, a difference too small to matter. Of a mean that is 0
    or less, ``yes`` is answered with a probability of 5 % at most, and of one of at least
    ``margin``, ``no``. ``items`` are all that can be drawn; the claim is about them, or
    with ``population`` about others like them.
    """

    def __init__(self, items: int, margin: float, *, population: bool = False) -> None:
        self._items, self._margin = items, margin
        size = None if population else items
        self._above = _Evidence([0.0], size, -1.0, _SHARES_OF_DIFFERENCES)
        self._below = _Evidence([-margin], size, -1.0, _SHARES_OF_DIFFERENCES)
        self._count, self._sum, self._squares = 0, 0.0, 0.0

    def draw(self, lower: float, upper: float | None = None) -> None:
        """Take the next difference; or the two that it lies between."""
        upper = lower if upper is None else upper
        self._above.draw(lower)
        self._below.draw(-upper)
        middle = (lower + upper) / 2
        self._count += 1
        self._sum += middle
        self._squares += middle**2

    @property
    def answer(self) -> Literal["yes", "no"] | None:
        """What is decided; ``None`` if nothing is, as yet."""
        if self._above.shows(ALPHA)[0]:
            return "yes"
        return "no" if self._below.shows(ALPHA)[0] else None

    @property
    def chance(self) -> float:
        """How probable it is that the interval of a whole run leaves out 0, or ``margin``.

        What is left is taken to be like what was drawn, with half a difference of 1 and half a one
        of -1 beside it.
        """
        count, left = self._count + 1, self._items - self._count
        mean = self._sum / count
        variance = (self._squares + 1) / count - mean**2
        error = math.sqrt(variance / self._items)
        spread = left / self._items * math.sqrt(variance * (1 / max(left, 1) + 1 / count))
        final = NormalDist(mean, max(spread, _NOTHING))
        return 1 - final.cdf(_Z * error) + final.cdf(self._margin - _Z * error)
