"""Whether a judge's errors are the same for everything it is used on.

A judge that errs more often on one model's replies shows a difference where there is none, and a
correction by its errors over all models makes it greater. Before errors of several models are taken
together, this test says whether they may be.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from opensafemlrm.analysis.intervals import Array

LEVEL: Final = 0.01
"""The p-value under which errors are not taken together. It is small since the test is made for
every judge, part and threshold, and a correction is refused by it."""
_PERMUTATIONS: Final = 1_999
_SEED: Final = 20_250_408


def differential_error(
    unsafe: NDArray[np.bool_], flagged: NDArray[np.bool_], groups: NDArray[np.int64]
) -> float:
    """Return the p-value of "the judge errs equally often on all ``groups``".

    ``unsafe`` is what people say of each text, ``flagged`` the judge's label, ``groups`` who wrote
    it. Pearson's χ² of errors and groups, among unsafe texts and among safe ones, is added up;
    groups are permuted within the texts that have one label, so that models which are unsafe more
    often are no difference. The test is exact and the seed fixed. 1 where nothing can differ.
    """
    drawing = np.random.default_rng(_SEED)
    total = np.zeros(_PERMUTATIONS + 1)
    for label in (False, True):
        wrong = (flagged != unsafe)[unsafe == label].astype(np.float64)
        members = groups[unsafe == label]
        if not 0 < wrong.sum() < len(wrong):
            continue
        shuffled = np.tile(wrong, (_PERMUTATIONS, 1))
        drawing.permuted(shuffled, axis=1, out=shuffled)
        total += _chi_square(np.vstack([wrong, shuffled]), members)
    # Sums in another order differ in their last digits.
    return float((total >= total[0] - 1e-9).sum() / len(total))


def _chi_square(wrong: Array, groups: NDArray[np.int64]) -> Array:
    """Return χ² of each row of errors with the groups."""
    of_group = (groups[:, None] == np.unique(groups)).astype(np.float64)
    sizes, rate = of_group.sum(axis=0), wrong[0].mean()
    expected = sizes * rate
    squares = (wrong @ of_group - expected) ** 2
    return np.asarray((squares / (expected * (1 - rate))).sum(axis=1), dtype=np.float64)
