"""Which items a probe asks, and what of their replies it reads."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import opensafemlrm as osm
from opensafemlrm.api import make_plan
from opensafemlrm.errors import OptionError
from opensafemlrm.store.source import open_source
from opensafemlrm.types import Sampling
from opensafemlrm.watch.probe import FEATURES, choose, plan_of, replies_of
from opensafemlrm.watch.state import age

STUDY = osm.Study(
    models=["sim/r1-onevision-7b", "sim/qwen2.5-vl-7b"],
    datasets=["canary"],
    attacks=["direct", "typo"],
    judge="canary",
    limit=50,
    sampling=Sampling(temperature=0.7),
    repeats=2,
)


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """The tidy table of a whole run with two repeats."""
    results = osm.evaluate(STUDY, tmp_path_factory.mktemp("whole") / "store", progress=False)
    return results.frame()


def test_half_of_the_items_are_those_that_repeats_disagree_about(frame: pl.DataFrame) -> None:
    plan = make_plan(STUDY)
    chosen = choose(frame, plan.cells, 0.1)
    pairs = [(cell, item) for cell, items in chosen.items() for item in items]
    assert len(pairs) == len(set(pairs)) == 2 * 20, "a tenth of 200 requests, for each model"
    scores = frame.filter(pl.col("part") == "answer").with_columns(
        pl.col("cell", "item_key").cast(pl.String), unsafe=pl.col("score") >= 4
    )
    differ = scores.group_by("cell", "item_key").agg(differ=pl.col("unsafe").n_unique() > 1)
    wanted = pl.DataFrame(pairs, schema=["cell", "item_key"], orient="row")
    of_probe = differ.join(wanted, on=["cell", "item_key"])["differ"].mean()
    assert isinstance(of_probe, float)
    assert of_probe > 1.5 * float(differ["differ"].mean() or 0.0)  # type: ignore[arg-type]
    assert choose(frame.sample(fraction=1, shuffle=True, seed=1), plan.cells, 0.1) == chosen


def test_each_reply_of_a_probe_has_its_features(frame: pl.DataFrame, tmp_path: Path) -> None:
    plan = make_plan(STUDY)
    probe = plan_of(plan, choose(frame, plan.cells, 0.02), 3)
    from opensafemlrm import api

    api.run_blocking(api.run_plan(probe, tmp_path / "probe", progress=False))
    with open_source(tmp_path / "probe") as source:
        replies = replies_of(source, probe)
    assert len(replies) == 2 * 4 * 3
    assert replies.select(FEATURES).null_count().sum_horizontal()[0] == 0
    assert set(replies["repeat"]) == {0, 1, 2}
    by_text = replies.group_by("cell", "item_key").agg(pl.col("length of the text").n_unique())
    assert (by_text["length of the text"] > 1).any(), "each repeat is a draw of its own"


@pytest.mark.parametrize(("text", "days"), [("4w", 28), ("30d", 30)])
def test_a_time_is_read(text: str, days: int) -> None:
    assert age(text).days == days


@pytest.mark.parametrize("text", ["", "4", "w", "0d", "-1w", "4 weeks", "1.5w"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="4w or 30d"):
        age(text)
