"""Calibration: figures that are worked out by hand, and scikit-learn's."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import krippendorff
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics
from statsmodels.stats.proportion import proportion_confint

from opensafemlrm.analysis.agreement import PANEL_COLUMNS, alpha, judge_pairs, panels, rater_pairs
from opensafemlrm.analysis.calibration import (
    CELLS,
    LABELLED,
    best_threshold,
    confusions,
    counts_by_condition,
    measures,
    reliability,
    sweep,
)
from opensafemlrm.analysis.label_plan import to_label
from opensafemlrm.analysis.probes import PROBES, probe_effects
from opensafemlrm.report.labels import calibration_tables
from tests.support import records

# 20 texts: 8 unsafe. At 4: tp 6, fn 2, fp 3, tn 9.
BY_HAND = [
    *[(True, float(score)) for score in (5, 5, 5, 4, 4, 4, 3, 0)],
    *[(False, float(score)) for score in (5, 4, 4, 3, 2, 2, 1, 1, 0, 0, 0, 0)],
]

Labelled = tuple[bool, float | None]


def labelled(texts: Sequence[Labelled], scenario: str = "s") -> pl.DataFrame:
    return pl.DataFrame([(*text, scenario) for text in texts], LABELLED, orient="row")


def confusion(texts: Sequence[Labelled], threshold: float = 4.0) -> Any:
    (row,) = records(confusions(labelled(texts), [threshold]))
    return row


def measured(*counts: int) -> dict[str, Any]:
    """The measures of true and false positives, true and false negatives, by name."""
    cells = dict(zip(CELLS, counts, strict=True))
    rows = measures(pl.DataFrame([{"scenario": "all", "threshold": 4.0, **cells}]))
    return {row.measure: row for row in records(rows)}


def cells(row: Any) -> tuple[int, ...]:
    return tuple(getattr(row, name) for name in CELLS)


def values(texts: Sequence[Labelled]) -> dict[str, float | None]:
    return {name: row.value for name, row in measured(*cells(confusion(texts))).items()}


def test_measures_are_those_worked_out_by_hand_to_four_digits() -> None:
    assert cells(confusion(BY_HAND)) == (6, 3, 9, 2)
    found = {name: round(value or 0, 4) for name, value in values(BY_HAND).items()}
    assert found == {
        "accuracy": 0.75,  # 15 / 20
        "precision": 0.6667,  # 6 / 9
        "recall": 0.75,  # 6 / 8
        "f1": 0.7059,  # 12 / 17
        "sensitivity": 0.75,
        "specificity": 0.75,  # 9 / 12
        "kappa": 0.4898,  # (0.75 - 0.51) / 0.49
    }


texts = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.0, 1.0, 4.0, 5.0, None])),
    min_size=1,
    max_size=60,
)


@pytest.mark.once
@given(texts)
def test_measures_equal_scikit_learns(rows: list[Labelled]) -> None:
    scored = [row for row in rows if row[1] is not None]
    true = [unsafe for unsafe, _ in scored]
    said = [(score or 0) >= 4 for _, score in scored]
    found = values(rows)
    if not scored:
        assert set(found.values()) == {None}
        return
    tn, fp, fn, tp = metrics.confusion_matrix(true, said, labels=[False, True]).ravel()
    counts = confusion(rows)
    assert cells(counts) == (tp, fp, tn, fn)
    assert (counts.labelled, counts.unscored) == (len(rows), len(rows) - len(scored))
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
    failed = [(label, None) for label in (True, True, False)]
    assert values([*BY_HAND, *failed]) == values(BY_HAND)
    found = confusions(labelled([*BY_HAND, *failed]), (4.0, 5.0))
    assert found.select("labelled", "unscored").rows() == [(23, 3), (23, 3)]


def test_a_share_of_nothing_has_no_value() -> None:
    found = measured(0, 0, 5, 0)
    for name in ("precision", "recall", "sensitivity", "f1", "kappa"):
        assert (found[name].value, found[name].low, found[name].high) == (None, None, None)
    assert found["specificity"].value == 1.0


def test_intervals_are_wilsons_and_f1s_is_that_of_its_jaccard_index() -> None:
    found = measured(6, 3, 9, 2)
    for name, hits, n in (("accuracy", 15, 20), ("precision", 6, 9), ("specificity", 9, 12)):
        low, high = proportion_confint(hits, n, method="wilson")
        assert (found[name].low, found[name].high) == pytest.approx((low, high))
        assert found[name].n == n
    low, high = (2 * end / (1 + end) for end in proportion_confint(6, 11, method="wilson"))
    assert (found["f1"].low, found["f1"].high) == pytest.approx((low, high))


@pytest.mark.once
@pytest.mark.no_cover
def test_the_interval_of_f1_holds_its_level() -> None:
    """By simulation: J is a share of texts that a person or the judge calls unsafe."""
    chance = random.Random(7)
    held = 0
    for _ in range(400):
        counts = [0, 0, 0, 0]
        for _ in range(120):
            counts[chance.choices(range(4), (0.3, 0.1, 0.5, 0.1))[0]] += 1
        row = measured(*counts)["f1"]
        held += (row.low or 0) <= 0.75 <= (row.high or 0)  # 2·0.3 / (0.6 + 0.1 + 0.1)
    assert 0.92 <= held / 400 <= 0.98


def test_scenarios_have_rows_of_their_own() -> None:
    rows = pl.concat([labelled(BY_HAND[1::2], "privacy"), labelled(BY_HAND[::2], "fraud")])
    found = confusions(rows, (4.0,))
    assert found["scenario"].to_list() == ["all", "fraud", "privacy"]
    assert found["true_positives"][1:].sum() == 6


def test_the_sweep_marks_the_thresholds_and_the_best_one() -> None:
    tables = calibration_tables(labelled(BY_HAND), (4.0, 5.0), judge="j", labels="l")
    (found,) = [table.frame for table in tables if table.name == "sweep"]
    chosen = dict(found.select("threshold", "chosen").iter_rows())
    assert chosen == {0: "", 1: "", 2: "", 3: "best", 4: "lenient", 5: "strict"}
    f1 = dict(found.select("threshold", "f1").iter_rows())
    assert f1[3.0] == max(f1.values()) == pytest.approx(14 / 19)
    sensitivity = found["sensitivity"].to_list()
    assert sensitivity == sorted(sensitivity, key=lambda s: -(s or 0))


def test_a_judge_of_yes_and_no_has_no_sweep_and_no_diagram() -> None:
    yes_or_no = labelled([(unsafe, float(score > 3)) for unsafe, score in BY_HAND])
    tables = calibration_tables(yes_or_no, (1.0,), judge="j", labels="l")
    assert [table.name for table in tables] == ["measures", "confusion"]


def test_the_cross_validated_f1_is_not_flattered_by_the_choice() -> None:
    """Noise has no best threshold: what looks best on its own labels is worth less on others."""
    chance = random.Random(3)
    better = 0
    for _ in range(30):
        rows = [(chance.random() < 0.3, round(chance.random(), 2)) for _ in range(40)]
        (best,) = records(best_threshold(labelled(rows)))
        better += best.f1 > best.cross_validated_f1
        assert best.folds <= 5
    assert better >= 27


def test_a_label_that_is_too_rare_is_not_cross_validated() -> None:
    rows = labelled([(at == 0, float(at)) for at in range(10)])
    assert best_threshold(rows).is_empty()
    assert "best" not in sweep(rows, {"lenient": 4.0})["chosen"]


def test_reliability_gives_each_score_its_share_of_unsafe_texts() -> None:
    found = {
        row.low: (row.n, row.unsafe, row.share) for row in records(reliability(labelled(BY_HAND)))
    }
    assert found[5.0] == (4, 3, 0.75)
    assert found[0.0] == (5, 1, 0.2)
    assert sum(n for n, _, _ in found.values()) == 20


def test_many_scores_are_put_into_ten_bins_and_none_is_lost() -> None:
    found = records(reliability(labelled([(at % 2 == 0, at / 99) for at in range(100)])))
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
    padding = pl.DataFrame({"probe": "padding", "before": before, "after": after})
    nothing = pl.DataFrame({"probe": ["nothing"], "before": [None], "after": [1.0]})
    row, empty = records(probe_effects(pl.concat([padding, nothing], how="vertical_relaxed"), 4.0))
    assert (row.n, row.flips, row.to_safe, row.to_unsafe, row.lost) == (4, 2, 1, 1, 1)
    assert row.share == 0.5
    assert row.mean_change == 0.0
    assert (empty.n, empty.share, empty.low, empty.mean_change) == (0, None, None, None)


# Raters ------------------------------------------------------------------------------------------


def ratings(**raters: Sequence[bool | None]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            (rater, "full", text, label)
            for rater, labels in raters.items()
            for text, label in enumerate(labels)
            if label is not None
        ],
        ["rater", "part", "text", "unsafe"],
        orient="row",
    )


def test_alpha_is_krippendorffs_own_example() -> None:
    """K. Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section A: 0.095."""
    meno, owen = "0100000010", "1110010000"
    (row,) = records(
        rater_pairs(ratings(meno=[c == "1" for c in meno], owen=[c == "1" for c in owen]))
    )
    assert row.alpha == pytest.approx(0.095, abs=0.0005)


@given(
    st.integers(2, 8).flatmap(
        lambda n: st.lists(
            st.lists(st.sampled_from([0.0, 1.0, None]), min_size=n, max_size=n),
            min_size=2,
            max_size=4,
        )
    )
)
def test_alpha_is_that_of_the_library_of_its_name(labels: list[list[float | None]]) -> None:
    """Of any number of raters, some of whom left texts out."""
    table = np.array(labels, dtype=float)
    counts = pl.DataFrame(
        {"rated": (~np.isnan(table)).sum(axis=0), "unsafe": np.nansum(table, axis=0)}
    )
    found = counts.select(alpha(pl.col("rated"), pl.col("unsafe"))).item()
    pairable = table[:, counts["rated"].to_numpy() >= 2]
    if len(np.unique(pairable[~np.isnan(pairable)])) < 2:
        assert found is None
    else:
        expected = krippendorff.alpha(pairable, level_of_measurement="nominal")
        assert found == pytest.approx(expected)


def test_two_raters_are_compared_on_what_both_rated() -> None:
    (row,) = records(
        rater_pairs(ratings(b=[None, True, True, False], a=[None, True, False, None, True]))
    )
    assert (row.first, row.second, row.n, row.same) == ("a", "b", 2, 1)
    assert (row.safe_to_unsafe, row.unsafe_to_safe) == (1, 0)
    assert (row.share_same, row.first_requests) == (0.5, None)


def test_judges_are_compared_part_by_part_with_what_each_asked(rows: Any) -> None:
    frame = pl.concat(
        [
            rows([5.0, 0.0, None], judge="b", judge_requests=2),
            rows([5.0, 5.0, 5.0], judge="a", judge_requests=1),
            rows([5.0], judge="a", part="answer"),
        ]
    )
    (row,) = records(judge_pairs(frame))
    assert (row.first, row.second, row.part, row.n, row.same) == ("a", "b", "full", 2, 1)
    assert (row.first_requests, row.second_requests) == (3, 6)


def test_a_panels_members_are_counted_where_they_differ_and_where_all_were_asked() -> None:
    said = {0: ("safe", "unsafe"), 1: ("unsafe", "unsafe"), 2: ("unscored", "safe"), 3: ("safe",)}
    verdicts = pl.DataFrame(
        [
            ("panel", text, member, label, 1)
            for text, labels in said.items()
            for member, label in zip("ab", labels, strict=False)
        ],
        ["judge", "text", "member", "label", "requests"],
        orient="row",
    )
    (row,) = records(panels(verdicts))
    assert list(PANEL_COLUMNS) == list(vars(row))
    assert (row.texts, row.members, row.split, row.asked_all, row.requests) == (4, 2, 1, 3, 7)


# Sampling ----------------------------------------------------------------------------------------


def test_any_number_of_first_samples_holds_every_stratum_in_its_share(rows) -> None:
    """Even over the scores instead, a sample would bias what is measured on it."""
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


def test_a_kept_calibration_is_weighted_to_the_replies_that_labels_stand_for() -> None:
    """Half of what the judge flags is labelled and a tenth of the rest: sensitivity is 50 %, not
    the 83 % of the labelled texts."""
    rows = [(True, 5.0, 2.0)] * 50 + [(True, 0.0, 10.0)] * 10 + [(False, 0.0, 10.0)] * 90
    texts = pl.DataFrame(rows, ["unsafe", "score", "weight"], orient="row").with_columns(
        scenario=pl.lit("s"), part=pl.lit("answer"), model=pl.lit(b""), attack=pl.lit(b"")
    )
    row = counts_by_condition(texts, [4.0]).filter(scenario="").row(0, named=True)
    tp, fn = row["true_positives"], row["false_negatives"]
    assert tp / (tp + fn) == pytest.approx(0.5, abs=0.01)
    assert tp + fn < 60  # weights tell that there is less to know
