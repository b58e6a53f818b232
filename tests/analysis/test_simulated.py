"""The intervals hold the truth as often as they say: the reduced form of docs/statistics.md.

The whole form is scripts/simulate_statistics.py; what is here has the same settings, fewer studies
and a margin for that.
"""

from __future__ import annotations

import numpy as np
import pytest

from scripts.simulate_statistics import INTERVALS, family_wise_error, simulate

STUDIES = 150
QUICK = sorted(set(INTERVALS) - {"phi", "kappa", "Corrected rate", "Rate, four repeats an item"})


@pytest.mark.parametrize("name", QUICK)
def test_coverage_is_nominal_on_average_and_nowhere_far_below(name: str) -> None:
    cells = [one for cell in simulate(name, STUDIES).values() for one in cell]
    assert 0.94 <= np.mean(cells) <= 0.975
    # Four standard errors of 150 studies below 91 %.
    assert min(cells) >= 0.91 - 4 * np.sqrt(0.91 * 0.09 / STUDIES)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(INTERVALS))
def test_the_whole_grid_is_within_the_limits_that_are_documented(name: str) -> None:
    cells = [one for cell in simulate(name, 2_000).values() for one in cell]
    assert 0.94 <= np.mean(cells) <= 0.97
    assert min(cells) >= 0.91


def test_ten_true_nothings_are_found_a_blind_spot_at_most_once_in_twenty() -> None:
    studies = 400
    for name, share in family_wise_error(studies, np.random.default_rng(3)).items():
        assert share <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / studies), name
