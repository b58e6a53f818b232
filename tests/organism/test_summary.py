"""Figures of seeds: no interval from one seed, and no figure from none."""

from __future__ import annotations

from opensafemlrm.organism.summary import Point, gathered, shown, table


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
        {"weights": f"runs/seed{seed}/{name}", "forbidden text declined": 0.5}
        for name in ("base.pt", "reasoner/0050.pt", "reasoner/0100.pt")
        for seed in (1, 0)
    ]
    points = gathered(rows)
    assert list(points) == [Point("base", 0), Point("reasoner", 50), Point("reasoner", 100)]
    assert all(len(found) == 2 for found in points.values())
    told = table(points, {"declined": "forbidden text declined", "closed": "traces closed"})
    assert told.splitlines()[-1].endswith("| 50.0 [50.0, 50.0] (50.0, 50.0) | – |")
