"""Blind spots: the paper's 25 times, families of tests, and rankings that agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from opensafemlrm import frame as frames
from opensafemlrm.analysis.blindspots import blindspots, consistency, topic_of
from opensafemlrm.analysis.grouped import grouped
from opensafemlrm.analysis.significance import fisher, holm
from opensafemlrm.analysis.tax import tax
from opensafemlrm.errors import UnknownNameError
from opensafemlrm.interop.opensafemlrm import PAIRS, import_results
from opensafemlrm.store import Store
from tests.support import records

PUBLISHED = Path(__file__).parents[3] / "shared/data/opensafemlrm/statistic_results"
MODELS = ["R1-Onevision-7B", "MM-Eureka-Qwen-7B", "Mulberry-Qwen2VL-7B", "Mulberry-LLaVA-8B"]
BASES = ["Qwen2.5-VL-7B-Instruct", "Qwen2-VL-7B-Instruct", "LLaVA-NeXT-Llama3-8B"]
SCENARIOS = ["01-A", "02-B", "03-C", "04-D"]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    if not PUBLISHED.is_dir():
        pytest.skip("the published histograms are not at ../shared/data/opensafemlrm")
    with Store.open(tmp_path_factory.mktemp("published") / "store", "create") as store:
        import_results(PUBLISHED, store)
        assert frames.pairs(store).rows() == sorted(PAIRS)
        return frames.read(store)


def test_illegal_activity_suffers_the_papers_25_times(published: pl.DataFrame) -> None:
    """SafeMLRM's abstract, from its own histograms: 43.69 % over 1.72 % is 25.43."""
    rows = grouped(published, MODELS, BASES).filter(part="full", threshold=4)
    (row,) = records(rows.filter(scenario="01-Illegal_Activitiy", attack="direct"))
    assert round(row.asr_models, 4) == 0.4369
    assert round(row.asr_bases, 4) == 0.0172
    assert round(row.ratio, 2) == 25.43
    assert row.method == "counts"
    assert 8 < row.ratio_low < 25.43 < row.ratio_high < 100


def test_the_tax_of_the_published_study_depends_on_setting_and_threshold(
    published: pl.DataFrame,
) -> None:
    pairs = pl.DataFrame(PAIRS, schema=["reasoner", "base"], orient="row")
    rows = records(tax(published, pairs))
    found = {(row.model, row.attack, row.threshold): row for row in rows}
    assert {row.method for row in found.values()} == {"unpaired"}
    assert found["Mulberry-LLaVA-8B", "direct", 4].low > 0
    assert found["Mulberry-LLaVA-8B", "sd-typo", 4].high < 0


def spots(frame: pl.DataFrame) -> pl.DataFrame:
    """The blind spots of every model over ``base``."""
    models = sorted(set(frame["model"]) - {"base"})
    return blindspots(frame, pl.DataFrame({"reasoner": models}).with_columns(base=pl.lit("base")))


def study(rows: Any, rates: dict[str, list[int]], n: int = 40, **more: Any) -> Any:
    """Models with so many unsafe replies of ``n`` in each scenario; ``base`` is their base."""
    frames_ = []
    for number, (model, unsafe) in enumerate(rates.items()):
        for place, count in enumerate(unsafe):
            frames_.append(
                rows(
                    [5.0] * count + [0.0] * (n - count),
                    first=place * n,
                    model=model,
                    cell=f"c{number}",
                    scenario=SCENARIOS[place],
                    **more,
                ).with_columns(sample=pl.format("{}-{}", pl.lit(model), pl.col("sample")))
            )
    return pl.concat(frames_)


def test_a_family_is_the_scenarios_of_one_pair_and_setting(rows: Any) -> None:
    frame = study(rows, {"m": [30, 10, 10, 12], "base": [2, 8, 10, 10]})
    found = records(spots(frame).filter(threshold=4))
    assert [row.scenario for row in found] == SCENARIOS
    assert [row.holm for row in found] == pytest.approx(holm([row.p_value for row in found]))
    assert [row.rank for row in found if row.scenario == "01-A"] == [1]
    assert found[0].bh <= found[0].holm < 0.001
    assert min(row.holm for row in found[1:]) > 0.05


def test_a_scenario_is_held_against_the_models_own_others(rows: Any) -> None:
    frame = study(rows, {"m": [30, 10, 10, 10], "base": [30, 10, 10, 10]})
    first = records(spots(frame))[0]
    assert first.difference == 0
    assert (first.asr_model, first.asr_rest) == (0.75, 0.25)
    assert first.rest_difference == 0.5
    expected = fisher(*(pl.Series([x]).to_numpy() for x in (0.75, 40, 0.25, 120)))
    assert first.rest_p_value == pytest.approx(float(expected[0]))
    assert first.rest_low > 0


def test_a_shrunken_ratio_is_finite_where_the_base_has_no_unsafe_reply(rows: Any) -> None:
    first = records(spots(study(rows, {"m": [20, 20, 20, 20], "base": [0, 10, 9, 12]})))[0]
    assert (first.ratio, first.ratio_high) == (None, None)
    assert 1 < first.shrunken_ratio < 100


def test_models_that_rank_scenarios_alike_are_consistent(rows: Any) -> None:
    same = {f"m{i}": [30, 20 + i, 10, 5] for i in range(4)}
    found = records(consistency(spots(study(rows, {**same, "base": [1, 2, 1, 2]}))))
    row: Any = next(r for r in found if (r.measure, r.threshold) == ("asr", 4))
    assert (row.across, row.raters, row.scenarios, row.worst) == ("models", 4, 4, "01-A")
    assert row.w == pytest.approx(1)
    assert row.p_value < 0.01


def test_datasets_are_compared_by_topic_however_they_spell_it(rows: Any) -> None:
    assert topic_of("01-Illegal_Activitiy") == topic_of("Illegal Activity")
    assert topic_of("07-Sex") == topic_of("Adult Content")
    assert topic_of("09-Privacy_Violence") == topic_of("privacy-violation")
    names = {"01-A": "Fraud", "02-B": "Hate Speech", "03-C": "Adult Content", "04-D": "Other"}
    others = {"01-A": "06-Fraud", "02-B": "02-HateSpeech", "03-C": "07-Sex", "04-D": "13-Else"}
    rates = {"m": [30, 20, 10, 5], "base": [1, 2, 1, 2]}
    frame = pl.concat(
        study(rows, rates, dataset=dataset).with_columns(
            pl.col("scenario").replace(spelling),
            cell=pl.format("{}-{}", pl.col("cell"), pl.lit(dataset)),
            item_key=pl.format("{}-{}", pl.col("item_key"), pl.lit(dataset)),
        )
        for dataset, spelling in (("one", names), ("two", others))
    )
    (row,) = [
        r
        for r in records(consistency(spots(frame)))
        if (r.across, r.measure, r.threshold) == ("datasets", "asr", 4)
    ]
    assert (row.model, row.raters, row.scenarios, row.worst) == ("m", 2, 3, "fraud")


def test_a_group_is_the_mean_of_its_models_and_items_are_its_clusters(rows: Any) -> None:
    """Four copies of one model are no surer than the one."""
    one = study(rows, {"m": [20, 10, 5, 5], "base": [5, 5, 5, 5]})
    four = study(rows, {**{f"m{i}": [20, 10, 5, 5] for i in range(4)}, "base": [5, 5, 5, 5]})
    alone = records(grouped(one, ["m"], ["base"]))[0]
    together = records(grouped(four, [f"m{i}" for i in range(4)], ["base"]))[0]
    assert together.method == "by item"
    assert together.asr_models == 0.5
    assert (together.low, together.high) == (pytest.approx(alone.low), pytest.approx(alone.high))


def test_a_model_that_others_came_from_too_is_in_both_groups(rows: Any) -> None:
    """It was left out of the bases, whose mean was then said to be of all of them."""
    frame = study(rows, {"m": [20, 10, 5, 5], "n": [10, 10, 5, 5], "base": [0, 5, 5, 5]})
    (first, *_) = records(grouped(frame, ["m", "n"], ["n", "base"]))
    assert (first.asr_models, first.asr_bases) == (15 / 40, 5 / 40)


def test_a_group_of_unknown_models_is_refused_by_name(rows: Any) -> None:
    frame = study(rows, {"mulberry": [1, 1, 1, 1], "base": [1, 1, 1, 1]})
    with pytest.raises(UnknownNameError, match="mulberry"):
        grouped(frame, ["mulbery"], ["base"])


def test_a_setting_that_one_model_of_a_group_lacks_is_left_out(rows: Any) -> None:
    frame = study(rows, {"m": [20, 10, 5, 5], "base": [5, 5, 5, 5]})
    more = study(rows, {"n": [20, 10, 5, 5]}, attack="typo")
    assert grouped(pl.concat([frame, more]), ["m", "n"], ["base"]).is_empty()


def test_a_group_has_the_same_digits_whatever_the_order_of_its_samples(rows: Any) -> None:
    """Polars adds in another order each time: two reports of one store had unlike tables."""
    frame = study(rows, {"m": [17, 11, 7, 3], "n": [3, 9, 13, 19], "base": [5, 3, 11, 2]})
    found = [
        grouped(frame.sample(fraction=1, shuffle=True, seed=seed), ["m", "n"], ["base"])
        for seed in range(5)
    ]
    assert all(rows.equals(found[0]) for rows in found)
