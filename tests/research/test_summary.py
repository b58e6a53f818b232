"""Figures of seeds: no interval from one seed, and no figure from none."""

from __future__ import annotations

from research.organism import on_canary
from research.organism.summary import Point, gathered, shown, table


def test_one_seed_has_no_interval() -> None:
    """The mistake: an interval of width zero, where nothing is known of the next seed."""
    assert shown([0.5]) == "50.0"
    assert shown([]) == "–"


def test_three_seeds_have_students_interval() -> None:
    assert shown([0.4, 0.5, 0.6]) == "50.0 [25.2, 74.8] (40.0, 50.0, 60.0)"


def test_intervals_stay_between_nothing_and_everything() -> None:
    assert shown([0.0, 1.0, 1.0]) == "66.7 [0.0, 100.0] (0.0, 100.0, 100.0)"


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
    assert told.splitlines()[-1].endswith("| 2 × 200 | 50.0 [50.0, 50.0] (50.0, 50.0) | – |")


def test_differences_keep_their_sign() -> None:
    assert shown([0.1], signed=True) == "+10.0"
    assert shown([1.0, -1.0], signed=True) == "+0.0 [−100.0, +100.0] (+100.0, −100.0)"
    assert shown([-0.05, 0.05], signed=True) == "+0.0 [−63.5, +63.5] (−5.0, +5.0)"


def test_a_study_is_told_over_seeds() -> None:
    """The mistake: figures of two models under one name, or a seed that has none counted as 0."""
    assert on_canary.without_seed("reasoner-safe-2") == "reasoner-safe"
    assert on_canary.without_seed("step-300-seed-1") == "step-300"
    told = on_canary.table("ASR", [("base", "direct", 0.5), ("base", "typo", None)])
    assert told.splitlines() == ["| ASR | direct | typo |", "|---|---|---|", "| base | 50.0 | – |"]
