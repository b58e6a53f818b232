"""Calibration: figures that are worked out by hand, and scikit-learn's."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics
from statsmodels.stats.proportion import proportion_confint

from opensafemlrm.analysis.calibration import (
    Confusion,
    Labelled,
    best_threshold,
    calibrate,
    confusion,
    measures,
    reliability,
)
from opensafemlrm.analysis.probes import PROBES, probe_row
from opensafemlrm.analysis.raters import alpha, pairs_of_raters
from opensafemlrm.analysis.sampling import to_label

# 20 texts: 8 unsafe. At 4: tp 6, fn 2, fp 3, tn 9.
BY_HAND = [
    *[Labelled(unsafe=True, score=float(score)) for score in (5, 5, 5, 4, 4, 4, 3, 0)],
    *[Labelled(unsafe=False, score=float(score)) for score in (5, 4, 4, 3, 2, 2, 1, 1, 0, 0, 0, 0)],
]


def values(counts: Confusion) -> dict[str, float | None]:
    return {row.measure: row.value for row in measures(counts)}


def test_measures_are_those_worked_out_by_hand_to_four_digits() -> None:
    counts = confusion(BY_HAND, 4.0)
    assert counts == Confusion(6, 3, 9, 2)
    found = {name: round(value or 0, 4) for name, value in values(counts).items()}
    assert found == {
        "accuracy": 0.75,  # 15 / 20
        "precision": 0.6667,  # 6 / 9
        "recall": 0.75,  # 6 / 8
        "f1": 0.7059,  # 12 / 17
        "sensitivity": 0.75,
        "specificity": 0.75,  # 9 / 12
        "kappa": 0.4898,  # (0.75 - 0.51) / 0.49
    }


labelled = st.lists(
    st.builds(Labelled, unsafe=st.booleans(), score=st.sampled_from([0.0, 1.0, 4.0, 5.0, None])),
    min_size=1,
    max_size=60,
)


@given(labelled)
def test_measures_equal_scikit_learns(rows: list[Labelled]) -> None:
    scored = [row for row in rows if row.score is not None]
    true = [row.unsafe for row in scored]
    said = [(row.score or 0) >= 4 for row in scored]
    found = values(confusion(rows, 4.0))
    if not scored:
        assert set(found.values()) == {None}
        return
    tn, fp, fn, tp = metrics.confusion_matrix(true, said, labels=[False, True]).ravel()
    counts = Confusion(tp, fp, tn, fn, len(rows) - len(scored))
    assert confusion(rows, 4.0) == counts
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(true, said))
    if tp + fp:
        assert found["precision"] == pytest.approx(metrics.precision_score(true, said))
    if tp + fn:
        assert found["recall"] == pytest.approx(metrics.recall_score(true, said))
    if tp + fp + fn:
        assert found["f1"] == pytest.approx(metrics.f1_score(true, said))
        assert counts.f1 == pytest.approx(metrics.f1_score(true, said))
    if len(set(true)) == len(set(said)) == 2:
        assert found["kappa"] == pytest.approx(metrics.cohen_kappa_score(true, said))


def test_what_the_judge_could_not_score_is_in_no_rate_and_is_counted() -> None:
    """Counted as "safe", failures of a judge raise its specificity and lower its recall."""
    failed = [Labelled(unsafe=label, score=None) for label in (True, True, False)]
    found = calibrate([*BY_HAND, *failed], (4.0, 5.0))
    assert values(confusion([*BY_HAND, *failed], 4.0)) == values(confusion(BY_HAND, 4.0))
    assert [(row.labelled, row.unscored) for row in found.confusions] == [(23, 3), (23, 3)]


def test_a_share_of_nothing_has_no_value() -> None:
    found = {row.measure: row for row in measures(Confusion(0, 0, 5, 0))}
    for name in ("precision", "recall", "sensitivity", "f1", "kappa"):
        assert (found[name].value, found[name].low, found[name].high) == (None, None, None)
    assert found["specificity"].value == 1.0


def test_intervals_are_wilsons_and_f1s_is_that_of_its_jaccard_index() -> None:
    found = {row.measure: row for row in measures(confusion(BY_HAND, 4.0))}
    for name, hits, n in (("accuracy", 15, 20), ("precision", 6, 9), ("specificity", 9, 12)):
        low, high = proportion_confint(hits, n, method="wilson")
        assert (found[name].low, found[name].high) == pytest.approx((low, high))
        assert found[name].n == n
    low, high = (2 * end / (1 + end) for end in proportion_confint(6, 11, method="wilson"))
    assert (found["f1"].low, found["f1"].high) == pytest.approx((low, high))


def test_the_interval_of_f1_holds_its_level() -> None:
    """By simulation: J is a share of texts that a person or the judge calls unsafe."""
    chance = random.Random(7)
    held = 0
    for _ in range(400):
        counts = [0, 0, 0, 0]
        for _ in range(120):
            counts[chance.choices(range(4), (0.3, 0.1, 0.5, 0.1))[0]] += 1
        row = next(r for r in measures(Confusion(*counts)) if r.measure == "f1")
        held += (row.low or 0) <= 0.75 <= (row.high or 0)  # 2·0.3 / (0.6 + 0.1 + 0.1)
    assert 0.92 <= held / 400 <= 0.98


def test_scenarios_have_rows_of_their_own() -> None:
    rows = [
        Labelled(row.unsafe, row.score, "fraud" if at % 2 else "privacy")
        for at, row in enumerate(BY_HAND)
    ]
    found = calibrate(rows, (4.0,))
    assert [row.scenario for row in found.confusions] == ["all", "fraud", "privacy"]
    assert sum(row.true_positives for row in found.confusions[1:]) == 6


def test_the_sweep_marks_the_thresholds_and_the_best_one() -> None:
    found = calibrate(BY_HAND, (4.0, 5.0))
    chosen = {row.threshold: row.chosen for row in found.sweep}
    assert chosen == {0: "", 1: "", 2: "", 3: "best", 4: "lenient", 5: "strict"}
    f1 = {row.threshold: row.f1 for row in found.sweep}
    assert f1[3.0] == max(f1.values()) == pytest.approx(14 / 19)
    sensitivity = [row.sensitivity for row in found.sweep]
    assert sensitivity == sorted(sensitivity, key=lambda s: -(s or 0))


def test_a_judge_of_yes_and_no_has_no_sweep_and_no_diagram() -> None:
    found = calibrate(
        [Labelled(row.unsafe, float((row.score or 0) > 3)) for row in BY_HAND], (1.0,)
    )
    assert (found.sweep, found.best, found.reliability) == ([], None, [])


def test_the_cross_validated_f1_is_not_flattered_by_the_choice() -> None:
    """Noise has no best threshold: what looks best on its own labels is worth less on others."""
    chance = random.Random(3)
    better = 0
    for _ in range(30):
        rows = [Labelled(chance.random() < 0.3, round(chance.random(), 2)) for _ in range(40)]
        best = best_threshold(rows)
        assert best is not None
        better += best.f1 > best.cross_validated_f1
        assert best.folds <= 5
    assert better >= 27


def test_a_label_that_is_too_rare_is_not_cross_validated() -> None:
    rows = [Labelled(at == 0, float(at)) for at in range(10)]
    assert best_threshold(rows) is None
    assert calibrate(rows, (4.0,)).best is None


def test_reliability_gives_each_score_its_share_of_unsafe_texts() -> None:
    found = {row.low: (row.n, row.unsafe, row.share) for row in reliability(BY_HAND)}
    assert found[5.0] == (4, 3, 0.75)
    assert found[0.0] == (5, 1, 0.2)
    assert sum(n for n, _, _ in found.values()) == 20


def test_many_scores_are_put_into_ten_bins_and_none_is_lost() -> None:
    rows = [Labelled(at % 2 == 0, at / 99) for at in range(100)]
    found = reliability(rows)
    assert len(found) == 10
    assert sum(row.n for row in found) == 100
    assert (found[0].low, found[-1].high) == (0.0, 1.0)


# Probes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROBES)
def test_a_probe_takes_no_word_of_the_reply_away(name: str) -> None:
    text = "Boil one carrot. Add the moon.\n\nStir. It is done."
    changed = PROBES[name](text)
    assert changed != text
    for sentence in ("Boil one carrot.", "Add the moon.", "Stir.", "It is done."):
        assert sentence in changed


def test_flips_are_counted_by_direction_and_lost_scores_are_no_flips() -> None:
    before = [5.0, 5.0, 1.0, 1.0, None, 4.0]
    after = [5.0, 3.0, 4.0, 0.0, 5.0, None]
    row = probe_row("padding", before, after, 4.0)
    assert (row.n, row.flips, row.to_safe, row.to_unsafe, row.lost) == (4, 2, 1, 1, 1)
    assert row.share == 0.5
    assert row.mean_change == 0.0
    empty = probe_row("padding", [None], [1.0], 4.0)
    assert (empty.n, empty.share, empty.low, empty.mean_change) == (0, None, None, None)


# Raters ------------------------------------------------------------------------------------------


def test_alpha_is_krippendorffs_own_example() -> None:
    """K. Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section C: 0.743."""
    none = None
    ratings: Sequence[Sequence[float | None]] = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, none, none, none],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, none, 3],
        [none, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, none],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, none],
    ]
    assert alpha(ratings) == pytest.approx(0.743, abs=0.0005)
    assert alpha(ratings, "interval") == pytest.approx(0.849, abs=0.0005)


@pytest.mark.parametrize(
    "ratings", [[[1, 1], [1, 1]], [[1, None], [None, 0]], [[None], [None]], [[1.0]]]
)
def test_alpha_is_not_defined_where_nothing_varies_or_nothing_is_rated_twice(
    ratings: list[list[float | None]],
) -> None:
    assert alpha(ratings) is None


def test_two_raters_are_compared_on_what_both_rated() -> None:
    (row,) = pairs_of_raters({"b": {1: True, 2: True, 3: False}, "a": {1: True, 2: False, 4: True}})
    assert (row.first, row.second, row.n, row.same) == ("a", "b", 2, 1)
    assert (row.safe_to_unsafe, row.unsafe_to_safe) == (1, 0)


# Sampling ----------------------------------------------------------------------------------------


def test_any_number_of_first_samples_holds_every_stratum_in_its_share(rows) -> None:
    """Even over the scores instead, a sample would bias what is measured on it."""
    import polars as pl

    frame = pl.concat(
        [
            rows([0.0] * 300, 0, part="answer"),
            rows([5.0] * 100, 300, part="answer"),
            rows([5.0] * 100, 400, part="answer", model="n"),
            rows([1.0] * 100, 900, part="reasoning"),
        ]
    )
    order = to_label(frame, "answer")
    assert len(order) == len(set(order)) == 500
    for n in (10, 50, 200):
        high = sum(int(sample[1:]) >= 300 for sample in order[:n])
        assert high == pytest.approx(0.4 * n, abs=2)
    assert to_label(frame, "answer") == order
    assert to_label(frame, "answer", seed=1) != order
    assert to_label(frame.sample(fraction=1, shuffle=True, seed=1), "answer") == order


def test_replies_without_text_are_not_put_before_people(rows) -> None:
    frame = rows([None, None, 3.0], part="answer", status="ok")
    frame = frame.with_columns(
        reason=frame["sample"].replace_strict({"s0": "no_text", "s1": "unparsed", "s2": None})
    )
    assert sorted(to_label(frame, "answer")) == ["s1", "s2"]
    assert to_label(rows([None], part="answer", status="blocked"), "answer") == []
