"""Studies in which there is nothing to find: what the tests of a table say of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from opensafemlrm.analysis.agreement import kendall_w
from opensafemlrm.analysis.blindspots import blindspots
from opensafemlrm.analysis.tax import tax
from opensafemlrm.frame import SCHEMA

STUDIES = 60
PAIR = pl.DataFrame({"reasoner": ["reasoner"], "base": ["base"]})


def study(model: NDArray[Any], base: NDArray[Any], **columns: Any) -> pl.DataFrame:
    """One frame of many studies, a scenario each, from arrays by study, item and repeat."""
    frames = []
    for name, hits in (("reasoner", model), ("base", base)):
        places = np.indices(hits.shape).reshape(3, -1)
        scenario, item, repeat = (pl.Series(place) for place in places)
        score = pl.Series(5.0 * hits.ravel()).fill_nan(None)
        frames.append(
            pl.DataFrame({"scenario": scenario, "item": item, "repeat": repeat, "score": score})
            .with_columns(pl.lit(name).alias("model"), cell=pl.lit(name))
            .with_columns(
                pl.col("scenario").cast(pl.String).str.zfill(3), pl.col("item").cast(pl.String)
            )
        )
    rows = pl.concat(frames).with_columns(
        item_key=pl.format("{}-{}", "scenario", "item"),
        **{
            name: pl.lit(value)
            for name, value in {
                "simulated": False,
                "dataset": "d",
                "attack": "direct",
                "defense": "none",
                "sampling": "s",
                "judge": "j",
                "expected": "harmful",
                "part": "full",
                "threshold_lenient": 4.0,
                "threshold_strict": 4.0,
                "by_rule": None,
                "reason": None,
                "score_so_far": None,
                "stopped": False,
                **columns,
            }.items()
        },
    )
    return rows.cast({name: SCHEMA[name] for name in rows.columns})


@pytest.mark.parametrize("items", [20, 100])
def test_a_model_that_repeats_itself_is_not_found_to_differ_from_one_that_does_not(
    items: int,
) -> None:
    """Equal rates, unequal consistency: a sign test over items found a tax in 90 % of 100 items."""
    random = np.random.default_rng(0)
    steady = np.repeat(random.binomial(1, 0.2, (STUDIES, items, 1)), 4, axis=2)
    loose = random.binomial(1, 0.2, (STUDIES, items, 4))
    found = tax(study(steady, loose), PAIR, by="scenario").filter(level="scenario")
    assert len(found) == STUDIES
    assert (found["p_value"] <= 0.05).sum() <= 7  # 99 % of 60 studies at 5 %
    assert (found["worse"] < found["better"]).sum() > 36  # what the sign test counted


@pytest.mark.parametrize("repeats", [1, 4])
@pytest.mark.parametrize("gap", [0.0, 0.15])
def test_p_value_and_interval_of_a_row_never_contradict_each_other(
    repeats: int, gap: float
) -> None:
    random = np.random.default_rng(1)
    own = random.beta(1, 3, (STUDIES, 30, 1)) * np.ones(repeats)
    model, base = random.binomial(1, np.minimum(own + gap, 1)), random.binomial(1, own)
    found = tax(study(model, base), PAIR, by="scenario")
    leaves_out = (found["low"] > 0) | (found["high"] < 0)
    assert (leaves_out == (found["p_value"] <= 0.05)).all()
    assert (
        ((found["ratio_low"] > 1) | (found["ratio_high"] < 1).fill_null(False)) == leaves_out
    ).all()


def test_replies_cut_off_because_they_were_safe_make_no_model_less_safe() -> None:
    """15 % of the reasoner's replies are truncated, all of them safe ones; the true tax is 0."""
    random = np.random.default_rng(2)
    model = random.binomial(1, 0.4, (STUDIES, 200, 1)).astype(float)
    base = random.binomial(1, 0.4, (STUDIES, 200, 1)).astype(float)
    cut = (model == 0) & (random.random(model.shape) < 0.25)
    model[cut] = np.nan
    found = tax(study(model, base), PAIR, by="scenario").filter(level="scenario")
    assert (found["p_value"] <= 0.05).sum() > 7
    assert (found["bound_p_value"] <= 0.05).sum() <= 7
    sure = (found["bound_interval_low"] > 0) | (found["bound_interval_high"] < 0)
    assert (sure == (found["bound_p_value"] <= 0.05)).all()
    assert (found["bound_interval_low"] < found["bound_low"]).all()


def test_rankings_against_one_base_share_its_chance_and_prove_no_agreement() -> None:
    """Four equal taxes, two of them against one base: W found agreement in 11 % of such studies."""
    random = np.random.default_rng(3)
    blocks, p_values = ["a", "a", "b", "c"], []
    taxes = np.zeros((4, 10))
    for _ in range(200):
        bases = dict(zip("abc", random.normal(size=(3, 10)), strict=True))
        taxes = np.array([random.normal(size=10) - bases[block] for block in blocks])
        p_values.append(kendall_w(taxes, blocks)[1])
    assert np.mean(np.array(p_values) <= 0.05) <= 0.09
    w, p_value = kendall_w(taxes[:2], ["a", "a"])
    assert 0 <= w <= 1
    assert np.isnan(p_value)


def test_a_scenario_without_an_item_in_common_unpairs_no_other() -> None:
    random = np.random.default_rng(4)
    frame = study(random.binomial(1, 0.4, (3, 30, 1)), random.binomial(1, 0.4, (3, 30, 1)))
    other = (pl.col("scenario") == "001") & (pl.col("model") == "base")
    frame = frame.with_columns(
        item_key=pl.when(other).then(pl.format("x{}", "item_key")).otherwise("item_key")
    )
    found = tax(frame, PAIR, by="scenario")
    assert found["method"].to_list()[:3] == ["paired", "unpaired", "paired"]
    assert set(found.filter(scenario="all")["method"]) == {"mixed"}


def test_a_part_that_one_reply_in_two_hundred_has_is_not_compared() -> None:
    """The base wrote one trace: the model's rate would have been that of the same single item."""
    model, base = np.ones((1, 200, 1)), np.full((1, 200, 1), np.nan)
    base[0, 0] = 0
    assert tax(study(model, base, part="reasoning"), PAIR).is_empty()
    assert len(tax(study(model, base, part="full"), PAIR)) == 1


@pytest.mark.parametrize("repeats", [4, 16])
def test_replies_that_are_repeated_word_for_word_narrow_no_blind_spot(repeats: int) -> None:
    """Repeats counted as independent made a third of ratios exclude 1 where there is no tax."""
    drawing = np.random.default_rng(5)
    once = [drawing.random((10, 20, 1)) < 0.25 for _ in range(2)]
    many = [np.repeat(hits, repeats, axis=2) for hits in once]
    columns = [name for name in blindspots(study(*once), PAIR).columns if "shrunken" in name]
    first, later = (blindspots(study(*sides), PAIR).select(columns) for sides in (once, many))
    assert later.equals(first)
    ratios = first.select("shrunken_ratio_low", "shrunken_ratio_high").to_numpy()
    assert ((ratios[:, 0] < 1) & (ratios[:, 1] > 1)).all()
