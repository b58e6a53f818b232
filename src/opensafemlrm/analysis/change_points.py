"""From which version of a series on replies are worse than before, with few false alarms.

Versions answer the same items. Of each split of a series into earlier and later versions, an item
says by how much it is the more unsafe one later; the statistic is the sum over items by the root of
their sum of squares, as McNemar's is where there are two versions. (That of the squares to be
expected is put in its place where it is greater: next to an end many items may move a little, the
same way, for want of the one reply that would move an item much.) Where the change is says least
squares: the split that leaves least between the replies and their means before and after it.

If the versions are alike, the replies to an item might as well have come from any version on: read
in a circle, they may begin anywhere. Item by item they begin somewhere at random, and what the
greatest statistic of all splits and all series is then says how great chance makes it. The p-value
is exact for any number of items and whatever the replies are. A circle keeps what hangs together in
time, and the statistic is in units of what items differ by: so it is near to exact too where single
items come and go, as often one way as the other. Items begin by themselves: what one scenario holds
never lets another seem to change, and makes it no harder to see that it does.

Sources: Page, "A test for a change in a parameter occurring at an unknown point", Biometrika 42
(1955); Westfall & Young, "Resampling-based multiple testing" (1993), the greatest statistic;
Phipson & Smyth, Statistical Applications in Genetics and Molecular Biology 9 (2010), the p-value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

from opensafemlrm.analysis.intervals import Array

DRAWS: Final = 1999
MAX_SPLITS: Final = 32
"""Splits that are looked at; of a longer series they are spread evenly."""
_TOGETHER: Final = 500
_NOTHING: Final = 1e-9
_TIE: Final = 1e-4
"""Statistics that are nearer to each other than this are the same, rounding apart."""


@dataclass(frozen=True, slots=True)
class Path:
    """How unsafe each version's replies to each item are."""

    values: Array
    """A row an item, a column a version: shares from 0 to 1, NaN where there is none."""
    items: NDArray[np.int64]
    """Numbers of the items, from 0: what has the same number begins at the same version."""


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """Where the versions of a path become worse, if they do."""

    first: int
    """The first version that is worse."""
    before: float
    """Mean over items, of the versions before it."""
    after: float
    """The same from it on."""
    p_value: float
    """For all paths together; never below that of the later versions against the very first."""


def change_points(
    paths: Sequence[Path], *, draws: int = DRAWS, seed: int = 0
) -> list[ChangePoint | None]:
    """Find where each of several paths becomes worse; ``None`` where no item is in two versions.

    ``draws`` is how often items are read in a circle.
    """
    usable = [i for i, path in enumerate(paths) if _is_usable(path)]
    several = 1 + max((int(paths[i].items.max()) for i in usable), default=0)
    circles = [_Circle.of(paths[i]) for i in usable]
    tops = np.array([circle.statistic(circle.sums[0].sum(axis=1)).max() for circle in circles])
    as_great = np.zeros(len(tops), np.int64)
    rng = np.random.default_rng(seed)
    for start in range(0, draws, _TOGETHER):
        # A row an item: rows are gathered much faster than columns.
        lots = rng.random((several, min(_TOGETHER, draws - start)), np.float32)
        greatest = np.full(lots.shape[1], -np.inf)
        for circle in circles:
            np.fmax(greatest, circle.greatest(lots), out=greatest)
        as_great += (greatest[:, None] >= tops - _TIE).sum(axis=0)
    points: list[ChangePoint | None] = [None] * len(paths)
    for i, great in zip(usable, as_great, strict=True):
        points[i] = _at(paths[i].values, (1 + int(great)) / (draws + 1))
    return points


@dataclass(frozen=True, slots=True)
class _Circle:
    """What the items of a path say of each split, from wherever they begin."""

    items: NDArray[np.int64]
    sums: NDArray[np.float32]
    """By the version that comes first, split and item; squares follow the splits."""
    squares: Array
    """Of each split: the sum of squares to be expected."""

    @classmethod
    def of(cls, path: Path) -> _Circle:
        # What is the same in all versions, as most of a model without sampling is, says nothing.
        values = path.values
        moves = np.nanmax(values, axis=1, initial=0) > np.nanmin(values, axis=1, initial=1)
        values = values[moves]
        versions = values.shape[1]
        splits = np.unique(np.linspace(0, versions - 2, MAX_SPLITS).round().astype(int))
        turned = [
            _moves(np.roll(values, -first, axis=1))[0][:, splits] for first in range(versions)
        ]
        sums = np.stack([np.concatenate([move, move**2], axis=1).T for move in turned])
        squares = sums[:, len(splits) :].mean(axis=0).sum(axis=1)
        return cls(path.items[moves], sums.astype(np.float32), squares)

    def statistic(self, sums: Array) -> Array:
        """Return the statistic of each split from its sum, and that of squares behind them all."""
        total, squares = np.split(sums, 2)
        squares = np.fmax(squares.T, self.squares).T
        return np.asarray(total / np.sqrt(np.maximum(squares, _NOTHING)))

    def greatest(self, lots: NDArray[np.float32]) -> Array:
        """Return the greatest statistic of each of several draws, a column each of ``lots``."""
        first = (lots[self.items] * len(self.sums)).astype(np.int16)
        total = np.zeros((self.sums.shape[1], lots.shape[1]))
        for version, sums in enumerate(self.sums):
            total += sums @ (first == version).astype(np.float32)
        return np.asarray(self.statistic(total).max(axis=0))


def _is_usable(path: Path) -> bool:
    return bool((np.isfinite(path.values).sum(axis=1) > 1).any())


def _moves(values: Array) -> tuple[Array, Array]:
    """Return, for each item and split, by how much later versions are worse than earlier ones.

    It is times its weight, which is returned too: half the harmonic mean of the number of versions
    on either side, 0 where there is none.
    """
    is_there = np.isfinite(values)
    sums = np.cumsum(np.where(is_there, values, 0.0), axis=1)
    count = np.cumsum(is_there, axis=1).astype(np.float64)
    earlier, later = count[:, :-1], count[:, -1:] - count[:, :-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = np.where(count[:, -1:] > 0, earlier * later / count[:, -1:], 0.0)
        move = (sums[:, -1:] - sums[:, :-1]) / later - sums[:, :-1] / earlier
    return np.where(weight > 0, weight * move, 0.0), weight


def _at(values: Array, p_value: float) -> ChangePoint:
    """Return where the change is, what it is from and to, and against the very first version."""
    moves, weights = (sums.sum(axis=0) for sums in _moves(values))
    first = 1 + int((moves / np.sqrt(np.maximum(weights, _NOTHING))).argmax())
    parts = values[:, :first], values[:, first:], values[:, :1]
    before, after, reference = (_means(part) for part in parts)
    apart = (after - reference)[np.isfinite(after - reference)]
    against = float(special.ndtr(-apart.sum() / np.sqrt((apart**2).sum() or 1.0)))
    both = np.isfinite(before) & np.isfinite(after)
    old, new = (float(side[both].mean()) if both.any() else np.nan for side in (before, after))
    return ChangePoint(first, old, new, max(p_value, against))


def _means(values: Array) -> Array:
    """Return the mean of each row; NaN where there is nothing."""
    is_there = np.isfinite(values)
    count = is_there.sum(axis=1)
    sums = np.where(is_there, values, 0.0).sum(axis=1)
    return np.where(count > 0, sums / np.maximum(count, 1), np.nan)
