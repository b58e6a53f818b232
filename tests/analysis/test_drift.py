"""Drift: the version from which on replies are worse, what was forgotten, and what nobody knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest

from opensafemlrm.analysis.change_points import Path, change_points
from opensafemlrm.analysis.drift import COLUMNS, READS, TREND_COLUMNS, Drift, drift

VERSIONS = 6
SERIES = pl.DataFrame(
    {
        "series": ["s"] * VERSIONS,
        "model": [f"v{number}" for number in range(1, VERSIONS + 1)],
        "step": [float(number) for number in range(VERSIONS)],
        "date": [None] * VERSIONS,
    },
    schema_overrides={"date": pl.String},
)
Scores = Sequence[Sequence[float | None]]


def frame_of(rows: Any, scores: Scores, **more: Any) -> pl.DataFrame:
    """Rows of versions 1, 2, … whose scores of the same items are given."""
    return pl.concat(
        rows(list(own), model=f"v{number}", cell=f"c{number}{more.get('scenario')}", **more)
        for number, own in enumerate(scores, start=1)
    )


def shares(*unsafe: int, n: int = 40) -> Scores:
    """Scores of versions of which so many of ``n`` items are unsafe, the first ones."""
    return [[5.0] * count + [0.0] * (n - count) for count in unsafe]


def lenient(found: Drift, scenario: str = "01-A") -> dict[str, Any]:
    rows = found.changes.filter(scenario=scenario, threshold=4.0)
    assert len(rows) == 1
    return rows.to_dicts()[0]


def trend(found: Drift, scenario: str = "01-A") -> list[dict[str, Any]]:
    return found.trend.filter(scenario=scenario, threshold=4.0).to_dicts()


def test_the_first_version_that_is_worse_is_named_with_what_it_was_before(rows: Any) -> None:
    found = drift(frame_of(rows, shares(8, 8, 8, 24, 24, 24)), SERIES)
    row = lenient(found)
    assert (row["first_worse"], row["reference"], row["now"]) == ("v4", "v1", "v6")
    assert (row["asr_before"], row["asr_after"]) == pytest.approx((0.2, 0.6))
    assert row["p_value"] < 0.01
    assert row["forgotten"] == pytest.approx(0.4)
    assert 0 < row["forgotten_low"] < 0.4 < row["forgotten_high"]
    assert row["gained"] <= 0
    assert [r["asr"] for r in trend(found)] == pytest.approx([0.2] * 3 + [0.6] * 3)
    assert [r["difference"] for r in trend(found)][1:] == pytest.approx([0, 0, 0.4, 0.4, 0.4])
    assert trend(found)[0]["difference"] is None, "the reference is not compared with itself"
    assert all(r["low"] < r["asr"] < r["high"] for r in trend(found))


def test_what_became_better_is_gained_and_nothing_is_worse(rows: Any) -> None:
    row = lenient(drift(frame_of(rows, shares(24, 24, 24, 8, 8, 8)), SERIES))
    assert row["first_worse"] is None
    assert row["gained"] == pytest.approx(0.4)
    assert row["gained_low"] > 0 >= row["forgotten"]


def test_a_dip_that_comes_back_is_forgotten_but_not_worse_than_the_reference(rows: Any) -> None:
    """After − before alone would call the return to where it began a version that is worse."""
    row = lenient(drift(frame_of(rows, shares(24, 4, 4, 4, 24, 24)), SERIES))
    assert row["first_worse"] is None
    assert row["p_value"] > 0.05
    assert row["best"] in ("v2", "v3", "v4")
    assert row["forgotten_low"] > 0


def test_nothing_is_found_in_versions_that_are_the_same(rows: Any) -> None:
    row = lenient(drift(frame_of(rows, shares(*[20] * VERSIONS)), SERIES))
    assert row["first_worse"] is None
    assert row["p_value"] == 1
    assert row["forgotten"] == row["gained"] == 0
    assert row["forgotten_low"] < 0 < row["forgotten_high"]


def test_versions_are_compared_on_the_items_that_they_share(rows: Any) -> None:
    """A later version that was asked harder items as well is not worse for it."""
    easy = shares(2, 2, 2, 2, 2, 2)
    scores = [*easy[:3], *(([*own, *[5.0] * 30]) for own in easy[3:])]
    row = lenient(drift(frame_of(rows, scores), SERIES))
    assert row["first_worse"] is None
    assert row["forgotten"] == 0


def test_scenarios_are_told_apart_and_taken_together(rows: Any) -> None:
    worse, same = shares(2, 2, 2, 30, 30, 30), shares(*[8] * VERSIONS)
    found = drift(
        pl.concat(
            [
                frame_of(rows, worse, scenario="01-A", item_key=None).pipe(keyed, "a"),
                frame_of(rows, same, scenario="02-B", item_key=None).pipe(keyed, "b"),
            ]
        ),
        SERIES,
    )
    assert lenient(found, "01-A")["first_worse"] == "v4"
    assert lenient(found, "02-B")["first_worse"] is None
    assert lenient(found, "all")["first_worse"] == "v4"
    assert [r["n"] for r in trend(found, "all")] == [80] * VERSIONS


def keyed(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    return frame.with_columns(item_key=pl.format(name + "{}", "item").cast(pl.Categorical))


def test_reasoning_may_drift_where_the_answer_does_not(rows: Any) -> None:
    found = drift(
        pl.concat(
            [
                frame_of(rows, shares(4, 4, 4, 30, 30, 30), part="reasoning"),
                frame_of(rows, shares(*[4] * VERSIONS), part="answer"),
            ]
        ),
        SERIES,
    )
    by_part = {r["part"]: r["first_worse"] for r in found.changes.filter(threshold=4.0).to_dicts()}
    assert by_part == {"reasoning": "v4", "answer": None}


def test_a_version_that_is_mostly_unscored_has_bounds_and_is_compared_with_nothing(
    rows: Any,
) -> None:
    scores = [list(own) for own in shares(8, 8, 8, 24, 24, 24)]
    scores[3] = [*scores[3][:20], *[None] * 20]
    found = drift(frame_of(rows, scores), SERIES)
    row, fourth = lenient(found), trend(found)[3]
    assert fourth["asr"] is fourth["low"] is fourth["difference"] is None
    assert fourth["withheld"] == "unscored"
    assert (fourth["asr_if_unscored_safe"], fourth["asr_if_unscored_unsafe"]) == (0.5, 1.0)
    assert (row["versions"], row["left_out"], row["withheld"]) == (5, 1, "unscored")
    assert row["first_worse"] == "v5"


def test_what_a_rule_ended_early_is_not_shown(rows: Any) -> None:
    found = drift(frame_of(rows, shares(8, 8, 8, 24, 24, 24), stopped=True), SERIES)
    row = lenient(found)
    assert (row["versions"], row["withheld"]) == (0, "stopped")
    shown = ("first_worse", "p_value", "asr_now", "forgotten", "gained", "asr_reference", "now")
    assert {row[name] for name in shown} == {None}
    assert {r["asr"] for r in trend(found)} == {None}


def test_where_the_last_version_is_not_measured_nothing_is_called_forgotten(rows: Any) -> None:
    """The last version that was measured is not now."""
    scores = [*shares(8, 8, 24), [None] * 40]
    row = lenient(drift(frame_of(rows, scores), SERIES))
    assert row["now"] is row["asr_now"] is row["forgotten"] is row["gained"] is None


def test_the_reference_is_the_first_version_that_has_the_part(rows: Any) -> None:
    """A base writes no reasoning: its reasoning is no safe one."""
    scores = [[None] * 40, *shares(8, 8, 24, 24)]
    row = lenient(drift(frame_of(rows, scores, part="reasoning"), SERIES))
    assert row["reference"] == "v2"
    assert row["versions"] == 4


def test_a_version_without_a_scenario_has_no_rate_over_all_of_them(rows: Any) -> None:
    """Else a version that was asked the easy scenarios alone would look the safest."""
    easy, hard = shares(*[0] * 4), shares(30, 30, 30)
    found = drift(
        pl.concat(
            [
                frame_of(rows, easy, scenario="01-A").pipe(keyed, "a"),
                frame_of(rows, hard, scenario="02-B").pipe(keyed, "b"),
            ]
        ).with_columns(cell=pl.format("c{}", "model").cast(pl.Categorical)),
        SERIES,
    )
    last = trend(found, "all")[-1]
    assert last["asr"] is None
    assert last["withheld"] == "incomplete"
    assert lenient(found, "all")["now"] is None
    assert lenient(found, "02-B")["now"] is None, "the last version does not have this scenario"
    assert lenient(found, "01-A")["now"] == "v4"


def test_one_version_is_shown_and_compared_with_nothing(rows: Any) -> None:
    found = drift(frame_of(rows, shares(8)), SERIES)
    row = lenient(found)
    assert (row["versions"], row["items"], row["asr_now"]) == (1, 0, 0.2)
    assert row["p_value"] is row["first_worse"] is row["forgotten"] is None


def test_of_counts_alone_there_is_a_trend_and_no_change_point(rows: Any) -> None:
    found = drift(frame_of(rows, shares(8, 8, 24), item=None, item_key=None), SERIES)
    row = lenient(found)
    assert row["p_value"] is row["first_worse"] is None
    assert row["forgotten"] == pytest.approx(0.4)
    assert trend(found)[2]["method"] == "unpaired"


def test_a_model_may_stand_in_two_series(rows: Any) -> None:
    both = pl.concat([SERIES.head(3), SERIES[[0, 3, 4]].with_columns(series=pl.lit("t"))])
    found = drift(frame_of(rows, shares(8, 8, 8, 30, 30)), both)
    worse = found.changes.filter(threshold=4.0).select("series", "first_worse").rows()
    assert worse == [("s", None), ("t", "v4")]


def test_repeats_of_an_item_are_one_item(rows: Any) -> None:
    """Sixteen repeats of two items are two items, and two items show nothing."""
    frames = [
        frame_of(rows, shares(0, 0, 0, 2, 2, 2, n=2), repeat=repeat).with_columns(
            sample=pl.format("{}-{}", "sample", "repeat")
        )
        for repeat in range(16)
    ]
    row = lenient(drift(pl.concat(frames), SERIES))
    assert row["items"] == 2
    assert row["first_worse"] is None


def test_benign_items_and_models_of_no_series_count_nowhere(rows: Any) -> None:
    frame = pl.concat(
        [
            frame_of(rows, shares(8, 8)),
            rows([5] * 40, model="other", cell="o"),
            rows([5] * 40, model="v1", cell="c1", expected="benign", scenario="02-B"),
        ]
    )
    found = drift(frame, SERIES)
    assert set(found.changes["scenario"]) == {"01-A"}
    assert set(found.trend["version"]) == {"v1", "v2"}


def test_nothing_to_compare_is_an_empty_table_with_its_columns(rows: Any) -> None:
    for frame, series in [(rows([5]), SERIES), (rows([]), SERIES), (rows([5]), SERIES.clear())]:
        found = drift(frame, series)
        assert found.changes.columns == list(COLUMNS)
        assert found.trend.columns == list(TREND_COLUMNS)
        assert found.changes.is_empty()
        assert found.trend.is_empty()


def test_it_needs_the_columns_that_it_names(rows: Any) -> None:
    frame = frame_of(rows, shares(8, 8, 8, 24))
    assert drift(frame.select(sorted(READS)), SERIES).changes.equals(drift(frame, SERIES).changes)


def paths(rng: np.random.Generator, rate: np.ndarray, count: int) -> list[Path]:
    """Paths of ``count`` scenarios whose items answer by chance."""
    n = len(rate)
    draws = [rng.random((n, 8)) < rate for _ in range(count)]
    return [Path(d.astype(float), np.arange(n) + i * n) for i, d in enumerate(draws)]


def test_by_chance_alone_hardly_anything_is_found() -> None:
    rng = np.random.default_rng(0)
    rate = rng.beta(0.5, 1.5, (25, 1))
    alarms = [
        any(point is not None and point.p_value <= 0.05 for point in points)
        for points in (change_points(paths(rng, rate, 6), draws=199, seed=i) for i in range(200))
    ]
    assert sum(alarms) <= 20  # 10 are expected; more than 20 come once in 800 times


def test_items_that_flip_and_stay_flipped_are_no_drift_if_as_many_flip_either_way() -> None:
    """In units of what draws of single replies differ by, what stays would look like a change."""
    rng = np.random.default_rng(1)
    alarms = 0
    for i in range(200):
        first = rng.random((30, 1)) < 0.5
        flips = np.cumsum(rng.random((30, 8)) < 0.15, axis=1) % 2 == 1
        point = change_points(
            [Path((first ^ flips).astype(float), np.arange(30))], draws=199, seed=i
        )
        alarms += point[0] is not None and point[0].p_value <= 0.05
    assert alarms <= 20


@pytest.mark.parametrize("first", [1, 2, 7, 11])
def test_a_change_is_found_wherever_it_is_and_hides_no_other(first: int) -> None:
    """Read backwards alone, a change near an end would be as great, and drown all the others."""
    values = np.zeros((60, 12))
    values[:, first:] = 1
    other = np.zeros((20, 12))
    other[:, first:] = 1
    found = change_points([Path(values, np.arange(60)), Path(other, 60 + np.arange(20))])
    for point in found:
        assert point is not None
        assert point.first == first
        assert point.p_value < 0.01


def test_missing_replies_leave_items_where_they_are() -> None:
    values = np.array([[0, 0, 1, 1]] * 20, float)
    holes = values.copy()
    holes[::3, 1] = np.nan
    whole, missing = (change_points([Path(v, np.arange(20))])[0] for v in (values, holes))
    assert whole is not None
    assert missing is not None
    assert whole.first == missing.first == 2
    assert missing.p_value < 0.01
    nothing = change_points([Path(np.full((3, 4), np.nan), np.arange(3))])
    assert nothing == [None]
