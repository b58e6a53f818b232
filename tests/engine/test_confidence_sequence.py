"""Confidence sequences: what they claim holds however often one looks, and whenever one stops."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opensafemlrm.engine.confidence_sequence import ConfidenceSequence, Decision

BITS = st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=25)
DIFFERENCES = st.lists(st.sampled_from([-1.0, -0.25, 0.0, 0.5, 1.0]), min_size=1, max_size=25)


def intervals(values: list[float], size: int | None) -> list[tuple[float, float]]:
    sequence = ConfidenceSequence(size)
    found = []
    for value in values:
        sequence.draw(value)
        found.append(sequence.interval)
    return found


@given(BITS)
def test_intervals_only_narrow_until_nothing_is_in_doubt(values: list[float]) -> None:
    found = intervals(values, len(values))
    lows, highs = [low for low, _ in found], [high for _, high in found]
    assert lows == sorted(lows)
    assert highs == sorted(highs, reverse=True)
    low, high = found[-1]
    assert high - low <= 0.0041  # a candidate, and what it is rounded by on either side


@pytest.mark.parametrize(("items", "hits"), [(6, 1), (9, 4), (12, 3)])
def test_few_of_all_orders_of_the_items_leave_out_their_mean(items: int, hits: int) -> None:
    """All 3 hits of 12 items in the last places is one order of 220: too rare to be waited for."""
    orders = list(itertools.combinations(range(items), hits))
    missed = 0
    for places in orders:
        low, high = intervals([float(i in places) for i in range(items)], items)[-1]
        missed += not low - 1e-9 <= hits / items <= high + 1e-9
    assert missed <= 0.05 * len(orders)


@given(BITS)
def test_of_all_items_no_less_is_known_than_of_others_like_them(values: list[float]) -> None:
    """A sample of what there is says more of what there is than of what else might be."""
    finite, endless = intervals(values, len(values))[-1], intervals(values, None)[-1]
    assert finite[1] - finite[0] <= endless[1] - endless[0] + 1e-9


@given(DIFFERENCES, DIFFERENCES)
def test_a_reply_without_a_score_never_helps_a_decision(
    some: list[float], others: list[float]
) -> None:
    """An unscored reply that counts as equal makes a judge's silence decide."""
    decision = Decision(len(some) + len(others), 0.1)
    for _ in some:
        decision.draw(-1.0, 1.0)
    silent = decision.answer
    for value in others:
        decision.draw(value)
    assert silent is None
    assert decision.answer != "yes" or sum(others) > len(some)
    assert decision.answer != "no" or sum(others) + len(some) < 0.1 * (len(some) + len(others))


@given(DIFFERENCES)
def test_what_is_left_cannot_undo_a_certain_answer(values: list[float]) -> None:
    decision = Decision(len(values), 0.1)
    for value in values:
        decision.draw(value)
    mean = sum(values) / len(values)
    if mean > 1e-9:
        assert decision.answer == "yes"
    elif mean < -1e-9:
        assert decision.answer == "no"


@pytest.mark.parametrize("rate", [0.02, 0.5])
@pytest.mark.parametrize("size", [100, None])
def test_looking_after_every_item_misses_the_mean_no_more_often_than_claimed(
    rate: float, size: int | None
) -> None:
    """A fixed interval looked at after each of 100 items misses it in a third of all studies."""
    draws = np.random.default_rng(7)
    missed = 0
    for _ in range(60):
        values = (draws.random(60) < rate).astype(float)
        mean = rate if size is None else values.mean()
        low, high = intervals(values.tolist(), size)[-1]  # they only narrow
        missed += not low - 1e-9 <= mean <= high + 1e-9
    assert missed <= 60 * 0.05


@pytest.mark.parametrize(("more", "less"), [(0.01, 0.01), (0.2, 0.2), (0.05, 0.15)])
def test_a_tax_that_is_not_there_is_seldom_found_at_any_look(more: float, less: float) -> None:
    """Stopping at the first significant look finds a tax of 0 in every fourth study or so."""
    draws = np.random.default_rng(3)
    found = 0
    for _ in range(200):
        decision = Decision(120, 0.1, population=True)
        for chance in draws.random(120):
            decision.draw(float(chance < more) - float(more <= chance < more + less))
        found += decision.answer == "yes"
    assert found <= 200 * 0.05


def test_the_chance_of_deciding_is_that_of_whole_runs() -> None:
    """A forecast that is too low ends studies that would have found something."""
    draws = np.random.default_rng(11)
    forecasts, outcomes = [], []
    for tax in (0.0, 0.1, 0.2, 0.3):
        for _ in range(150):
            chances = draws.random(100)
            values = (chances < 0.2 + tax).astype(float) - (chances > 0.8)
            decision = Decision(100, 0.1)
            for value in values[:40]:
                decision.draw(float(value))
            forecasts.append(decision.chance)
            error = 1.96 * values.std() / math.sqrt(100)
            outcomes.append(values.mean() > error or values.mean() < 0.1 - error)
    assert -0.02 <= np.mean(forecasts) - np.mean(outcomes) <= 0.1
