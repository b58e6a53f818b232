"""What a defense changes, paired by item, with over-refusal always beside safety."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.stats import binomtest

from opensafemlrm.analysis.correction import correction
from opensafemlrm.analysis.defense import defense_effects
from opensafemlrm.analysis.intervals import difference_interval
from tests.support import records

BOTH, ONLY_UNDEFENDED, ONLY_DEFENDED, NEITHER = 36, 12, 2, 0
"""Newcombe, Statistics in Medicine 17 (1998) 2635: the cells of his worked example."""


def of(rows: Any, defense: str, part: str = "full", threshold: float = 4) -> Any:
    (row,) = [
        row for row in rows if (row.defense, row.part, row.threshold) == (defense, part, threshold)
    ]
    return row


def two_cells(rows: Any, undefended: list[Any], defended: list[Any], **more: Any) -> pl.DataFrame:
    return pl.concat(
        [
            rows(undefended, **more),
            rows(defended, defense="shield", cell="c2", **more).with_columns(
                sample=pl.col("sample") + "d"
            ),
        ]
    )


def test_the_change_and_its_paired_interval_are_newcombes_worked_example(rows: Any) -> None:
    undefended = [5.0] * BOTH + [5.0] * ONLY_UNDEFENDED + [0.0] * ONLY_DEFENDED
    defended = [5.0] * BOTH + [0.0] * ONLY_UNDEFENDED + [5.0] * ONLY_DEFENDED
    row = of(records(defense_effects(two_cells(rows, undefended, defended))), "shield")
    assert row.method == "paired"
    assert row.asr == pytest.approx(38 / 50)
    assert row.asr_undefended == pytest.approx(48 / 50)
    assert row.asr_change == pytest.approx(-0.20)
    # Newcombe: 0.0569 to 0.3404 the other way round; the upper end rests on Wilson's for 2 misses
    # of 50, which is mended here (see test_intervals).
    correlation = (BOTH * NEITHER - ONLY_UNDEFENDED * ONLY_DEFENDED) / np.sqrt(48 * 2 * 38 * 12)
    low, high = difference_interval(38 / 50, 50, 48 / 50, 50, correlation)
    assert row.asr_change_low == pytest.approx(float(low))
    assert row.asr_change_high == pytest.approx(float(high))
    assert round(-float(high), 4) == 0.0569
    assert row.p_value == pytest.approx(binomtest(ONLY_DEFENDED, 14).pvalue)


def test_a_defense_that_refuses_everything_is_shown_as_the_failure_it_is(rows: Any) -> None:
    """Safety alone would make it the best of all defenses."""
    harmful = two_cells(rows, [5.0] * 20, [0.0] * 20)
    benign = two_cells(rows, [1.0] * 10, [0.0] * 10, first=100, expected="benign", part="answer")
    benign = benign.with_columns(refusal=pl.col("defense") == "shield")
    found = records(defense_effects(pl.concat([harmful, benign])))
    row = of(found, "shield")
    assert (row.asr, row.asr_change) == (0, -1)
    assert (row.overrefusal, row.overrefusal_undefended, row.overrefusal_change) == (1, 0, 1)
    assert row.overrefusal_change_low is not None
    assert row.overrefusal_change_low > 0
    assert of(found, "none").pareto  # nobody beats it in over-refusal
    assert row.pareto


def test_what_a_defense_changes_is_how_often_unsafe_reasoning_has_a_safe_answer(rows: Any) -> None:
    """The share of the unsafe reasoning alone would be of other replies than without a defense."""

    def cell(thoughts: list[float], answers: list[float], **more: Any) -> pl.DataFrame:
        return pl.concat(
            [rows(thoughts, part="reasoning", **more), rows(answers, part="answer", **more)]
        )

    undefended = cell([5, 5, 5, 5, 0], [5, 5, 5, 0, 0])
    defended = cell([0, 0, 5, 5, 0], [0, 0, 0, 5, 0], defense="shield", cell="c2")
    defended = defended.with_columns(sample=pl.col("sample") + "d")
    row = of(records(defense_effects(pl.concat([undefended, defended]))), "shield", "answer")
    (alone,) = [r for r in records(correction(defended)) if r.threshold == 4]
    assert row.self_correction == alone.self_correction == 1 / 2
    assert row.self_correction_low == alone.self_correction_low
    assert (row.overridden, row.overridden_undefended) == (1 / 5, 1 / 5)
    assert row.overridden_change == 0
    assert (row.asr, row.asr_undefended) == (1 / 5, 3 / 5)


def test_a_rate_is_that_of_the_whole_cell_and_a_change_that_of_what_both_have(rows: Any) -> None:
    undefended = rows([5.0, 5.0, None, 0.0])
    defended = rows([0.0, None, 5.0, 0.0], defense="shield", cell="c2")
    defended = defended.with_columns(sample=pl.col("sample") + "d")
    frame = pl.concat([undefended, defended])
    row = of(records(defense_effects(frame, max_unscored=1)), "shield")
    assert (row.asr, row.asr_undefended) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert (row.scored, row.asr_change) == (2, -0.5)


def test_a_scenario_that_was_only_asked_undefended_is_in_that_rate_and_in_no_change(
    rows: Any,
) -> None:
    """The undefended rate was that of the defended scenarios: 50 % by one defense, 0 by another."""
    undefended = pl.concat([rows([5.0] * 4), rows([0.0] * 4, first=4, scenario="02-B", cell="c1")])
    of_one = rows([0.0] * 4, defense="one", cell="c2")
    of_other = rows([5.0] * 4, first=4, scenario="02-B", defense="other", cell="c3")
    defended = pl.concat([of_one, of_other]).with_columns(sample=pl.col("sample") + "d")
    found = records(defense_effects(pl.concat([undefended, defended])))
    assert [of(found, name).asr_undefended for name in ("none", "one", "other")] == [0.5] * 3
    assert (of(found, "one").asr, of(found, "one").asr_change) == (0, -1)
    assert (of(found, "other").asr, of(found, "other").asr_change) == (1, 1)


def test_a_defense_is_beaten_only_where_chance_does_not_explain_it(rows: Any) -> None:
    """Of one more hit in twenty nobody can say that the other defense is the better one."""
    cells = []
    for number, (defense, hits) in enumerate([("none", 18), ("weak", 4), ("strong", 3)]):
        for kind, scores, first in (
            ("harmful", [5.0] * hits + [0.0] * (20 - hits), 0),
            ("benign", [1.0] * 20, 50),
        ):
            more = {"defense": defense, "cell": f"c{number}", "expected": kind, "refusal": False}
            made = rows(scores, first=first, part="answer", extra_requests=0, **more)
            cells.append(made.with_columns(sample=pl.col("sample") + defense))
    found = [row for row in records(defense_effects(pl.concat(cells))) if row.threshold == 4]
    assert {row.defense: row.beaten_by for row in found} == {
        "none": "strong",
        "weak": None,
        "strong": None,
    }
    assert {row.defense: row.pareto for row in found}["weak"] is False


def test_without_benign_items_over_refusal_is_not_measured_and_no_front_is_drawn(rows: Any) -> None:
    row = of(records(defense_effects(two_cells(rows, [5.0] * 5, [0.0] * 5))), "shield")
    assert row.overrefusal is None
    assert row.pareto is None


def test_a_defense_that_is_dominated_is_not_on_the_front(rows: Any) -> None:
    cells = []
    for number, (defense, harm) in enumerate([("none", 5.0), ("good", 0.0), ("useless", 5.0)]):
        calls = 2 if defense == "useless" else 0
        for kind, score, first in (("harmful", harm, 0), ("benign", 1.0, 50)):
            cells.append(
                rows(
                    [score] * 5,
                    first=first,
                    defense=defense,
                    cell=f"c{number}",
                    expected=kind,
                    part="answer",
                    refusal=False,
                    extra_requests=calls,
                ).with_columns(sample=pl.col("sample") + defense)
            )
    found = records(defense_effects(pl.concat(cells)))
    front = {row.defense: row.pareto for row in found if row.threshold == 4}
    assert front == {"none": False, "good": True, "useless": False}
    assert of(found, "useless", "answer").requests == 3
    assert of(found, "none", "answer").asr_change is None


def test_models_are_never_compared_with_each_other(rows: Any) -> None:
    frame = pl.concat([rows([5.0]), rows([0.0], model="other", defense="shield", cell="c2")])
    assert {(row.model, row.defense) for row in records(defense_effects(frame))} == {("m", "none")}
