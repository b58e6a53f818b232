"""Means from few labels and many verdicts: estimate, interval, and what to label next."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opensafemlrm.analysis.judge_errors import differential_error
from opensafemlrm.analysis.prediction_powered import (
    DIFFERENCE,
    RATE,
    Strata,
    allocate,
    half_width,
    labels_for,
    lambda_of,
    stratified_mean,
)

FLAGS = np.repeat([0, 1], [150, 50])


def labelled(safe: tuple[int, int], flagged: tuple[int, int]) -> np.ndarray:
    """Labels of some units not flagged, and of some flagged: how many, and of these unsafe."""
    labels = np.full(200, np.nan)
    for start, (n, unsafe) in ((0, safe), (150, flagged)):
        labels[start : start + n] = np.arange(n) < unsafe
    return labels


def test_each_verdict_is_worth_what_its_labels_say() -> None:
    """However unequal the shares that were labelled are."""
    found = stratified_mean(FLAGS, labelled((30, 1), (50, 40)), RATE)
    assert found.value == pytest.approx((150 / 30 + 40) / 200)
    assert (found.labels, found.units) == (80, 200)
    assert found.low < found.value < found.high


def test_what_is_labelled_throughout_is_known() -> None:
    labels = labelled((150, 3), (50, 40))
    found = stratified_mean(FLAGS, labels, RATE, finite=True)
    assert found.low == found.value == found.high == pytest.approx(43 / 200)
    like_these = stratified_mean(FLAGS, labels, RATE)
    assert like_these.low < found.value < like_these.high


def test_no_unsafe_label_is_not_certainty() -> None:
    """A Wald interval of no difference has no width."""
    found = stratified_mean(FLAGS, labelled((20, 0), (20, 0)), RATE)
    assert found.value == found.low == 0
    assert found.high > 0.01


def test_a_stratum_without_labels_is_taken_with_the_next() -> None:
    alone = stratified_mean(FLAGS, labelled((30, 3), (0, 0)), RATE)
    assert alone.value == pytest.approx(0.1)


def test_nothing_labelled_is_an_error() -> None:
    with pytest.raises(ValueError, match="no unit"):
        stratified_mean(FLAGS, np.full(200, np.nan), RATE)


def test_one_stratum_is_the_estimate_of_the_authors_library() -> None:
    """The point to the last digit; their interval is Wald's, which is as wide for many labels."""
    reason = "ppi-python is not installed"
    library = pytest.importorskip("ppi_py", reason=reason)
    for seed in range(5):
        drawing = np.random.default_rng(seed)
        scores = drawing.uniform(size=2_000)
        unsafe = (drawing.uniform(size=2_000) < scores).astype(float)
        labels = np.where(np.arange(2_000) < 200, unsafe, np.nan)
        data = (unsafe[:200], scores[:200], scores[200:])
        low, high = library.ppi_mean_ci(*data, alpha=0.05)
        found = stratified_mean(np.zeros(2_000, np.int64), labels, RATE, scores=scores)
        assert found.value == pytest.approx(library.ppi_mean_pointestimate(*data).item())
        assert found.low == pytest.approx(low.item(), abs=0.003)
        assert found.high == pytest.approx(high.item(), abs=0.003)


def test_repeats_that_agree_are_fewer_than_they_look() -> None:
    labels = labelled((75, 5), (25, 10))
    items = np.arange(200) // 4
    alone = stratified_mean(FLAGS, labels, RATE)
    together = stratified_mean(FLAGS, labels, RATE, items=items)
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_scores_within_a_verdict_make_it_sharper() -> None:
    drawing = np.random.default_rng(1)
    scores = drawing.uniform(0, 1, 2_000)
    unsafe = (drawing.uniform(0, 1, 2_000) < scores).astype(float)
    labels = np.where(np.arange(2_000) < 200, unsafe, np.nan)
    verdicts = np.zeros(2_000, dtype=np.int64)
    plain = stratified_mean(verdicts, labels, RATE)
    sharper = stratified_mean(verdicts, labels, RATE, scores=scores)
    assert sharper.high - sharper.low < 0.95 * (plain.high - plain.low)
    assert sharper.low < unsafe.mean() < sharper.high
    assert lambda_of(labels[:200], -scores[:200], -scores) == 0.0


@pytest.mark.once
@pytest.mark.no_cover
@pytest.mark.parametrize("rate", [0.02, 0.3])
@pytest.mark.parametrize("finite", [True, False])
def test_the_interval_holds_the_truth_as_often_as_it_says(rate: float, finite: bool) -> None:
    """Rare harm too, of which Wald intervals held 61 to 89 %."""
    drawing = np.random.default_rng(7)
    inside = 0
    for _ in range(200):
        unsafe = drawing.uniform(size=800) < rate
        flagged = np.where(drawing.uniform(size=800) < np.where(unsafe, 0.85, 0.05), 1, 0)
        labels = np.full(800, np.nan)
        chosen = drawing.choice(800, 100, replace=False)
        labels[chosen] = unsafe[chosen]
        found = stratified_mean(flagged, labels, RATE, finite=finite)
        inside += found.low <= (unsafe.mean() if finite else rate) <= found.high
    assert inside >= 0.92 * 200


counts = st.lists(
    st.tuples(st.integers(1, 60), st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=5
)


@given(rows=counts, budget=st.integers(0, 200))
def test_a_plan_keeps_what_is_labelled_and_never_asks_for_more_than_there_is(
    rows: list[tuple[int, int, int]], budget: int
) -> None:
    units, labels, squares = (np.array(column) for column in zip(*rows, strict=True))
    labels = np.minimum(labels, units)
    squares = np.minimum(squares, labels).astype(float)
    strata = Strata(units, labels, np.zeros(len(units)), squares, DIFFERENCE)
    guessed = np.full(len(units), 0.1)
    plan = allocate(strata, guessed, budget)
    assert (plan >= labels).all()
    assert (plan <= units).all()
    assert plan.sum() == max(labels.sum(), min(budget, units.sum()))
    assert half_width(strata, guessed, plan) <= half_width(strata, guessed, labels) + 1e-12


def test_labels_go_where_verdicts_are_worth_least() -> None:
    """Where the judge flags one of two replies, not where it calls both safe."""
    strata = Strata.of(FLAGS, np.full(200, np.nan), DIFFERENCE)
    plan = allocate(strata, np.array([0.02, 0.25]), 60)
    assert plan[1] / 50 > 1.5 * plan[0] / 150


def test_the_fewest_labels_for_a_width_are_the_fewest() -> None:
    strata = Strata.of(FLAGS, np.full(200, np.nan), DIFFERENCE)
    guessed = np.array([0.02, 0.25])
    needed = labels_for(strata, guessed, 0.03)
    assert half_width(strata, guessed, allocate(strata, guessed, needed)) <= 0.03
    assert half_width(strata, guessed, allocate(strata, guessed, needed - 1)) > 0.03
    assert labels_for(strata, guessed, 0.0) == 200


def errors(specificities: tuple[float, ...], seed: int) -> float:
    drawing = np.random.default_rng(seed)
    groups = np.repeat(np.arange(len(specificities)), 50)
    unsafe = drawing.uniform(size=len(groups)) < 0.1
    right = np.where(unsafe, 0.9, np.array(specificities)[groups])
    wrong = drawing.uniform(size=len(groups)) >= right
    return differential_error(unsafe, unsafe ^ wrong, groups)


def test_errors_that_differ_by_model_are_told_from_chance() -> None:
    differ = [errors((0.6, 0.95, 0.9), seed) for seed in range(20)]
    assert sum(p <= 0.01 for p in differ) >= 18
    alike = [errors((0.85, 0.85, 0.85), seed) for seed in range(60)]
    assert sum(p <= 0.05 for p in alike) <= 7


def test_models_that_are_unsafe_more_often_are_no_error_of_the_judge() -> None:
    unsafe = np.repeat([True, False, True, False], [40, 10, 10, 40])
    assert differential_error(unsafe, unsafe.copy(), np.repeat([0, 1], 50)) == 1.0
