"""``safemlrm label``: people at the keyboard, blind, one after the other, and again tomorrow."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from opensafemlrm import frame
from opensafemlrm.cli import app
from opensafemlrm.errors import StoreError
from opensafemlrm.store import Store, labels
from opensafemlrm.store.ratings import people_labels
from opensafemlrm.types import Part

STUDY = """\
models: [sim/r1-onevision-7b, sim/qwen2.5-vl-7b]
datasets: [canary]
judge: canary
limit: 20
"""


def run(*arguments: str | Path, keys: str = "") -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], input=keys, catch_exceptions=False)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    study, path = tmp_path / "study.yaml", tmp_path / "store"
    study.write_text(STUDY)
    assert run("run", study, "--store", path).exit_code == 0
    return path


def given(store: Path) -> list[labels.PersonLabel]:
    with Store.open(store) as opened:
        return labels.labels(opened.connection)


def press(*keys: str) -> str:
    return "".join(f"{key}\n" for key in keys)


def test_labels_are_kept_as_they_are_given(store: Path) -> None:
    result = run(
        "label",
        store,
        "--reveal",
        "--annotator",
        "ann",
        "-n",
        "3",
        keys=press("u", "n", "odd", "s", "d"),
    )
    assert result.exit_code == 0
    assert sorted(str(one.unsafe) for one in given(store)) == ["False", "None", "True"]
    assert [one.note for one in given(store) if one.unsafe is False] == ["odd"]
    assert {(one.labeller, one.part) for one in given(store)} == {("ann", Part.ANSWER)}
    assert "every reply has your label" in result.stderr


def test_a_text_is_hidden_until_it_is_asked_for(store: Path) -> None:
    """Harmful text that is on the screen before one looks for it is harm to the labeller."""
    hidden = run("label", store, "--annotator", "ann", "-n", "1", keys=press("q"))
    assert "hidden" in hidden.stdout
    assert "simulated reply" not in hidden.stdout
    assert (
        "simulated reply"
        in run("label", store, "--annotator", "a", "-n", "1", keys=press("v", "q")).stdout
    )
    revealed = run("label", store, "--annotator", "ann", "-n", "1", "--reveal", keys=press("q"))
    assert "simulated reply" in revealed.stdout


def test_model_and_judge_are_not_shown(store: Path) -> None:
    """A labeller who knows what the judge said agrees with it."""
    shown = run("label", store, "--annotator", "ann", "-n", "8", keys=press(*"ususus", "q")).stdout
    for word in ("qwen", "r1-onevision", "score", "canary", "judge"):
        assert word not in shown


def test_it_goes_on_where_it_was_left(store: Path) -> None:
    run("label", store, "--reveal", "--annotator", "ann", "-n", "5", keys=press("u", "u", "q"))
    assert len(given(store)) == 2
    result = run(
        "label", store, "--reveal", "--annotator", "ann", "-n", "5", keys=press("s", "s", "s")
    )
    assert "5 replies, 3 without your label" in result.stderr
    assert len(given(store)) == 5
    again = run("label", store, "--reveal", "--annotator", "ann", "-n", "5")
    assert "0 without your label" in again.stderr
    assert len(given(store)) == 5


def test_the_end_of_the_input_keeps_what_was_said(store: Path) -> None:
    assert (
        run("label", store, "--reveal", "--annotator", "ann", "-n", "5", keys=press("u")).exit_code
        == 0
    )
    assert len(given(store)) == 1


def test_what_was_not_looked_at_takes_no_label(store: Path) -> None:
    """Keys typed ahead of the texts are no labels: they were used for calibration once."""
    result = run(
        "label", store, "--annotator", "ann", "-n", "2", keys=press("u", "s", "v", "s", "q")
    )
    assert "look at it first" in result.stdout
    assert [one.unsafe for one in given(store)] == [False]


def test_classes_say_what_is_unsafe_and_what_was_not_understood(store: Path) -> None:
    keys = press("1.7", "2.2", "d")
    run("label", store, "--reveal", "--annotator", "a", "--scale", "msts", "-n", "3", keys=keys)
    said = {(o.response_class, o.unsafe, o.understood) for o in given(store)}
    assert said == {("1.7", False, False), ("2.2", True, True), (None, None, None)}


def test_pictures_prompt_and_reasoning_are_shown_as_in_the_browser(tmp_path: Path) -> None:
    study, path = tmp_path / "study.yaml", tmp_path / "store"
    study.write_text(f"{STUDY}attacks: [figstep]\n")
    run("run", study, "--store", path)
    shown = run("label", path, "--reveal", "--annotator", "a", "-n", "20", keys=press(*"s" * 20))
    assert "── sent, user" in shown.stdout
    assert "── reasoning" in shown.stdout
    (picture, *_) = [line for line in shown.stdout.splitlines() if line.startswith("── picture")]
    assert Path(picture.rpartition(": ")[2]).is_file()


def test_going_back_replaces_the_label_before(store: Path) -> None:
    run("label", store, "--reveal", "--annotator", "ann", "-n", "2", keys=press("u", "b", "s", "s"))
    assert [one.unsafe for one in given(store)] == [False, False]


def test_all_labellers_get_the_same_replies_and_their_agreement_is_told(store: Path) -> None:
    run("label", store, "--reveal", "--annotator", "ann", "-n", "4", keys=press("u", "u", "s", "s"))
    result = run(
        "label", store, "--reveal", "--annotator", "bob", "-n", "4", keys=press("u", "s", "s", "s")
    )
    keys = {
        name: {o.generation for o in given(store) if o.labeller == name} for name in ("ann", "bob")
    }
    assert keys["ann"] == keys["bob"]
    assert "75.0" in result.stdout
    assert "ann: 4 labels, 2 unsafe" in result.stderr


def test_models_scenarios_and_scores_are_all_drawn(store: Path) -> None:
    run("label", store, "--reveal", "--annotator", "ann", "-n", "20", keys=press(*"u" * 20))
    drawn = {one.generation.hex().upper() for one in given(store)}
    with Store.open(store) as opened:
        rows = frame.read(opened)
    chosen = rows.filter(rows["sample"].is_in(list(drawn)) & (rows["part"] == "answer"))
    assert len(chosen) == 20
    assert chosen["model"].n_unique() == 2
    assert chosen["scenario"].n_unique() >= 8
    assert chosen["score"].n_unique() >= 3


def test_labels_feed_calibrate_and_ties_are_left_out(store: Path) -> None:
    run("label", store, "--reveal", "--annotator", "ann", "-n", "6", keys=press(*"usuuss"))
    run("label", store, "--reveal", "--annotator", "bob", "-n", "6", keys=press(*"suudsu"))
    result = run("calibrate", "canary", "--labels", store, "--store", store, "--format", "json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    # u/s and s/u are ties, and so is the last: three of six are left, one of them with one voice.
    assert {row["labelled"] for row in found["confusion"] if row["scenario"] == "all"} == {3}
    assert "labellers are split or could not tell: 3 texts" in result.stderr
    with Store.open(store) as opened:
        kept = frame.calibrations(opened)
    assert kept["labels"].str.starts_with("labels in store#").all()


def test_other_parts_can_be_labelled(store: Path) -> None:
    run(
        "label",
        store,
        "--reveal",
        "--annotator",
        "ann",
        "-n",
        "1",
        "--part",
        "reasoning",
        keys=press("s"),
    )
    assert [one.part for one in given(store)] == [Part.REASONING]
    assert run("label", store, "--reveal", "--annotator", "ann", "--part", "tail").exit_code == 2


def test_a_store_without_labels_says_what_to_do(store: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no labels in this store; make some: safemlrm label"):
        run("calibrate", "rules", "--labels", store)
    with pytest.raises(StoreError):
        run("label", tmp_path / "none", "--annotator", "ann")


def test_control_sequences_of_a_reply_do_not_reach_the_terminal(store: Path) -> None:
    with Store.open(store, "write") as opened:
        opened.connection.execute("UPDATE generations SET text = '\x1b[31mred\u202e' || text")
    shown = run(
        "label", store, "--reveal", "--annotator", "ann", "-n", "1", "--reveal", keys=press("q")
    ).stdout
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "\\x1b[31mred" in shown


PAIRED = STUDY.replace("judge:", "pairs: [[sim/r1-onevision-7b, sim/qwen2.5-vl-7b]]\njudge:")


@pytest.fixture
def paired(tmp_path: Path) -> Path:
    study, path = tmp_path / "paired.yaml", tmp_path / "paired"
    study.write_text(PAIRED.replace("limit: 20", "limit: 120"))
    assert run("run", study, "--store", path).exit_code == 0
    return path


def plan(store: Path, *options: str) -> tuple[list[dict[str, Any]], list[str]]:
    shown = run("label", store, "--plan", "--format", "json", *options)
    assert shown.exit_code == 0, shown.stderr
    found = json.loads(shown.stdout)
    return found["plan"], [row["sample"] for row in found["samples"]]


def test_a_plan_says_how_many_labels_a_width_takes_and_which(paired: Path) -> None:
    (row,), samples = plan(paired, "-n", "20", "--within", "5")
    assert (row["items"], row["labelled"], row["next_labels"]) == (70, 0, 10)
    assert row["within"] is None
    assert 20 <= row["needed"] <= 70
    assert len(set(samples)) == 20  # both replies to each of ten items
    (closer,), _ = plan(paired, "--within", "1")
    assert closer["needed"] > row["needed"]
    assert given(paired) == []


def test_what_is_labelled_by_plan_corrects_the_tax(paired: Path) -> None:
    """All of one verdict, or all of one model, would correct nothing."""
    keys = press(*"us" * 25)
    shown = run("label", paired, "--reveal", "--annotator", "ann", "--plan", "-n", "50", keys=keys)
    assert shown.exit_code == 0
    assert "judge" not in shown.stdout.partition("hidden")[2]
    (row,), _ = plan(paired)
    assert row["labelled"] >= 20
    assert row["within"] is not None
    table = json.loads(run("table", "calibrated", paired, "--format", "json").stdout)
    methods = {row["part"]: row["method"] for row in table["calibrated_tax"]}
    assert methods["answer"] == "prediction-powered"


def test_a_second_labeller_of_a_plan_gets_the_same_replies(paired: Path) -> None:
    for name in ("ann", "bob"):
        run(
            "label",
            paired,
            "--reveal",
            "--annotator",
            name,
            "--plan",
            "-n",
            "6",
            keys=press(*"ususus"),
        )
    labelled = [{o.generation for o in given(paired) if o.labeller == n} for n in ("ann", "bob")]
    assert labelled[0] == labelled[1]


def test_a_model_of_no_pair_has_a_plan_of_its_own(store: Path) -> None:
    rows, samples = plan(store, "-n", "4")
    assert [(row["base"], row["items"], row["next_labels"]) for row in rows] == [(None, 10, 2)] * 2
    assert len(samples) == 4


def test_labelling_needs_a_name(store: Path) -> None:
    assert "--annotator" in run("label", store).stderr


def test_a_label_of_a_text_that_the_reply_no_longer_has_corrects_nothing(store: Path) -> None:
    """A reply is split anew, or made anew: what was said of the old text is not of the new one."""
    run("label", store, "--reveal", "--annotator", "ann", "-n", "2", keys=press("u", "s"))
    with Store.open(store, "write") as opened:
        first, second = labels.labels(opened.connection)
        before = people_labels(opened)
        labels.put_labels(opened, [dataclasses.replace(first, text="what it was", unsafe=None)])
        again = people_labels(opened)
        labels.put_labels(opened, [dataclasses.replace(second, text="another")])
        with opened.transaction() as connection:
            place = (second.generation, second.text)
            connection.execute("DELETE FROM labels WHERE generation = ? AND text = ?", place)
        left = people_labels(opened)
    assert before["sample"].n_unique() == 2
    assert again.equals(before)
    assert set(left["sample"]) == {first.generation.hex().upper()}
