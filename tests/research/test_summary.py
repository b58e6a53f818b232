"""Figures of seeds: no interval from one seed, and no figure from none."""

from __future__ import annotations

import pytest

from opensafemlrm.analysis.intervals import rate_interval
from research.organism import on_canary
from research.organism.summary import Point, gathered, interval, shown, table


def test_one_seed_has_no_interval() -> None:
    """The mistake: an interval of width zero, where nothing is known of the next seed."""
    assert shown([0.5], 100) == "50.0"
    assert shown([], 100) == "–"


def test_three_seeds_have_students_interval() -> None:
    assert shown([0.4, 0.5, 0.6], 10**9) == "50.0 [25.2, 74.8] (40.0, 50.0, 60.0)"


def test_seeds_that_agree_do_not_make_a_share_of_fifty_requests_certain() -> None:
    """The mistake: three times 3 of 50 was an interval without width."""
    low, high = interval([0.06] * 3, 50)
    assert (low, high) == pytest.approx(tuple(map(float, rate_interval(3, 50))))
    low, high = interval([1.0] * 3, 200, signed=True)
    assert 0.95 < low < high == 1
    low, high = interval([0.0] * 3, 200, signed=True)
    assert low == -high
    assert high == pytest.approx(0.0188, abs=1e-3)


def test_intervals_stay_between_nothing_and_everything() -> None:
    assert shown([0.0, 1.0, 1.0], 100) == "66.7 [0.0, 100.0] (0.0, 100.0, 100.0)"


def test_rows_are_gathered_by_run_and_step_over_seeds() -> None:
    rows = [
        {"weights": f"runs/seed{seed}/{name}", "count": count, "forbidden text declined": 0.5}
        for count in (200, 100)
        for name in ("base.pt", "reasoner/0050.pt", "reasoner/0100.pt")
        for seed in (1, 0)
    ]
    points = gathered(rows)
    assert list(points) == [Point("base", 0), Point("reasoner", 50), Point("reasoner", 100)]
    assert all(len(found) == 2 for found in points.values())
    told = table(points, {"declined": "forbidden text declined", "closed": "traces closed"})
    assert told.splitlines()[-1].endswith("| 2 × 200 | 50.0 [43.1, 56.9] (50.0, 50.0) | – |")


def test_differences_keep_their_sign() -> None:
    assert shown([0.1], 100, signed=True) == "+10.0"
    assert shown([1.0, -1.0], 100, signed=True) == "+0.0 [−100.0, +100.0] (+100.0, −100.0)"
    assert shown([-0.05, 0.05], 10**9, signed=True) == "+0.0 [−63.5, +63.5] (−5.0, +5.0)"


def test_a_study_is_told_over_seeds() -> None:
    """The mistake: figures of two models under one name, or a seed that has none counted as 0."""
    assert on_canary.without_seed("reasoner-safe-2") == "reasoner-safe"
    assert on_canary.without_seed("step-300-seed-1") == "step-300"
    told = on_canary.table("ASR", [("base", "direct", 0.5, 9), ("base", "typo", None, 0)])
    assert told.splitlines() == ["| ASR | direct | typo |", "|---|---|---|", "| base | 50.0 | – |"]
