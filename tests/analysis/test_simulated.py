"""The intervals hold the truth as often as they say: the reduced form of docs/statistics.md.

The whole form is scripts/simulate_statistics.py and simulate_tests.py; what is here has the same
settings, fewer studies and a margin for that.
"""

from __future__ import annotations

import numpy as np
import pytest

from scripts.simulate_statistics import INTERVALS, simulate
from scripts.simulate_tests import (
    averages,
    families,
    few_scenarios,
    headlines,
    others,
    rankings,
    repeated_rates,
    type_one,
)

pytestmark = [pytest.mark.once, pytest.mark.no_cover]
STUDIES = 150
QUICK = sorted(set(INTERVALS) - {"phi", "kappa", "Corrected rate"})


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


def above_five(studies: int) -> float:
    """The most, in per cent, that a test at 5 % is found by in so many studies."""
    return 5 + 350 * float(np.sqrt(0.05 * 0.95 / studies))


def test_a_tax_of_nothing_is_found_at_most_once_in_twenty_whatever_repeats_are_like() -> None:
    for repeats, alike, kind, mean, highest in type_one(200, np.random.default_rng(1)):
        assert highest <= above_five(200), (repeats, alike, kind)
        assert mean <= 5, (repeats, alike, kind)


def test_ten_true_nothings_are_found_a_blind_spot_at_most_once_in_twenty() -> None:
    for *name, share in families(200, np.random.default_rng(3)):
        assert share <= above_five(200), name


def test_averages_hold_the_truth_by_item_and_by_scenario() -> None:
    for *name, coverage, _ in averages(200, np.random.default_rng(4)):
        assert coverage >= 100 - above_five(200), name


def test_a_few_scenarios_prove_no_tax_and_their_intervals_hold() -> None:
    """Two that happened to be alike gave an interval of no width; the p-value said otherwise."""
    for number, coverage, found, _ in few_scenarios(100, np.random.default_rng(7)):
        assert coverage >= 100 - above_five(100), number
        assert found <= (0 if number < 6 else above_five(100)), number


def test_no_scenario_stands_out_from_its_models_others_by_chance() -> None:
    for *name, one, family in others(100, np.random.default_rng(8)):
        assert one <= 5, name
        assert family <= above_five(100), name


def test_no_blind_spot_stands_out_because_safe_replies_were_cut() -> None:
    """Of the scored replies alone one stood out in 20 to 55 % of such studies."""
    assert headlines(60, np.random.default_rng(9), cut=0.15) <= above_five(60)


def test_rates_over_uneven_repeats_hold_the_truth() -> None:
    for *name, mean, lowest in repeated_rates(150, np.random.default_rng(5)):
        assert mean >= 93, name
        assert lowest >= 90 - 350 * np.sqrt(0.09 / 150), name


def test_rankings_of_equal_taxes_agree_at_most_once_in_twenty() -> None:
    for *name, share in rankings(150, np.random.default_rng(6)):
        assert share <= above_five(150), name
