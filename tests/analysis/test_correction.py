"""Self-correction: who is in the 2×2, and who is counted beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest

from opensafemlrm.analysis.correction import correction
from opensafemlrm.analysis.intervals import rate_interval
from tests.support import records


def table(rows: Any, pairs: Sequence[tuple[float | None, float | None]], **more: Any) -> Any:
    """Samples with the scores of their reasoning and of their answer."""
    parts = zip(("reasoning", "answer"), zip(*pairs, strict=True), strict=True)
    return pl.concat(rows(list(scores), part=part, **more) for part, scores in parts)


def lenient(frame: Any) -> Any:
    (row,) = [row for row in records(correction(frame)) if row.threshold == 4]
    return row


def test_the_four_cells_and_the_rates_of_them(rows: Any) -> None:
    pairs = [(5.0, 5.0)] * 30 + [(5.0, 0.0)] * 10 + [(0.0, 5.0)] * 5 + [(0.0, 0.0)] * 55
    row = lenient(table(rows, pairs))
    assert (row.both_unsafe, row.corrected, row.reverse, row.both_safe) == (30, 10, 5, 55)
    assert row.self_correction == 0.25
    assert row.unsafe_given_unsafe == 0.75
    assert row.unsafe_given_safe == pytest.approx(5 / 60)
    low, high = rate_interval(10, 40)
    assert row.self_correction_low == pytest.approx(float(low))
    assert row.self_correction_high == pytest.approx(float(high))
    assert row.phi_low < row.phi < row.phi_high


def test_only_samples_with_both_parts_scored_are_in_it_and_the_others_beside(rows: Any) -> None:
    """A missing answer after unsafe reasoning is no self-correction."""
    row = lenient(table(rows, [(5.0, 0.0), (5.0, None), (None, 0.0), (None, None)]))
    assert (row.n, row.both, row.not_both, row.corrected) == (4, 1, 3, 1)


@pytest.mark.parametrize("status", ["summary", "hidden"])
def test_what_a_provider_shows_in_place_of_reasoning_is_kept_apart(rows: Any, status: str) -> None:
    frame = pl.concat(
        [
            table(rows, [(5.0, 0.0)] * 4),
            table(rows, [(5.0, 5.0)] * 3, first=4, reasoning_status=status),
        ]
    )
    found = {row.reasoning_status: row for row in records(correction(frame)) if row.threshold == 4}
    assert set(found) == {"raw", status}
    assert (found["raw"].self_correction, found[status].self_correction) == (1.0, 0.0)


def test_histograms_cannot_tell_which_reasoning_led_to_which_answer(rows: Any) -> None:
    """This is why the paper's 16.9 % cannot be recomputed from the published files."""
    frame = table(
        rows, [(5.0, 0.0)] * 4, sample=None, item=None, item_key=None, reasoning_status=None
    )
    row = lenient(frame)
    assert (row.reasoning_status, row.n, row.both, row.not_both) == ("counts", 4, 0, 4)
    assert (row.self_correction, row.phi) == (None, None)


def test_a_model_that_writes_no_reasoning_has_no_row(rows: Any) -> None:
    assert correction(table(rows, [(None, 5.0)] * 3, reasoning_status="absent")).is_empty()


def test_a_failed_reply_of_a_reasoning_model_is_counted_beside(rows: Any) -> None:
    frame = pl.concat(
        [
            table(rows, [(5.0, 0.0)]),
            table(
                rows,
                [(None, None)],
                first=1,
                reasoning_status=None,
                status="failed",
                reason="failed",
            ),
        ]
    )
    assert (lenient(frame).n, lenient(frame).not_both) == (2, 1)


def test_no_unsafe_reasoning_means_no_rate_rather_than_zero(rows: Any) -> None:
    row = lenient(table(rows, [(0.0, 0.0)] * 5))
    assert (row.self_correction, row.self_correction_low, row.unsafe_given_unsafe) == (None,) * 3
    assert row.unsafe_given_safe == 0.0


def test_repeats_of_an_item_make_the_figure_no_surer(rows: Any) -> None:
    pairs = [(5.0, 5.0)] * 6 + [(5.0, 0.0)] * 4 + [(0.0, 0.0)] * 10
    once = table(rows, pairs)
    again = pl.concat(
        once.with_columns(
            repeat=pl.lit(r, pl.Int64), sample=pl.format("{}-{}", pl.col("sample"), pl.lit(r))
        )
        for r in range(3)
    )
    one, three = lenient(once), lenient(again)
    assert three.both == 60
    for name in ("self_correction_low", "self_correction_high", "phi_low", "kappa_high"):
        assert getattr(three, name) == pytest.approx(getattr(one, name))


def test_benign_items_are_not_in_it(rows: Any) -> None:
    frame = pl.concat(
        [table(rows, [(5.0, 0.0)]), table(rows, [(5.0, 5.0)], first=1, expected="benign")]
    )
    assert lenient(frame).n == 1


def test_by_scenario_few_scenarios_that_differ_say_little(rows: Any) -> None:
    """Corrected throughout in two scenarios and never in one: of others little is known."""
    frame = pl.concat(
        rows([5.0] * 50, first, scenario=scenario, part=part).with_columns(
            score=pl.when(pl.lit(part == "reasoning")).then(5.0).otherwise(score)
        )
        for first, scenario, score in ((0, "a", 0.0), (50, "b", 5.0), (100, "c", 0.0))
        for part in ("reasoning", "answer")
    )
    items = records(correction(frame).filter(threshold=4))[0]
    scenarios = records(correction(frame, cluster="scenario").filter(threshold=4))[0]
    assert items.self_correction == scenarios.self_correction == 2 / 3
    assert items.self_correction_high - items.self_correction_low < 0.2
    assert scenarios.self_correction_high - scenarios.self_correction_low > 0.6
