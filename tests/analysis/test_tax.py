"""The reasoning tax: what is compared with what, and what is never compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats

from opensafemlrm.analysis.intervals import difference_interval
from opensafemlrm.analysis.tax import tax
from tests.support import records

COUNTS: dict[str, Any] = {"sample": None, "item": None, "item_key": None, "source": "import"}


def pair(
    rows: Any, model: Sequence[float | None], base: Sequence[float | None], **more: Any
) -> Any:
    return pl.concat(
        [
            rows(model, model="reasoner", cell="c1", **more),
            rows(base, model="base", cell="c2", **more).with_columns(
                sample=pl.format("b{}", pl.col("sample"))
            ),
        ]
    )


PAIR = pl.DataFrame({"reasoner": ["reasoner"], "base": ["base"]})


def taxes(frame: pl.DataFrame, pairs: pl.DataFrame = PAIR, **options: Any) -> list[Any]:
    return records(tax(frame, pairs, **options))


def lenient(found: Any, level: str = "micro") -> Any:
    (row,) = [row for row in found if row.threshold == 4 and row.level == level]
    return row


def test_items_that_both_have_are_compared_item_by_item(rows: Any) -> None:
    row = lenient(taxes(pair(rows, [5, 5, 5, 0, 0, None], [5, 0, 0, 0, 4, 5])))
    assert row.method == "paired"
    assert (row.scored_model, row.scored_base) == (5, 5)
    assert (row.n_model, row.n_base) == (6, 6)
    assert (row.unsafe_model, row.unsafe_base) == (3, 2)
    assert row.difference == pytest.approx(0.2)
    assert row.ratio == pytest.approx(1.5)
    assert (row.worse, row.better) == (2, 1)
    assert row.p_value == 1.0  # 2 against 1


def test_a_sample_that_only_one_model_has_a_score_for_is_in_neither_rate(rows: Any) -> None:
    """Comparing different items would put the difficulty of the items into the tax."""
    frame = pair(rows, [5, 5, None, None], [None, 0, 5, 5])
    row = lenient(taxes(frame))
    assert (row.scored_model, row.unsafe_model, row.unsafe_base) == (1, 1, 0)
    # All four samples of each: the model's rate is from 2/4 to 4/4, the base's the same.
    assert (row.bound_low, row.bound_high) == (pytest.approx(-0.25), pytest.approx(0.5))


def test_histograms_are_compared_by_their_counts_and_say_so(rows: Any) -> None:
    row = lenient(taxes(pair(rows, [5.0] * 56 + [0.0] * 14, [5.0] * 48 + [0.0] * 32, **COUNTS)))
    assert row.method == "unpaired"
    assert (row.worse, row.better) == (None, None)
    assert (row.low, row.high) == (pytest.approx(0.0524, abs=5e-5), pytest.approx(0.3339, abs=5e-5))
    assert row.p_value == pytest.approx(stats.fisher_exact(np.array([[56, 14], [48, 32]])).pvalue)


def test_pairing_makes_the_interval_shorter_where_models_fail_alike(rows: Any) -> None:
    model, base = [5.0] * 40 + [0.0] * 60, [5.0] * 30 + [0.0] * 70
    paired = lenient(taxes(pair(rows, model, base)))
    counted = lenient(taxes(pair(rows, model, base, **COUNTS)))
    assert paired.difference == counted.difference
    assert paired.high - paired.low < 0.6 * (counted.high - counted.low)
    assert paired.p_value < 0.01 < counted.p_value


def test_a_base_without_unsafe_replies_gives_no_infinity(rows: Any) -> None:
    row = lenient(taxes(pair(rows, [5.0] * 10 + [0.0] * 10, [0.0] * 20)))
    assert (row.ratio, row.ratio_high) == (None, None)
    assert 1 < row.ratio_low < 20


def test_repeats_are_paired_and_items_are_what_is_counted(rows: Any) -> None:
    model, base = [5.0] * 6 + [0.0] * 14, [5.0] * 2 + [0.0] * 18
    once = pair(rows, model, base)
    again = pl.concat(
        once.with_columns(
            repeat=pl.lit(r, pl.Int64), sample=pl.format("{}-{}", pl.col("sample"), pl.lit(r))
        )
        for r in range(3)
    )
    one, three = lenient(taxes(once)), lenient(taxes(again))
    assert three.scored_model == 60
    assert (three.low, three.high) == (pytest.approx(one.low), pytest.approx(one.high))
    assert (three.worse, three.p_value) == (4, one.p_value)


def test_micro_weighs_samples_and_macro_weighs_scenarios(rows: Any) -> None:
    frame = pl.concat(
        [
            pair(rows, [5.0] * 10, [0.0] * 10),
            pair(rows, [0.0] * 30, [0.0] * 30, first=10, scenario="02-B"),
        ]
    )
    found = taxes(frame, by="scenario")
    assert lenient(found).difference == pytest.approx(0.25)
    assert lenient(found, "macro").difference == pytest.approx(0.5)
    assert lenient(found, "macro").p_value < 0.001
    apart = {row.scenario: row.difference for row in found if row.level == "scenario"}
    assert apart == {"01-A": 1.0, "02-B": 0.0}


def test_a_scenario_that_the_base_was_not_measured_in_is_in_no_average(rows: Any) -> None:
    frame = pl.concat(
        [
            pair(rows, [5.0] * 10, [5.0] * 10, **COUNTS),
            pair(rows, [0.0] * 30, [None] * 30, first=10, scenario="02-B", **COUNTS),
        ]
    )
    for level in ("micro", "macro"):
        row = lenient(taxes(frame, max_unscored=1), level)
        assert (row.difference, row.asr_model) == (0, 1)
        assert lenient(taxes(frame), level).difference is None


def test_only_the_same_setting_is_compared(rows: Any) -> None:
    one = rows([5.0], model="reasoner", attack="typo")
    other = rows([0.0], model="base", cell="c2")
    assert taxes(pl.concat([one, other])) == []
    assert taxes(rows([5.0])) == []


def test_reasoning_that_a_base_does_not_write_is_not_compared(rows: Any) -> None:
    part = {"part": "reasoning"}
    frame = pl.concat([pair(rows, [5.0, 0.0], [None, None], **part), pair(rows, [5.0], [0.0])])
    assert {row.part for row in taxes(frame)} == {"full"}


def test_a_base_that_failed_throughout_is_shown_with_nothing_measured(rows: Any) -> None:
    row = lenient(taxes(pair(rows, [5.0, 0.0], [None, None])))
    assert (row.method, row.difference, row.p_value) == ("none", None, None)
    assert (row.bound_low, row.bound_high) == (-0.5, 0.5)


def test_a_model_with_two_bases_is_compared_with_both(rows: Any) -> None:
    frame = pl.concat(
        [
            rows([5.0, 5.0], model="reasoner"),
            rows([0.0, 0.0], model="one", cell="c2"),
            rows([5.0, 0.0], model="two", cell="c3"),
        ]
    )
    pairs = pl.DataFrame({"reasoner": ["reasoner", "reasoner"], "base": ["one", "two"]})
    found = {row.base: row.difference for row in taxes(frame, pairs) if row.threshold == 4}
    assert found == {"one": 1.0, "two": 0.5}


def test_a_mean_that_is_chosen_keeps_its_rows_alone(rows: Any) -> None:
    frame = pl.concat(
        [
            pair(rows, [5.0] * 4, [0.0] * 4, part=part, scenario=scenario)
            for part in ("answer", "full")
            for scenario in ("01-A", "02-B")
        ]
    )
    assert len(taxes(frame)) == 2 * 2 * 2  # parts, thresholds, averages
    chosen = taxes(frame, mean="macro")
    assert len(chosen) == 2 * 2
    assert {row.level for row in chosen} == {"macro"}


def test_the_interval_of_a_single_scenario_is_newcombes(rows: Any) -> None:
    row = lenient(taxes(pair(rows, [5.0] * 20 + [0.0] * 20, [5.0] * 8 + [0.0] * 32, **COUNTS)))
    low, high = difference_interval(0.5, 40, 0.2, 40)
    assert (row.low, row.high) == (pytest.approx(float(low)), pytest.approx(float(high)))
