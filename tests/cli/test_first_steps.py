"""The first commands of a newcomer: a study in one line, and a study from a server's own list."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from typer.testing import CliRunner, Result

import opensafemlrm as osm
from opensafemlrm.cli import app
from opensafemlrm.errors import ModelError, OptionError, StudyError, UnknownNameError
from opensafemlrm.models.demo.server import simulated, start

SIM = ("--model", "sim/r1-onevision-7b", "--base", "sim/qwen2.5-vl-7b")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


def test_a_data_set_that_does_not_exist_is_said_before_its_judge_is_asked_for() -> None:
    with pytest.raises(UnknownNameError, match="canary"):
        run("eval", "canry", *SIM, "--store", "nowhere")


def test_one_line_evaluates_and_leaves_a_study_to_go_on_with(tmp_path: Path) -> None:
    store = tmp_path / "store"
    result = run("eval", "canary", *SIM, "--attack", "typo", "--limit", "20", "--store", store)
    assert result.exit_code == 0
    path = store / "study.yaml"
    for command in (f"table asr {store}", f"report {store}", f"run {path} --store {store}"):
        assert f"safemlrm {command}" in result.stderr
    assert osm.open(store).tax()["model"].unique().to_list() == ["sim/r1-onevision-7b"]
    path.write_text(path.read_text().replace("limit: 20", "limit: 30"))
    again = run("run", path, "--store", store)
    assert "60 asked for; 40 were in the store, 20 made now" in again.stderr


def test_another_study_in_the_same_store_has_a_file_of_its_own(tmp_path: Path) -> None:
    for limit in ("5", "5", "6"):
        run("eval", "canary", *SIM, "--limit", limit, "--store", tmp_path / "store")
    names = sorted(path.name for path in (tmp_path / "store").glob("*.yaml"))
    assert names == ["study-2.yaml", "study.yaml"]


@pytest.mark.parametrize("to", ["text", "json"])
def test_the_figures_of_eval_are_of_what_it_asked(tmp_path: Path, to: str) -> None:
    """The mistake: 5 items asked for, and the rate of all 20 that the store held of the model."""
    store = tmp_path / "store"
    run("eval", "canary", *SIM, "--limit", "20", "--store", store)
    run("eval", "canary", *SIM[:2], "-o", "sampling.seed=1", "--limit", "20", "--store", store)
    shown = run("eval", "canary", *SIM, "--limit", "5", "--store", store, "--format", to)
    if to == "text":
        assert re.findall(r"full +\S+ +(\d+) ", shown.stdout) == ["3", "3", "3"]
        return
    tables = json.loads(shown.stdout)
    assert [row["samples"] for row in tables["run"]] == [5, 5]
    assert {(row["model"], row["n"]) for row in tables["asr"]} == {(SIM[1], 3), (SIM[3], 3)}
    assert {row["scored_model"] for row in tables["tax"]} == {3}


def test_the_figures_of_eval_are_by_the_judge_it_asked(tmp_path: Path) -> None:
    """Two judges of one name, which tables tell apart by their keys, are not the same judge."""
    asked = ("eval", "canary", *SIM[:2], "--judge", "policy-rubric=sim/judge", "--limit", "6")
    for more in ((), ("-o", "judge.max_tokens=300")):
        shown = run(*asked, *more, "--store", tmp_path / "store", "--format", "json")
        rates = json.loads(shown.stdout)["asr"]
        assert [row["part"] for row in rates] == ["reasoning", "answer", "full"]


def test_options_go_to_their_kind_and_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(StudyError) as raised:
        run(
            *("eval", "figstep", "--model", "gpt-4o", "--attack", "typoo", "--store", tmp_path),
            *("--judge", "policy-rubric=openai/Z", "-o", "dataset.rot=x", "-o", "sampling.seed=a"),
        )
    said = "\n".join(raised.value.args)
    assert "--model: there is no model called 'gpt-4o'; did you mean openai/gpt-4o?" in said
    assert "-o dataset.rot: the dataset 'figstep' has no option 'rot'; did you mean root?" in said
    assert "--attack: there is no attack called 'typoo'" in said
    assert "-o sampling.seed: " in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("figstep", "--model", "openai/X"), "say who judges"),
        (("canary", *SIM, "-o", "root=x"), "KIND.KEY=VALUE"),
        (("canary", *SIM, "--base", "sim/a", "--base", "sim/b"), "one for each --model"),
    ],
)
def test_what_is_missing_is_asked_for(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    result = run("eval", *words, "--store", tmp_path / "store")
    assert result.exit_code == 2
    assert says in " ".join(result.stderr.split())


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The simulated models behind HTTP, in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner, port = asyncio.run_coroutine_threadsafe(start(simulated()), loop).result(30)
    yield f"http://127.0.0.1:{port}/v1"
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(30)
    loop.close()


def test_init_takes_a_servers_models_and_the_study_runs(tmp_path: Path, server: str) -> None:
    path = tmp_path / "study.yaml"
    models = ("--model", "simulated-r1-onevision-7b", "--base", "simulated-qwen2.5-vl-7b")
    bare = server.removesuffix("/v1")
    assert run("init", path, "--url", bare, *models, "--limit", "4").exit_code == 0
    first = path.read_text(encoding="utf-8").splitlines()[0]
    schema = path.parent / first.removeprefix("# yaml-language-server: $schema=")
    validator = Draft202012Validator(json.loads(schema.read_text(encoding="utf-8")))
    validator.validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    result = run("run", path, "--store", tmp_path / "store")
    assert "16 asked for; 0 were in the store, 16 made now" in result.stderr


def test_init_takes_the_first_model_where_nobody_is_asked(tmp_path: Path, server: str) -> None:
    path = tmp_path / "study.yaml"
    run("init", path, "--url", server)
    assert f"base_url: '{server}'" in path.read_text() or f"base_url: {server}" in path.read_text()


def test_init_says_what_is_wrong_and_writes_nothing(tmp_path: Path, server: str) -> None:
    path = tmp_path / "study.yaml"
    with pytest.raises(UnknownNameError, match="simulated-r1-onevision-7b"):
        run("init", path, "--url", server, "--model", "simulated-r1-onevision-7")
    with pytest.raises(ModelError, match=r"does not answer.*Check that the server runs"):
        run("init", path, "--url", "http://127.0.0.1:9/v1")
    with pytest.raises(ModelError, match=r"^the address must look like https://HOST/v1"):
        run("init", path, "--url", "localhost")
    with pytest.raises(StudyError, match=r"not written.*no judge called 'rule'"):
        run("init", path, "--url", "sim", "--judge", "rule")
    assert "say where the models are" in run("init", path).stderr
    assert list(tmp_path.iterdir()) == []
    assert run("init", path, "--url", "sim").exit_code == 0
    with pytest.raises(OptionError, match="this file exists"):
        run("init", path, "--url", "sim")
