"""A rule of the study ends a scenario early: what is asked, decided, kept and shown."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

import opensafemlrm as osm
from opensafemlrm import engine
from opensafemlrm.cli import app
from opensafemlrm.errors import BudgetSpentError, OptionError, StudyError
from opensafemlrm.models.budget import Limits
from opensafemlrm.store import Store
from opensafemlrm.study import Study, parse
from opensafemlrm.types import Item, ItemKind, JudgeRequest, Prompt, Response, Unscored, Verdict
from tests.cluster.local import run_locally
from tests.support import Listed, Scorer, Scripted, Undefended, Wrapped, items, ok

DECIDE = {"decide": "tax > 0", "margin": 0.1}


def by_words(request: JudgeRequest) -> Verdict:
    if "unclear" in request.text:
        return Verdict.none(Unscored.UNPARSED)
    return Verdict.scored(5 if "unsafe" in request.text else 0, unsafe="unsafe" in request.text)


def talks(name: str, unsafe: Any, said: str = "an unsafe answer") -> Scripted:
    """A model whose replies are unsafe where ``unsafe`` says so of the number of the item."""

    def reply(prompt: Prompt, _: int | None) -> Response:
        number = int(prompt.turns[-1].text.split()[-1].rstrip("?"))
        return ok(f"<think>hm {number}</think>" + (said if unsafe(number) else "no"))

    return Scripted(reply, model=name)


def study_of(models: list[Scripted], stop: Any, rows: list[Item] | None = None) -> Study:
    return Study(
        models,
        [Listed(items(200) if rows is None else rows)],
        Scorer(by_words),
        attacks=[Wrapped()],
        defenses=[Undefended()],
        pairs=[(models[0], models[1])] if len(models) > 1 else [],
        stop=stop,
    )


def pair(reasoner: Any, base: Any) -> list[Scripted]:
    return [talks("reasoner", reasoner), talks("base", base)]


def ends(path: Path) -> list[dict[str, Any]]:
    return osm.open(path).stopping().to_dicts()


def test_a_large_tax_is_found_after_few_items(tmp_path: Path) -> None:
    models = pair(lambda n: n % 10 < 7, lambda n: n % 10 == 9)
    osm.evaluate(study_of(models, DECIDE), tmp_path, progress=False)
    rows = ends(tmp_path)
    assert [row["answer"] for row in rows] == ["yes", "yes"]
    assert all(row["drawn"] < 40 and row["items"] == 100 and row["low"] > 0 for row in rows)
    assert len(models[0].asked) == len(models[1].asked) == sum(row["drawn"] for row in rows)


def test_no_tax_is_told_from_a_small_one(tmp_path: Path) -> None:
    models = pair(lambda n: n % 20 == 0, lambda n: n % 20 == 0)
    osm.evaluate(study_of(models, DECIDE), tmp_path, progress=False)
    rows = ends(tmp_path)
    assert [row["answer"] for row in rows] == ["no", "no"]
    assert all(row["drawn"] < 90 and row["high"] < 0.11 for row in rows)


def test_a_rate_is_run_until_it_is_known_closely_enough(tmp_path: Path) -> None:
    model = talks("one", lambda n: n % 4 < 2)
    osm.evaluate(study_of([model], {"half_width": 0.1}), tmp_path, progress=False)
    rows = ends(tmp_path)
    assert [row["answer"] for row in rows] == ["narrow", "narrow"]
    assert all(row["high"] - row["low"] <= 0.2 and row["low"] <= 0.5 <= row["high"] for row in rows)
    assert all(row["base"] is None for row in rows)
    assert len(model.asked) < 180


def test_what_a_judge_cannot_score_decides_nothing(tmp_path: Path) -> None:
    """Silence that counts as equal, or as safe, decides that there is no tax."""
    models = [talks("reasoner", lambda n: n % 2, "unclear"), talks("base", lambda _: False)]
    osm.evaluate(study_of(models, {**DECIDE, "part": "answer"}), tmp_path, progress=False)
    known, silent = ends(tmp_path)  # of s0 every reply has a score, of s1 none of the model's has
    assert known["answer"] == "no"
    assert silent["answer"] in ("undecided", "all")


def test_a_run_that_was_cut_decides_what_one_run_decides(tmp_path: Path) -> None:
    def models() -> list[Scripted]:
        return pair(lambda n: n % 10 < 5, lambda n: n % 10 > 7)

    whole = tmp_path / "whole"
    osm.evaluate(study_of(models(), DECIDE), whole, progress=False)
    cut = tmp_path / "cut"
    asked = 0
    for _ in range(50):
        again = models()
        try:
            osm.evaluate(study_of(again, DECIDE), cut, limits=Limits(requests=17), progress=False)
            break
        except BudgetSpentError:
            asked += sum(len(model.asked) for model in again)
    assert ends(cut) == ends(whole)
    again = models()
    osm.evaluate(study_of(again, DECIDE), cut, progress=False)
    assert not any(model.asked for model in again)


def test_workers_decide_what_one_process_decides(tmp_path: Path) -> None:
    text = (
        "models: [sim/r1-onevision-7b, sim/qwen2.5-vl-7b]\npairs: auto\ndatasets: [canary]\n"
        "judge: canary\nstop: {decide: 'tax > 0'}\n"
    )
    asyncio.run(run_locally(text, tmp_path / "many", workers=2))
    with Store.open(tmp_path / "one", "create") as store:
        asyncio.run(engine.evaluate(engine.Plan.of(parse(text)), store))
    assert ends(tmp_path / "many") == ends(tmp_path / "one")


def test_no_fixed_interval_is_shown_where_a_rule_ended_the_run(tmp_path: Path) -> None:
    """Looked at after each batch, a fixed interval of 95 % leaves out the truth far more often."""
    models = pair(lambda n: n % 10 < 7, lambda n: n % 10 == 9)
    osm.evaluate(study_of(models, DECIDE), tmp_path, progress=False)
    found = osm.open(tmp_path)
    for rows in (found.asr(by="scenario"), found.asr(), found.tax(by="scenario"), found.tax()):
        assert rows["withheld"].drop_nulls().unique().to_list() == ["stopped"]
        shown = rows.filter(pl.col("withheld").is_not_null())
        names = [
            name
            for name in rows.columns
            if name.endswith(("low", "high", "scored_safe", "scored_unsafe", "p_value"))
        ]
        assert all(shown[name].null_count() == len(shown) for name in names)
    for rows in (found.defense(), found.grouped(["scripted/reasoner"], ["scripted/base"])):
        assert rows.height
        bounds = [name for name in rows.columns if "bound" in name]
        assert bounds
        assert {value for name in bounds for value in rows[name].to_list()} == {None}


def test_nothing_is_compared_over_the_items_at_which_another_run_was_stopped(
    tmp_path: Path,
) -> None:
    """The same replies had changed by -6.0 to -6.0 points, since fewer of them were drawn."""
    models = pair(lambda n: n % 10 < 7, lambda n: n % 10 == 9)
    osm.evaluate(study_of(models, DECIDE), tmp_path / "a", progress=False)
    osm.evaluate(study_of(models, None), tmp_path / "b", progress=False)
    words = ["diff", str(tmp_path / "a"), str(tmp_path / "b"), "--no-flips", "--format", "json"]
    shown = CliRunner().invoke(app, words)
    rows = [row for row in json.loads(shown.stdout)["diff_figures"] if row["figure"] == "asr"]
    assert rows
    names = ("rate_a", "rate_b", "difference", "low", "high", "bound_low", "bound_high")
    assert {row[name] for row in rows for name in names} == {None}


def test_where_a_rule_ended_a_run_comes_as_text_and_says_simulated(tmp_path: Path) -> None:
    study = Study(["sim/r1-onevision-7b"], ["canary"], "canary", limit=40, stop={"half_width": 0.4})
    osm.evaluate(study, tmp_path, progress=False)
    shown = CliRunner().invoke(app, ["table", "stopping", str(tmp_path)])
    assert shown.exit_code == 0
    assert "simulated" in shown.stdout
    assert "holds at any time" in shown.stdout


def test_a_whole_run_after_it_has_its_intervals_again(tmp_path: Path) -> None:
    models = pair(lambda n: n % 10 < 7, lambda n: n % 10 == 9)
    osm.evaluate(study_of(models, DECIDE), tmp_path, progress=False)
    osm.evaluate(study_of(models, None), tmp_path, progress=False)
    assert osm.open(tmp_path).tax()["withheld"].null_count() == len(osm.open(tmp_path).tax())


def test_benign_items_and_models_without_a_pair_are_run_whole(tmp_path: Path) -> None:
    models = [*pair(lambda n: n % 10 < 7, lambda _: False), talks("alone", lambda _: True)]
    rows = [*items(100), *items(7, kind=ItemKind.BENIGN)]
    osm.evaluate(study_of(models, DECIDE, rows), tmp_path, progress=False)
    assert len(models[2].asked) == 107
    frame = osm.open(tmp_path).frame()
    benign = frame.filter(expected="benign", model="scripted/reasoner")["item"].n_unique()
    assert benign == 7


def test_a_base_of_two_models_is_asked_once(tmp_path: Path) -> None:
    models = [talks("a", lambda n: n % 2), talks("base", lambda _: False), talks("b", lambda _: 0)]
    given = study_of(models, None)
    pairs = [(models[0], models[1]), (models[2], models[1])]
    given = Study(
        models, given.datasets, given.judge, attacks=given.attacks, pairs=pairs, stop=DECIDE
    )
    osm.evaluate(given, tmp_path, progress=False)
    assert len(models[1].asked) == len(set(models[1].asked))
    assert len(models[1].asked) == max(len(models[0].asked), len(models[2].asked))


@pytest.mark.parametrize(
    ("stop", "says"),
    [
        ({}, "half_width"),
        ({"half_width": 0.05, "decide": "tax > 0"}, "one of"),
        ({"decide": "tax > 1"}, "tax > 0"),
        ({"half_width": 0}, "write more than 0, not 0"),
        ({"half_width": 5}, "0.5"),
        ({"decide": "tax > 0", "margin": -0.1}, "write more than 0, not -0.1"),
        ({"decide": "tax > 0", "within": 3}, "within"),
        (DECIDE, "pairs"),
    ],
)
def test_a_rule_that_cannot_be_followed_is_said(stop: Any, says: str) -> None:
    with pytest.raises(StudyError, match=says):
        study_of([talks("one", lambda _: False)], stop)


def test_a_rule_needs_a_store_to_read_from(tmp_path: Path) -> None:
    cluster = osm.Cluster("local", parquet_out=str(tmp_path / "sink"))
    given = study_of(pair(lambda _: True, lambda _: False), DECIDE)
    with pytest.raises(OptionError, match="store"):
        osm.evaluate(given, cluster=cluster, progress=False)
