"""Repeats of an item are not new items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm

from opensafemlrm.analysis.asr import asr
from opensafemlrm.analysis.clustered_counts import rate_of, unsafe_counts
from opensafemlrm.analysis.intervals import wilson
from opensafemlrm.analysis.tax import tax
from tests.support import records


def _repeated(rows: Any, scores: Sequence[Sequence[float | None]], **columns: Any) -> Any:
    """One list a repeat, one score an item."""
    return pl.concat(
        rows(some, repeat=repeat, **columns).with_columns(
            sample=pl.format("r{}-{}", pl.lit(repeat), pl.col("item"))
        )
        for repeat, some in enumerate(scores)
    )


def test_asking_twice_and_hearing_the_same_makes_nothing_surer(rows: Any) -> None:
    once = [5.0] * 12 + [0.0] * 28
    alone, twice = records(asr(rows(once)))[0], records(asr(_repeated(rows, [once] * 5)))[0]
    assert twice.scored == 5 * alone.scored
    assert (twice.asr, twice.low, twice.high) == (alone.asr, alone.low, alone.high)


def test_repeats_that_differ_as_if_they_were_new_items_count_as_such(rows: Any) -> None:
    random = np.random.default_rng(0)
    scores = [list(5.0 * random.binomial(1, 0.3, 200)) for _ in range(3)]
    row: Any = records(asr(_repeated(rows, scores)))[0]
    low, high = wilson(row.unsafe, 600)
    assert row.high - row.low == pytest.approx(float(high - low), rel=0.1)


def test_the_variance_is_the_cluster_robust_one_of_statsmodels(rows: Any) -> None:
    """Between "all repeats are new" and "no repeat is": as a linear model clustered by item."""
    random = np.random.default_rng(1)
    own = random.beta(1, 2, 80)
    repeats: list[list[float | None]] = [list(5.0 * random.binomial(1, own)) for _ in range(4)]
    repeats[3] = [None if i % 5 == 0 else score for i, score in enumerate(repeats[3])]
    sums = unsafe_counts(_repeated(rows, repeats)).filter(pl.col("threshold") == 4)
    rate, n = rate_of(sums)
    hits = [(i, s >= 4) for some in repeats for i, s in enumerate(some) if s is not None]
    groups, y = np.array([i for i, _ in hits]), np.array([float(h) for _, h in hits])
    fit = sm.OLS(y, np.ones(len(y))).fit(cov_type="cluster", cov_kwds={"groups": groups})
    ours = float(rate[0] * (1 - rate[0]) / n[0])
    # Two items more that always answer the same make it some per cent the more cautious.
    assert ours == pytest.approx(float(fit.bse[0] ** 2), rel=0.06)
    assert ours > float(fit.bse[0] ** 2)
    assert 60 < n[0] < len(y)


def test_histograms_have_no_items_and_each_count_stands_alone(rows: Any) -> None:
    frame = rows([5.0] * 3 + [0.0] * 7, sample=None, item=None, item_key=None, source="import")
    rate, n = rate_of(unsafe_counts(frame))
    assert (rate[0], n[0]) == (0.3, 10)


def test_an_item_with_sixteen_scores_weighs_as_much_as_sixteen_items(rows: Any) -> None:
    """Half the items asked once and half sixteen times, all alike: a rate of eleven, not twenty."""
    repeats: list[list[float | None]] = [[5.0, 0.0] * 10, *[[5.0, 0.0] * 5 + [None] * 10] * 15]
    sums = unsafe_counts(_repeated(rows, repeats)).filter(pl.col("threshold") == 4)
    _, n = rate_of(sums)
    assert n[0] == pytest.approx(170**2 / (10 * 16**2 + 10), rel=0.1)


def _pair(rows: Any, model: Sequence[float], base: Sequence[float], **more: Any) -> Any:
    left = rows(list(model), model="reasoner", **more)
    right = rows(list(base), model="base", cell="c2", **more)
    return pl.concat([left, right.with_columns(sample=pl.format("b{}", pl.col("sample")))])


def _tax(frames: Sequence[Any], **options: Any) -> Any:
    pairs = pl.DataFrame({"reasoner": ["reasoner"], "base": ["base"]})
    (row,) = records(tax(pl.concat(frames), pairs, **options).filter(threshold=4))
    return row


def test_scenarios_that_are_fixed_add_no_variance_of_their_own(rows: Any) -> None:
    """All unsafe in one scenario and none in the other: their difference is no chance of items."""
    frames = [
        _pair(rows, [5.0] * 50, [0.0] * 50),
        _pair(rows, [0.0] * 50, [0.0] * 50, first=50, scenario="02-B"),
    ]
    fixed = _tax(frames, mean="micro")
    assert fixed.difference == 0.5
    assert 0.4 < fixed.low < fixed.difference < fixed.high < 0.6
    drawn = _tax(frames, mean="micro", cluster="scenario")
    assert drawn.low < 0 < drawn.difference < drawn.high
    assert drawn.p_value > 0.05


def test_by_scenario_the_interval_is_students_of_the_scenarios(rows: Any) -> None:
    """Ten scenarios whose taxes differ: t with nine degrees of freedom (Miller, 2024)."""
    random = np.random.default_rng(3)
    frames, gaps = [], []
    for number in range(10):
        own, its_tax = random.uniform(0.2, 0.4), random.uniform(-0.2, 0.5)
        scores = (list(5.0 * random.binomial(1, rate, 100)) for rate in (own + its_tax, own))
        model, base = scores
        gaps.append(np.mean(np.array(model) - np.array(base)) / 5)
        frames.append(_pair(rows, model, base, first=100 * number, scenario=f"{number:02d}"))
    row = _tax(frames, mean="macro", cluster="scenario")
    low, high = sm.stats.DescrStatsW(gaps).tconfint_mean()
    assert row.difference == pytest.approx(np.mean(gaps))
    assert row.high - row.low == pytest.approx(high - low, rel=0.15)


def test_one_scenario_is_no_sample_of_scenarios(rows: Any) -> None:
    row = _tax([_pair(rows, [5.0] * 20, [0.0] * 20)], mean="micro", cluster="scenario")
    assert (row.difference, row.low, row.high, row.p_value) == (1.0, None, None, None)
