"""Figures from a judge's verdict on everything and people's labels of a part of it.

A judge alone is biased, and labels alone are few. The mean of what people would say of all units is
estimated stratum by stratum: the judge's verdicts are the strata, the labels say what a verdict is
worth, and the judge's score may sharpen it further (``λ``, estimated, never below 0). No error is
carried from one text to another, so that nothing has to be assumed of where a judge errs.

Sources: Angelopoulos, Duchi & Zrnic, "PPI++: Efficient prediction-powered inference", arXiv
2311.01453 (one stratum is their estimate of a mean); Fisch et al., "Stratified prediction-powered
inference", arXiv 2406.04291; Neyman, "On the two different aspects of the representative method",
JRSS 97 (1934), for the shares to label. Their Wald intervals fail where harm is rare, and where no
label of a stratum differs. Here the interval is the equal-tailed one of the posterior under a
Dirichlet prior of ½ for every value that a label can take, stratum by stratum, as in
:mod:`opensafemlrm.analysis.agreement`; over these units alone it is that of what is not labelled
(Ericson, "Subjective Bayesian models in sampling finite populations", JRSS B 31, 1969), which has
the correction for a finite population in it. Simulated, and compared with human labels, in
docs/statistics.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opensafemlrm.analysis.agreement import SEED
from opensafemlrm.analysis.intervals import TAILS, Array, Z

RATE: Final = (0.0, 1.0)
"""What a label can be where units are replies."""
DIFFERENCE: Final = (-1.0, 0.0, 1.0)
"""What it can be where units are pairs of replies: unsafe less unsafe of the other."""

MIN_LABELS: Final = 20
"""The fewest labelled items from which a figure is corrected."""

_PRIOR: Final = 0.5
_MIN_FOR_SCORES: Final = 20
"""The fewest labels of a stratum from which the judge's scores are used within it."""
_DRAWS: Final = 4_000

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95 % interval; ``labels`` of its ``units`` are labelled."""

    value: float
    low: float
    high: float
    labels: int
    units: int


@dataclass(frozen=True, slots=True)
class Strata:
    """What is known of the units of each stratum: how many there are, how many labelled, the sums
    of their labels and of the labels' squares.
    """

    units: Counts
    labels: Counts
    sums: Array
    squares: Array
    values: tuple[float, ...]

    @classmethod
    def of(cls, verdicts: Counts, labels: Array, values: tuple[float, ...]) -> Strata:
        """Count units by ``verdicts``; ``labels`` is NaN where there is none."""
        _, places = np.unique(verdicts, return_inverse=True)
        known = ~np.isnan(labels)
        given, size = labels[known], int(places.max(initial=-1)) + 1
        return cls(
            np.bincount(places, minlength=size),
            np.bincount(places[known], minlength=size),
            np.bincount(places[known], given, size).astype(np.float64),
            np.bincount(places[known], given**2, size).astype(np.float64),
            values,
        )


def stratified_mean(
    verdicts: Counts,
    labels: Array,
    values: tuple[float, ...],
    *,
    scores: Array | None = None,
    items: Counts | None = None,
    finite: bool = False,
) -> Estimate:
    """Estimate the mean label of all units.

    ``verdicts`` is the stratum of each unit, ``labels`` what people say of it (NaN: not asked) and
    ``values`` all that they can say: :data:`RATE` or :data:`DIFFERENCE`. Within a stratum, which
    units are labelled must be a matter of chance. A stratum without labels is taken together with
    the next. ``scores`` are the judge's, ``items`` tells which units are repeats of one item (none:
    each is of its own). The interval is that of units like these, or with ``finite`` of these
    alone; it holds the estimate. Raises ValueError where nothing is labelled.
    """
    known = ~np.isnan(labels)
    if not known.any():
        raise ValueError("no unit is labelled")
    _, places = np.unique(_with_labels(verdicts, known), return_inverse=True)
    strata = Strata.of(places, labels, values)
    shifts, shares = np.zeros(len(strata.units)), np.ones(len(strata.units))
    if scores is not None:
        for place in np.flatnonzero(strata.labels >= _MIN_FOR_SCORES):
            here = places == place
            shifts[place], shares[place] = _regression(labels[here], scores[here])
    n = len(labels)
    value = float(
        np.clip((strata.units @ (strata.sums / strata.labels + shifts)) / n, *_span(values))
    )
    if finite:
        draws = _draws_of_these(strata, labels, places, shifts, shares)
    else:
        of_item = np.arange(n) if items is None else np.unique(items, return_inverse=True)[1]
        draws = _draws_of_such(strata, labels, places, shifts, shares, of_item)
    low, high = np.clip(np.quantile(draws, TAILS), *_span(values))
    return Estimate(value, min(float(low), value), max(float(high), value), int(known.sum()), n)


def _span(values: tuple[float, ...]) -> tuple[float, float]:
    return min(values), max(values)


def _draws_of_these(
    strata: Strata, labels: Array, places: Counts, shifts: Array, shares: Array
) -> Array:
    """Draw the mean of these units: what is labelled is known, the rest is drawn."""
    drawing = np.random.default_rng(SEED)
    total = np.zeros(_DRAWS)
    points = np.array(strata.values)
    for place, (n, labelled) in enumerate(zip(strata.units, strata.labels, strict=True)):
        total += strata.sums[place]
        if rest := int(n - labelled):
            counts = (labels[places == place, None] == points).sum(axis=0)
            chances = drawing.dirichlet(counts + _PRIOR, _DRAWS)
            mean = drawing.multinomial(rest, chances) @ points / rest
            total += rest * (_sharpened(mean, shares[place]) + shifts[place] * n / rest)
    return np.asarray(total / strata.units.sum())


def _draws_of_such(
    strata: Strata, labels: Array, places: Counts, shifts: Array, shares: Array, items: Counts
) -> Array:
    """Draw the mean of units like these: an item weighs the same in all its units and labels.

    Without repeats that is Dirichlet's posterior of each stratum. Source: Rubin, "The Bayesian
    bootstrap", Annals of Statistics 9 (1981), of items in place of units.
    """
    drawing = np.random.default_rng(SEED)
    points = np.array(strata.values)
    width = len(points) + 1
    # What each item has in each stratum: units, and labels of each value.
    patterns = np.zeros((int(items.max()) + 1, len(strata.units) * width))
    np.add.at(patterns, (items, places * width), 1)
    for number, value in enumerate(points, start=1):
        given = labels == value
        np.add.at(patterns, (items[given], places[given] * width + number), 1)
    patterns, times = np.unique(patterns, axis=0, return_counts=True)
    sums = drawing.standard_gamma(times, (_DRAWS, len(times))) @ patterns
    total, weights = np.zeros(_DRAWS), np.zeros(_DRAWS)
    for place, (n, labelled) in enumerate(zip(strata.units, strata.labels, strict=True)):
        weight, *of_values = sums[:, place * width : (place + 1) * width].T
        of_item = patterns[:, place * width + 1 : (place + 1) * width]
        chances = np.stack(of_values, axis=1)
        chances += _alike(of_item, times, points) * drawing.standard_gamma(_PRIOR, chances.shape)
        mean = chances @ points / chances.sum(axis=1)
        # What the scores explain varies from unit to unit as well.
        mean = _sharpened(mean, shares[place] + (1 - shares[place]) * labelled / n)
        total += weight * (mean + shifts[place])
        weights += weight
    return np.asarray(total / weights)


def _alike(labels: Array, times: Counts, values: Array) -> float:
    """Return how many labels say as much as one of an item of its own; ``labels`` has the counts of
    each value in an item, and there are ``times`` such items.
    """
    n = labels.sum(axis=1)
    mean = float(times @ labels @ values / (times @ n))
    greatest = float(times @ n**2 / (times @ n))
    alone = float(times @ labels @ (values - mean) ** 2)
    together = float(times @ (labels @ (values - mean)) ** 2)
    return float(np.clip(together / alone, 1, greatest)) if alone > 0 else greatest


def _sharpened(draws: Array, share: float) -> Array:
    """Return draws with this share of their variance."""
    middle = draws.mean()
    return np.asarray(middle + (draws - middle) * share**0.5)


def _with_labels(verdicts: Counts, known: NDArray[np.bool_]) -> Counts:
    """Take every stratum without labels together with the one before it, or the first with."""
    there = np.unique(verdicts)
    labelled = np.unique(verdicts[known])
    nearest = labelled[np.maximum(np.searchsorted(labelled, there, side="right") - 1, 0)]
    return np.asarray(nearest[np.searchsorted(there, verdicts)])


def _regression(labels: Array, scores: Array) -> tuple[float, float]:
    """Return what the scores add to a stratum's mean, and the share of variance they leave."""
    known = ~np.isnan(labels)
    n, rest = int(known.sum()), int((~known).sum())
    y, f = labels[known], scores[known]
    slope = lambda_of(y, f, scores) * (1 + n / max(rest, 1))
    variance = float(y.var())
    left = float((y - slope * f).var()) / variance if variance > 0 else 1.0
    return slope * float(scores.mean() - f.mean()), min(left, 1.0)


def lambda_of(labels: Array, predicted: Array, every: Array) -> float:
    """Return PPI++'s weight of the predictions, from 0 to 1, for labels beside ``predicted``.

    ``every`` are the predictions of all units, the labelled ones included (section 6 of PPI++).
    """
    n, rest = len(labels), len(every) - len(labels)
    variance = float(every.var(ddof=1)) if len(every) > 1 else 0.0
    if variance == 0 or rest == 0:
        return 0.0
    covariance = float(((labels - labels.mean()) * (predicted - predicted.mean())).mean())
    return float(np.clip(covariance / ((1 + n / rest) * variance), 0, 1))


def allocate(strata: Strata, guessed: Array, budget: int) -> Counts:
    """Return how many units of each stratum to have labelled in all, ``budget`` of them together.

    What is labelled stays so. Each further label goes where it makes the variance of
    :func:`stratified_mean` over these units smallest (Neyman, with that variance in place of his).
    ``guessed`` is the mean square that is expected of a label in each stratum, and weighs as much
    as one label.
    """
    gains, owners = [], []
    for place, expected in enumerate(_expected(strata, guessed)):
        left = _left(strata, place, expected)
        # Once a label is worth less, none after it is worth more.
        gains.append(np.minimum.accumulate(left[:-1] - left[1:]))
        owners.append(np.full(len(left) - 1, place))
    more = max(0, budget - int(strata.labels.sum()))
    best = np.argsort(-np.concatenate(gains), kind="stable")[:more]
    chosen = np.concatenate(owners)[best]
    return np.asarray(strata.labels + np.bincount(chosen, minlength=len(strata.units)))


def half_width(strata: Strata, guessed: Array, allocation: Counts) -> float:
    """Return half the width that the interval over these units is expected to have."""
    variance = sum(
        _left(strata, place, expected)[allocation[place] - strata.labels[place]]
        for place, expected in enumerate(_expected(strata, guessed))
    )
    return float(Z * variance**0.5 / strata.units.sum())


def labels_for(strata: Strata, guessed: Array, wanted: float) -> int:
    """Return the fewest labels in all whose interval is expected to be within ± ``wanted``."""
    low, enough = int(strata.labels.sum()), int(strata.units.sum())
    while low < enough:
        middle = (low + enough) // 2
        if half_width(strata, guessed, allocate(strata, guessed, middle)) <= wanted:
            enough = middle
        else:
            low = middle + 1
    return enough


def _expected(strata: Strata, guessed: Array) -> Array:
    return np.asarray((strata.squares + guessed) / (strata.labels + 1), dtype=np.float64)


def _left(strata: Strata, place: int, expected: float) -> Array:
    """Return the variance of a stratum's total at every number of labels it can still have."""
    units, values = int(strata.units[place]), np.array(strata.values)
    labels = np.arange(int(strata.labels[place]), units + 1, dtype=np.float64)
    rest, weight = units - labels, labels + _PRIOR * len(values)
    square = (expected * labels + _PRIOR * (values**2).sum()) / weight
    return np.asarray(rest * (rest + weight) / (weight + 1) * square, dtype=np.float64)
