"""ASR corrected by the judge's errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from statsmodels.stats.proportion import proportion_confint

from opensafemlrm.analysis.calibration import CELLS
from opensafemlrm.analysis.corrected import corrected_asr
from opensafemlrm.analysis.judge_errors import rogan_gladen
from tests.support import records

Rows = Any

CALIBRATION: dict[str, Any] = {
    "judge": "policy-rubric",
    "labels": "labels",
    **{"part": "full", "model": "m", "attack": "", "scenario": ""},
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


def test_only_the_judge_and_the_threshold_that_were_calibrated_are_corrected(rows: Rows) -> None:
    frame = pl.concat([rows([5.0] * 30 + [0.0] * 70), rows([5.0], 100, judge="other", cell="c2")])
    row, strict = records(corrected_asr(frame, CALIBRATIONS))
    assert (row.judge, row.threshold, row.asr) == ("policy-rubric", 4, 0.3)
    assert row.corrected == pytest.approx(0.25 / 0.85)
    assert (row.sensitivity, row.specificity, row.method) == (0.9, 0.95, "Rogan–Gladen")
    assert (strict.threshold, strict.method, strict.corrected) == (5, "none", None)
    assert corrected_asr(frame, CALIBRATIONS.clear()).is_empty()


def test_a_scenarios_own_labels_come_first(rows: Rows) -> None:
    own = {**CALIBRATION, "scenario": "01-A", "true_positives": 80, "false_negatives": 20}
    frame = pl.concat([rows([5.0, 0.0]), rows([5.0, 0.0], first=2, scenario="02-B")])
    found = corrected_asr(frame, pl.DataFrame([CALIBRATION, own]), by="scenario").filter(
        threshold=4
    )
    assert dict(found.select("scenario", "sensitivity").iter_rows()) == {"01-A": 0.8, "02-B": 0.9}


@pytest.mark.parametrize("few", [(1, 0, 1, 0), (0, 0, 3, 0), (4, 0, 40, 0), (90, 0, 4, 0)])
def test_a_few_labels_of_its_own_do_not_take_the_place_of_many(
    rows: Rows, few: tuple[int, ...]
) -> None:
    """One label of each kind gave an interval from 0 to 100 %, and none of a kind no rate."""
    own = {**CALIBRATION, "scenario": "01-A", **counts(*few)}
    frame = rows([5.0] * 30 + [0.0] * 70)
    found = corrected_asr(frame, pl.DataFrame([CALIBRATION, own]), by="scenario").filter(
        threshold=4
    )
    assert found["sensitivity"].to_list() == [0.9]
    alone = corrected_asr(frame, pl.DataFrame([own]), by="scenario").filter(threshold=4)
    assert alone.select("method", "corrected").row(0) == ("none", None)
    assert "20" in alone["basis"][0]


def test_labels_of_answers_do_not_correct_reasoning(rows: Rows) -> None:
    """They made 97 % of unsafe reasoning 100 %: a judge errs otherwise on traces."""
    scores = [5.0] * 30 + [0.0] * 70
    frame = pl.concat([rows(scores, part=part) for part in ("reasoning", "answer", "full")])
    found = corrected_asr(frame, pooled({**CALIBRATION, "part": "answer"})).filter(threshold=4)
    methods = dict(found.select("part", "method").iter_rows())
    assert methods == {"reasoning": "none", "answer": "Rogan–Gladen", "full": "none"}
    assert "nobody labelled the part reasoning" in found["basis"][0]


def test_the_whole_reply_of_a_model_that_writes_no_reasoning_is_its_answer(rows: Rows) -> None:
    frame = rows([5.0] * 30 + [0.0] * 70)
    (row,) = records(
        corrected_asr(frame, pooled({**CALIBRATION, "part": "answer"})).filter(threshold=4)
    )
    assert (row.part, row.method) == ("full", "Rogan–Gladen")


def test_labels_whose_part_is_not_recorded_correct_nothing(rows: Rows) -> None:
    (row,) = records(
        corrected_asr(rows([5.0]), pooled({**CALIBRATION, "part": ""})).filter(threshold=4)
    )
    assert row.method == "none"
    assert "calibrate again" in row.basis


def counts(tp: int, fp: int, tn: int, fn: int) -> dict[str, int]:
    return dict(zip(CELLS, (tp, fp, tn, fn), strict=True))


def pooled(*models: dict[str, Any]) -> pl.DataFrame:
    """Calibrations of models, and of all of them together."""
    every = {name: sum(one[name] for one in models) for name in CELLS}
    return pl.DataFrame([*models, {**models[0], "model": "", **every}])


def test_errors_that_differ_by_model_are_not_taken_together(rows: Rows) -> None:
    """Pooled over models, they make a difference of 11 points that is none one of 14."""
    a, b = ({**CALIBRATION, "model": name} for name in "ab")
    few = {**CALIBRATION, **counts(2, 18, 62, 1)}
    known = pooled({**a, **counts(17, 2, 78, 3)}, {**b, **counts(17, 2, 78, 3)}, few)
    frame = rows([5.0] * 30 + [0.0] * 70)
    (row,) = records(corrected_asr(frame, known).filter(threshold=4))
    assert (row.method, row.corrected) == ("none", None)
    assert "differs by model" in row.basis
    (own,) = records(corrected_asr(rows([5.0, 0.0], model="b"), known).filter(threshold=4))
    assert (own.method, own.specificity) == ("Rogan–Gladen", 78 / 80)
    alike = pooled({**a, **counts(18, 8, 72, 2)}, {**few, **counts(2, 8, 72, 1)})
    (row,) = records(corrected_asr(frame, alike).filter(threshold=4))
    assert row.method == "Rogan–Gladen"
    assert "they do not differ by model (p =" in row.basis


@pytest.mark.parametrize("own", [None, (3, 1, 14, 1)])
def test_errors_on_other_models_say_nothing_of_one_they_were_not_compared_on(
    rows: Rows, own: tuple[int, ...] | None
) -> None:
    """Other models' errors were used untested, and showed 27 points where there were none."""
    others = [{**CALIBRATION, "model": name, **counts(45, 3, 47, 5)} for name in "ab"]
    known = pooled(*others, *([] if own is None else [{**CALIBRATION, **counts(*own)}]))
    frame = rows([5.0] * 36 + [0.0] * 64)
    (row,) = records(corrected_asr(frame, known).filter(threshold=4))
    assert (row.method, row.corrected) == ("none", None)
    assert "never compared" in row.basis
    assert ("none of its replies is" if own is None else "19 of its replies are") in row.basis


def test_labels_of_texts_of_no_known_model_are_compared_too(rows: Rows) -> None:
    """A file of labels says nothing of who wrote the texts: it is one more group of the test."""
    few = {**CALIBRATION, **counts(2, 20, 60, 1)}
    unknown = {**CALIBRATION, "model": "", **counts(47, 20, 155, 6)}
    frame = rows([5.0] * 30 + [0.0] * 70)
    (row,) = records(corrected_asr(frame, pl.DataFrame([few, unknown])).filter(threshold=4))
    assert "differs by model" in row.basis
    (row,) = records(corrected_asr(frame, pl.DataFrame([unknown])).filter(threshold=4))
    assert "never compared" in row.basis


def labels_of(frame: pl.DataFrame, unsafe: dict[str, bool]) -> pl.DataFrame:
    found = frame.select("sample", pl.col("part").cast(pl.String)).filter(
        pl.col("sample").is_in(list(unsafe))
    )
    return found.with_columns(
        unsafe=pl.col("sample").replace_strict(unsafe, return_dtype=pl.Boolean)
    )


def test_a_cells_own_labels_need_no_calibration(rows: Rows) -> None:
    """Of 50 flagged 10 are labelled, 5 of them unsafe; of 150 others 30, and 1."""
    frame = rows([5.0] * 50 + [0.0] * 150)
    given = {f"s{n}": n < 5 for n in range(10)} | {f"s{n}": n == 50 for n in range(50, 80)}
    found = corrected_asr(frame, CALIBRATIONS.clear(), labels_of(frame, given)).filter(threshold=4)
    (row,) = records(found)
    assert row.method == "prediction-powered"
    assert row.corrected == pytest.approx((50 * 0.5 + 150 / 30) / 200)
    assert row.corrected_low < row.corrected < row.corrected_high
    assert (row.labelled_unsafe, row.labelled_safe, row.labels) == (6, 34, "this store")
    few = dict(list(given.items())[:19])
    again = corrected_asr(frame, CALIBRATIONS, labels_of(frame, few)).filter(threshold=4)
    assert again["method"].to_list() == ["Rogan–Gladen"]


def test_labels_drawn_for_a_comparison_do_not_bend_the_rates_of_its_models(rows: Rows) -> None:
    """Items that the other model is flagged on are labelled far more often, and unsafe more."""
    values = []
    for seed in range(40):
        drawing = np.random.default_rng(seed)
        hard = drawing.uniform(size=400) < 0.3
        unsafe = drawing.uniform(size=400) < np.where(hard, 0.5, 0.05)
        base = rows([5.0 if one else 0.0 for one in hard], model="b", cell="c2")
        base = base.with_columns(sample=pl.col("sample") + "b")
        frame = pl.concat([rows([0.0] * 400), base])
        shown = np.flatnonzero(drawing.uniform(size=400) < np.where(hard, 0.5, 0.1))
        given = labels_of(frame, {f"s{n}": bool(unsafe[n]) for n in shown})
        found = corrected_asr(frame, CALIBRATIONS.clear(), given).filter(threshold=4)
        values.append(found.filter(model="m")["corrected"].item())
    assert np.mean(values) == pytest.approx(0.3 * 0.5 + 0.7 * 0.05, abs=0.015)
