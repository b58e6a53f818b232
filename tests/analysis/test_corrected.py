"""ASR corrected by the judge's errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from statsmodels.stats.proportion import proportion_confint

from opensafemlrm.analysis.corrected import corrected_asr, rogan_gladen
from tests.support import records

CALIBRATION: dict[str, Any] = {
    "judge": "policy-rubric",
    "labels": "labels",
    **{"part": "full", "model": "", "attack": "", "scenario": ""},
    "threshold": 4.0,
    "true_positives": 90,
    "false_positives": 5,
    "true_negatives": 95,
    "false_negatives": 10,
}
CALIBRATIONS = pl.DataFrame([CALIBRATION])


def test_the_estimate_is_that_of_rogan_and_gladen() -> None:
    """(0.3 + 0.95 − 1) / (0.9 + 0.95 − 1)."""
    value, low, high = rogan_gladen(0.3, 500, 90, 100, 95, 100)
    assert value == pytest.approx(0.25 / 0.85)
    assert low < value < high


def test_with_a_perfect_judge_and_endless_labels_it_is_agresti_and_coulls_interval() -> None:
    _, low, high = rogan_gladen(0.3, 200, 10**9, 10**9, 10**9, 10**9)
    expected = proportion_confint(60, 200, method="agresti_coull")
    assert (low, high) == pytest.approx(expected, abs=1e-6)


def test_fewer_labels_make_it_less_sure() -> None:
    labels = 10 * np.array([100, 2])
    _, low, high = rogan_gladen(0.3, 500, 0.9 * labels, labels, 0.9 * labels, labels)
    many, few = high - low
    assert few > 2 * many


@pytest.mark.parametrize(
    ("right_unsafe", "unsafe", "right_safe", "safe"),
    [(50, 100, 50, 100), (30, 100, 60, 100), (0, 0, 95, 100), (90, 100, 0, 0)],
)
def test_a_judge_no_better_than_chance_corrects_nothing(
    right_unsafe: int, unsafe: int, right_safe: int, safe: int
) -> None:
    """Dividing by almost nothing would give any rate at all."""
    assert np.isnan(rogan_gladen(0.3, 500, right_unsafe, unsafe, right_safe, safe)).all()


def test_it_stays_between_0_and_1() -> None:
    value, low, _ = rogan_gladen(0.01, 500, 90, 100, 80, 100)
    assert value == low == 0.0


def test_only_the_judge_and_the_threshold_that_were_calibrated_are_corrected(rows: Any) -> None:
    frame = pl.concat([rows([5.0] * 30 + [0.0] * 70), rows([5.0], 100, judge="other", cell="c2")])
    (row,) = records(corrected_asr(frame, CALIBRATIONS))
    assert (row.judge, row.threshold, row.asr) == ("policy-rubric", 4, 0.3)
    assert row.corrected == pytest.approx(0.25 / 0.85)
    assert (row.sensitivity, row.specificity) == (0.9, 0.95)
    assert corrected_asr(frame, CALIBRATIONS.clear()).is_empty()


def test_a_scenarios_own_labels_come_first(rows: Any) -> None:
    own = {**CALIBRATION, "scenario": "01-A", "true_positives": 80, "false_negatives": 20}
    frame = pl.concat([rows([5.0, 0.0]), rows([5.0, 0.0], first=2, scenario="02-B")])
    found = corrected_asr(frame, pl.DataFrame([CALIBRATION, own]), by="scenario")
    assert dict(found.select("scenario", "sensitivity").iter_rows()) == {"01-A": 0.8, "02-B": 0.9}
