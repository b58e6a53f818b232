"""``safemlrm show``: a name that the store does not have is an error that says what it has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from opensafemlrm.cli import app
from opensafemlrm.errors import UnknownNameError


def run(*words: object) -> Result:
    return CliRunner().invoke(app, list(map(str, words)))


def show_all(store: Path) -> list[object]:
    return ["show", store, "-n", 99, "--format", "jsonl"]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shown")
    study = folder / "study.yaml"
    study.write_text(
        "models: [sim/r1-onevision-7b]\ndatasets: [canary]\nattacks: [typo]\n"
        "judges: [canary, refusal]\nlimit: 4\n",
        encoding="utf-8",
    )
    assert run("run", study, "--store", folder / "store").exit_code == 0
    return folder / "store"


@pytest.mark.parametrize("kind", ["model", "dataset", "attack", "defense", "scenario", "item"])
def test_a_name_that_is_not_there_is_no_empty_result(evaluated: Path, kind: str) -> None:
    """`--item zzz` printed "0 of 0 samples" of a store of 240, and ended with 0."""
    result = run("show", evaluated, f"--{kind}", "zzz")
    assert isinstance(result.exception, UnknownNameError)
    assert f"there is no {kind} in this store called 'zzz'; known: " in str(result.exception)


@pytest.mark.parametrize("option", ["-n", "--limit", "--count"])
def test_how_many_are_shown_is_a_limit_as_elsewhere(evaluated: Path, option: str) -> None:
    result = run("show", evaluated, option, 1, "--format", "jsonl")
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 1)


def test_what_nothing_is_says_how_many_there_are(evaluated: Path) -> None:
    result = run("show", evaluated, "--outcome", "failed")
    assert result.exit_code == 0
    assert "none of the store's 4 samples is such" in result.stderr
    assert run("show", evaluated, "--outcome", "nope").exit_code == 2


@pytest.mark.parametrize("part", ["reasoning", "answer"])
@pytest.mark.parametrize("outcome", ["unsafe", "safe"])
def test_an_outcome_is_that_of_any_judge(evaluated: Path, part: str, outcome: str) -> None:
    """The first of two judges was asked alone, and "none is such" said where the other saw some."""
    every = [json.loads(line) for line in run(*show_all(evaluated)).stdout.splitlines()]
    assert len(every) == 4
    judged = {"part": part, "label": outcome}
    expected = {
        sample["sample"]
        for sample in every
        for verdict in sample["verdicts"]
        if judged.items() <= verdict.items()
    }
    assert expected
    chosen = ("--part", part, "--outcome", outcome)
    found = [json.loads(x) for x in run(*show_all(evaluated), *chosen).stdout.splitlines()]
    assert {sample["sample"] for sample in found} == expected
    assert len(found) == len(expected)
    shown = run("show", evaluated, *chosen, "-n", 1).stderr
    assert f"1 of {len(expected)} sample" in shown


def test_a_picture_is_named_by_its_file_and_no_score_by_its_reason(evaluated: Path) -> None:
    shown = run("show", evaluated, "-n", "1")
    (path,) = (
        line.partition("pixels: ")[2] for line in shown.stdout.splitlines() if "pixels" in line
    )
    assert Path(path).is_file()
    assert "refusal on full: no score: " in shown.stdout
    assert "1 of 4 samples" in shown.stderr
