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
from opensafemlrm.analysis.compare import mean_effects
from opensafemlrm.analysis.intervals import wilson
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
    # statsmodels corrects for the degrees of freedom of both clusters and samples.
    theirs = float(fit.bse[0] ** 2) * (len(y) - 1) / len(y)
    assert ours == pytest.approx(theirs, rel=0.01)
    assert 80 < n[0] < len(y)


def test_histograms_have_no_items_and_each_count_stands_alone(rows: Any) -> None:
    frame = rows([5.0] * 3 + [0.0] * 7, sample=None, item=None, item_key=None, source="import")
    rate, n = rate_of(unsafe_counts(frame))
    assert (rate[0], n[0]) == (0.3, 10)


def _mean(rates: list[float], sizes: list[float]) -> Any:
    """The mean over scenarios of one side of a comparison; the other is the same throughout."""
    scenarios = pl.DataFrame({"rate": rates, "size": sizes}).with_columns(
        rate_right=0.5, size_right=10.0, correlation=0.0, family=1
    )
    (mean,) = records(mean_effects(scenarios, ["family"]))
    return mean


def test_a_mean_of_rates_is_as_sure_as_its_parts_make_it() -> None:
    mean = _mean([0.2, 0.4], [100.0, 50.0])
    assert mean.rate == pytest.approx(0.3)
    assert mean.rate * (1 - mean.rate) / mean.size == pytest.approx(
        (0.2 * 0.8 / 100 + 0.4 * 0.6 / 50) / 4
    )
    never = _mean([0.0, 0.0], [100.0, 100.0])
    assert (never.rate, never.size) == (0.0, pytest.approx(200.0))


def test_a_scenario_that_was_not_measured_is_in_no_mean() -> None:
    assert _mean([0.2, float("nan")], [100.0, 0.0]).rate == 0.2
