"""How alike two labels, or several rankings, are."""

from __future__ import annotations

import functools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opensafemlrm.analysis.intervals import TAILS, Array

SEED: Final = 20_250_408
_DRAWS: Final = 4_000
_PERMUTATIONS: Final = 10_000
MIN_BLOCKS: Final = 2


@dataclass(frozen=True, slots=True)
class Agreement:
    """φ and κ of a 2×2, each with its 95 % interval; ``None`` where a label never changes."""

    phi: float | None = None
    phi_low: float | None = None
    phi_high: float | None = None
    kappa: float | None = None
    kappa_low: float | None = None
    kappa_high: float | None = None


def agreement(both: float, first: float, second: float, neither: float) -> Agreement:
    """Return φ and κ of two labels, from how often both, one or the other, or neither is set.

    The intervals are equal-tailed posterior intervals under a Dirichlet prior of ½ a cell, widened
    to hold the estimate; unlike those by the delta method they hold their level for small tables
    and empty cells (simulated in docs/statistics.md). The seed is fixed. Counts need not be whole.
    Source: Cohen, Educational and Psychological Measurement 20 (1960), for κ.
    """
    table = np.array([both, first, second, neither], dtype=np.float64)
    rows = (both + first) * (second + neither)
    columns = (both + second) * (first + neither)
    if rows * columns == 0:
        return Agreement()
    draws = np.random.default_rng(SEED).dirichlet(table + 0.5, _DRAWS).T
    found: list[float] = []
    for measure in (phi, kappa):
        value = float(measure(table))
        low, high = np.quantile(measure(draws), TAILS)
        found += [value, min(value, float(low)), max(value, float(high))]
    return Agreement(*found)


def phi(table: Array) -> Array:
    """Return the correlation of two labels; ``table`` has the four cells on its first axis."""
    a, b, c, d = table
    found: Array = (a * d - b * c) / np.sqrt((a + b) * (c + d) * (a + c) * (b + d))
    return found


def kappa(table: Array) -> Array:
    """Return Cohen's κ of two labels; ``table`` has the four cells on its first axis."""
    a, b, c, d = table
    n = a + b + c + d
    expected = ((a + b) * (a + c) + (c + d) * (b + d)) / n**2
    found: Array = ((a + d) / n - expected) / (1 - expected)
    return found


def kendall_w(values: Array, blocks: Sequence[Hashable] | None = None) -> tuple[float, float]:
    """Return Kendall's W of rankings, and its p-value by permutation.

    ``values`` has a row a ranking and a column a thing ranked; ties share their mean rank and are
    corrected for. W is 0 where the rankings have nothing in common and 1 where they are the same;
    NaN where one of them ranks nothing (all tied). The p-value is the share of 10,000 random
    permutations of every ranking (fixed seed) that agree as much. Rankings of the same of
    ``blocks``, such as differences from one base, share its chance: they are permuted together, and
    where there is one block alone nothing can be tested (NaN). Source: Kendall & Babington
    Smith, "The problem of m rankings", Annals of Mathematical Statistics 10 (1939).
    """
    ranks = mean_ranks(values)
    raters, things = ranks.shape
    sizes = [np.unique(row, return_counts=True)[1] for row in ranks]
    if any(len(size) == 1 for size in sizes):
        return float("nan"), float("nan")
    ties = sum(float((size.astype(np.float64) ** 3 - size).sum()) for size in sizes)
    most = raters**2 * (things**3 - things) - raters * ties
    observed = 12 * _spread(ranks.sum(axis=0)) / most
    names = list(range(raters)) if blocks is None else list(blocks)
    places = {block: place for place, block in enumerate(dict.fromkeys(names))}
    if len(places) < MIN_BLOCKS:
        return float(observed), float("nan")
    orders = _orders(len(places), things)[[places[block] for block in names]]
    shuffled = sum(row[order] for row, order in zip(ranks, orders, strict=True))
    as_much = int((12 * _spread(np.asarray(shuffled)) / most >= observed - 1e-12).sum())
    return float(observed), (1 + as_much) / (1 + _PERMUTATIONS)


def mean_ranks(values: Array) -> Array:
    """Return the ranks in each row of ``values``, from 1 up; ties share their mean rank."""
    # A value's rank is the middle of the places that it and its equals take.
    below = (values[:, None, :] < values[:, :, None]).sum(axis=2)
    equal = (values[:, None, :] == values[:, :, None]).sum(axis=2)
    ranks: Array = below + (equal + 1) / 2
    return ranks


@functools.lru_cache(maxsize=8)
def _orders(raters: int, things: int) -> NDArray[np.intp]:
    """Return 10,000 random orders of so many things for each of the raters."""
    random = np.random.default_rng(SEED)
    return np.argsort(random.random((raters, _PERMUTATIONS, things)), axis=2)


def _spread(sums: Array) -> Array:
    centred = sums - sums.mean(axis=-1, keepdims=True)
    return np.asarray((centred**2).sum(axis=-1), dtype=np.float64)
