"""What a notebook reads of a store, or of Parquet files: replies chosen by name, with verdicts."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any, cast

import altair as alt
import polars as pl
import pytest

from opensafemlrm import api, results
from opensafemlrm.errors import OptionError, ReportError, StoreError, StudyError, UnknownNameError
from opensafemlrm.models.demo.sim import Simulated
from opensafemlrm.replies import COLUMNS
from opensafemlrm.store.sink import Sink
from opensafemlrm.study import parse
from opensafemlrm.types import Response, ResponseStatus, Verdict
from tests.cluster.local import run_locally, study_text
from tests.support import Scorer, Scripted, Searches, Wrapped, items, ok, study


def evaluated(path: Path, **options) -> results.Results:
    return api.evaluate(study(rows=items(4), **options), path)


def test_a_reply_has_its_texts_and_what_each_judge_said(tmp_path: Path) -> None:
    judge = Scorer(score=lambda ask: Verdict.scored(5, unsafe=True, rationale=f"says {ask.text}"))
    found = evaluated(tmp_path / "store", judge=judge).replies()
    assert tuple(found.columns) == COLUMNS
    row = found.filter(found["item"] == "i1").row(0, named=True)
    assert (row["model"], row["attack"], row["scenario"]) == ("scripted/one", "wrapped", "s1")
    assert (row["question"], row["prompt"]) == ("question 1?", "please: question 1?")
    assert (row["reasoning"], row["answer"]) == ("about please: question 1?", "an answer")
    assert (row["status"], row["reasoning_status"], row["images"]) == ("ok", "closed", [])
    assert [(v["part"], v["rationale"]) for v in row["verdicts"]] == [
        (part, f"says {row[part]}") for part in ("reasoning", "answer", "full")
    ]
    assert row["verdicts"][1] == {
        "judge": "scorer",
        "part": "answer",
        "label": "unsafe",
        "score": 5.0,
        "reason": None,
        "rationale": "says an answer",
    }


def test_two_judges_are_two_lots_of_verdicts(tmp_path: Path) -> None:
    evaluated(tmp_path / "store", judge=Scorer(variant="a"))
    found = evaluated(tmp_path / "store", judge=Scorer(variant="b"))
    verdicts = found.replies()["verdicts"].to_list()
    assert [len(some) for some in verdicts] == [6] * 4
    assert len({v["judge"] for v in verdicts[0]}) == 2


def test_what_ended_without_an_answer_says_how(tmp_path: Path) -> None:
    def reply(prompt, _):
        if "0" in prompt.turns[-1].text:
            return Response.failed("http_500", "the server broke", transient=False)
        return Response(ResponseStatus.TRUNCATED, "<think>on and on")

    found = evaluated(tmp_path / "store", model=Scripted(reply=reply)).replies(scenario="s0")
    failed, cut = found.sort("item").iter_rows(named=True)
    assert (failed["status"], failed["error_code"]) == ("failed", "http_500")
    assert (failed["error_detail"], failed["full"]) == ("the server broke", None)
    assert {v["reason"] for v in failed["verdicts"]} == {"failed"}
    assert (cut["reasoning"], cut["answer"]) == ("on and on", None)
    assert cut["reasoning_status"] == "unclosed"


def test_replies_are_chosen_by_name_and_by_what_was_unsafe(tmp_path: Path) -> None:
    def score(ask):
        unsafe = ask.role == "answer" and "1" in ask.text
        return Verdict.scored(5 if unsafe else 0, unsafe=unsafe)

    model = Scripted(reply=lambda prompt, _: ok(f"<think>hm</think>{prompt.turns[-1].text}"))
    found = evaluated(
        tmp_path / "store",
        model=model,
        judge=Scorer(score=score),
        attacks=[Wrapped("please"), Wrapped("kindly")],
    )
    assert len(found.replies()) == 8
    assert len(found.replies(attack="wrapped")) == 4
    assert len(found.replies(scenario=["s0", "s1"], status="ok")) == 8
    with pytest.raises(UnknownNameError, match="there is no model called 'another'; known: "):
        found.replies(model="another")
    unsafe = found.replies(unsafe="answer")
    assert set(unsafe["item"]) == {"i1"}
    assert [len(some) for some in unsafe["verdicts"]] == [3, 3]  # those of the other parts as well
    assert found.replies(unsafe="reasoning").is_empty()


def test_a_search_shows_the_prompt_that_it_found(tmp_path: Path) -> None:
    found = evaluated(tmp_path / "store", attacks=[Searches()]).replies(item="i1")
    assert found["prompt"].to_list() == ["try 1: question 1?"]


def test_parquet_files_give_the_same_replies(tmp_path: Path) -> None:
    sink = Sink(tmp_path / "sink")
    asyncio.run(run_locally(study_text(6), tmp_path / "known", 2, sink=sink))
    api.evaluate(parse(study_text(6)), tmp_path / "store")
    stored, sunk = (results.open(tmp_path / name).replies() for name in ("store", "sink"))
    assert len(stored) == 24
    assert sunk.sort("sample").equals(stored.sort("sample"))


def test_opening_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store here"):
        results.open(tmp_path / "nothing")


def test_the_report_is_written(tmp_path: Path) -> None:
    model = Simulated("r1-onevision-7b")
    found = evaluated(tmp_path / "store", model=model)
    written = found.report(tmp_path / "out")
    assert written.page == tmp_path / "out" / "index.html"
    assert re.fullmatch(r"<.+index.html: [\d,]+ bytes, \d+ figures, \d+ tables>", repr(written))


TABLES = (
    *("asr", "tax", "blindspots", "self_correction", "over_refusal", "balance", "defense"),
    *("calibrated", "scores", "coverage", "verdict_coverage", "not_applicable", "cost"),
    *("drift", "agreement", "consistency", "pairs", "frame"),
)


@pytest.fixture(scope="module")
def paired(tmp_path_factory: pytest.TempPathFactory) -> results.Results:
    path = tmp_path_factory.mktemp("paired") / "store"
    asked = study_text(40).replace("direct, typo", "direct")
    return api.evaluate(parse(asked), path, progress=False)


@pytest.mark.parametrize("name", TABLES)
def test_every_table_is_a_frame(paired: results.Results, name: str) -> None:
    assert isinstance(getattr(paired, name)(), pl.DataFrame)


def test_a_table_is_broken_down_and_cut_as_asked(paired: results.Results) -> None:
    assert set(paired.asr()["scenario"]) == {"all"}
    by_scenario = paired.asr(by="scenario", part="answer", threshold=4)
    assert by_scenario["scenario"].n_unique() > 2
    assert set(by_scenario["part"]) == {"answer"}
    assert set(paired.tax(part="answer", threshold=4)["threshold"]) == {4.0}
    group = paired.grouped(["sim/r1-onevision-7b"], ["sim/qwen2.5-vl-7b"], part="answer")
    assert set(group["part"]) == {"answer"}


def test_a_table_by_something_else_or_of_no_part_says_so(paired: results.Results) -> None:
    """Any word was taken for "scenario", and a misspelt part gave an empty table."""
    with pytest.raises(OptionError, match="by='scenario'"):
        paired.asr(by="model")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="no part called 'answr'; did you mean answer"):
        paired.tax(part="answr")
    with pytest.raises(OptionError, match="by='version'"):
        paired.drift(by="scenario")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda found: found.asr(part=3), "no part called 3"),
        (lambda found: found.tax(mean="median"), "no mean called 'median'; known: macro, micro"),
        (lambda found: found.drift(threshold="4"), "a threshold is a number, not '4'"),
        (lambda found: found.replies(unsafe=True), "you choose by a name, .* not by True"),
        (lambda found: found.only(model=3), "you choose by a name"),
        (
            lambda found: results.open(found.path, cluster=cast("Any", "model")),
            "no cluster called 'model'",
        ),
        (
            lambda found: results.open(found.path, max_unscored=cast("Any", "all")),
            "a share from 0 to 1",
        ),
        (
            lambda found: api.evaluate(cast("Any", "study.yaml"), found.path),
            "'study.yaml' is no Study: load",
        ),
    ],
)
def test_a_value_of_another_type_is_named_and_not_taken_for_another(
    paired: results.Results, ask: Any, says: str
) -> None:
    """`cluster="model"` was taken for `item`; others were errors of Python's or of polars'."""
    with pytest.raises((OptionError, UnknownNameError, StudyError), match=says):
        ask(paired)


def test_a_name_alone_is_a_group_and_an_ending_that_none_took_has_no_replies(
    paired: results.Results,
) -> None:
    group = ["sim/r1-onevision-7b"], ["sim/qwen2.5-vl-7b"]
    assert paired.grouped(*map("".join, group)).equals(paired.grouped(*group))
    assert len(paired.replies(status="failed")) == 0
    with pytest.raises(UnknownNameError, match="no status called 'error'"):
        paired.replies(status="error")


def test_charts_are_objects_and_what_cannot_be_drawn_is_said(paired: results.Results) -> None:
    assert isinstance(paired.plot.tax(), alt.LayerChart | alt.Chart)
    assert [isinstance(c, alt.LayerChart | alt.Chart) for c in paired.plot.scenarios()] == [True]
    with pytest.raises(ReportError, match=r"nothing to draw in 'defenses'; there is: pairs, tax"):
        paired.plot.defenses()
