"""φ, κ and Kendall's W, compared with statsmodels and scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.inter_rater import cohens_kappa

from opensafemlrm.analysis.agreement import agreement, kendall_w

CELL = st.integers(1, 60)


@given(CELL, CELL, CELL, CELL)
def test_phi_is_the_correlation_and_kappa_that_of_statsmodels(
    a: int, b: int, c: int, d: int
) -> None:
    found: Any = agreement(a, b, c, d)
    first = np.repeat([1, 1, 0, 0], [a, b, c, d])
    second = np.repeat([1, 0, 1, 0], [a, b, c, d])
    assert found.phi == pytest.approx(np.corrcoef(first, second)[0, 1])
    assert found.kappa == pytest.approx(cohens_kappa([[a, b], [c, d]]).kappa)
    assert found.phi_low <= found.phi <= found.phi_high
    assert found.kappa_low <= found.kappa <= found.kappa_high


def test_for_large_tables_the_interval_of_kappa_is_that_of_statsmodels() -> None:
    found: Any = agreement(400, 120, 150, 330)
    expected = cohens_kappa([[400, 120], [150, 330]])
    assert found.kappa_low == pytest.approx(expected.kappa_low, abs=0.01)
    assert found.kappa_high == pytest.approx(expected.kappa_upp, abs=0.01)


def test_the_worked_example_of_cohen() -> None:
    """Two readers of 50 proposals, 20, 5, 10, 15: κ is 0.4, as agreement is 0.7 and chance 0.5."""
    assert agreement(20, 5, 10, 15).kappa == pytest.approx(0.4)


def test_a_label_that_never_changes_agrees_with_nothing() -> None:
    """All safe and all safe is no proof of coupling: there is no φ, rather than 1 or 0."""
    assert agreement(0, 0, 0, 50).phi is None
    assert agreement(0, 3, 0, 50).kappa is None


def test_perfect_agreement_of_few_items_is_not_certainty() -> None:
    found: Any = agreement(5, 0, 0, 5)
    assert found.phi == pytest.approx(1)
    assert found.phi_low < 0.9
    assert found.phi_high == pytest.approx(1)


@given(
    st.integers(2, 6).flatmap(
        lambda things: st.lists(
            st.lists(st.integers(0, 5), min_size=things + 1, max_size=things + 1),
            min_size=3,
            max_size=6,
        )
    )
)
def test_w_is_friedmans_statistic_in_another_unit(values: list[list[int]]) -> None:
    """χ² = raters × (things − 1) × W, ties corrected."""
    table = np.array(values, dtype=float)
    w, p_value = kendall_w(table)
    if any(len(set(row)) == 1 for row in values):
        assert np.isnan(w)
        return
    expected = stats.friedmanchisquare(*table.T).statistic
    assert len(values) * (table.shape[1] - 1) * w == pytest.approx(expected, abs=1e-9)
    assert 0 < p_value <= 1


def test_the_worked_example_of_kendall() -> None:
    """Kendall, Rank Correlation Methods, chapter 6: four rankings of six, W = 0.229 (S = 64)."""
    rankings = [[5, 4, 1, 6, 3, 2], [2, 3, 1, 5, 6, 4], [4, 1, 6, 3, 2, 5], [4, 3, 2, 5, 1, 6]]
    w, p_value = kendall_w(np.array(rankings, dtype=float))
    assert w == pytest.approx(64 / (4**2 * (6**3 - 6) / 12))
    assert p_value > 0.1


def test_rankings_that_agree_wholly_are_no_accident() -> None:
    w, p_value = kendall_w(np.tile(np.arange(8.0), (4, 1)))
    assert w == pytest.approx(1)
    assert p_value < 0.001
    assert kendall_w(np.tile(np.arange(8.0), (4, 1))) == (w, p_value)
