"""A key or an extra that is missing is said before anything is made; a rate is shown at the end."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import opensafemlrm as osm
from opensafemlrm.cli import app
from opensafemlrm.errors import SafeMLRMError, StudyError
from opensafemlrm.models.demo.sim import Simulated

STUDY = """\
models: [sim/r1-onevision-7b{more}]
datasets: [canary]
attacks: [direct]
judge: {judge}
limit: 4
"""


@pytest.fixture(autouse=True)
def _without_keys_and_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    for package in ("torch", "inspect_ai", "onnxruntime", "vllm"):
        monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setenv("PATH", "/nonexistent")


def run(*words: object) -> Result:
    return CliRunner().invoke(app, list(map(str, words)))


def study(folder: Path, more: str = "", judge: str = "canary") -> Path:
    path = folder / "study.yaml"
    path.write_text(STUDY.format(more=more, judge=judge), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("openai/x", "set the environment variable OPENAI_API_KEY"),
        ("anthropic/x", "set the environment variable ANTHROPIC_API_KEY"),
        ("hf/x", "pip install '.[hf]'"),
        ("inspect/mistral/x", "pip install '.[inspect]'"),
        ("organism/base", "pip install '.[demo]'"),
        ("vllm-offline/x", "pip install vllm"),
    ],
)
def test_what_a_model_lacks_is_said_before_a_folder_is_made(
    tmp_path: Path, model: str, says: str
) -> None:
    """It made the folder, a study and a store, and said "everything that came is kept"."""
    store = tmp_path / "store"
    for words in (("eval", "canary", "--model", model), ("run", study(tmp_path, f", {model}"))):
        result = run(*words, "--store", store)
        assert isinstance(result.exception, StudyError)
        assert says in str(result.exception)
        assert not store.exists()


def test_all_that_is_missing_is_said_at_once(tmp_path: Path) -> None:
    judge = "{judge: policy-rubric, model: anthropic/j}"
    path = study(tmp_path, ", hf/x, {model: vllm/y, serve: true}", judge)
    with pytest.raises(StudyError) as caught:
        osm.evaluate(osm.load_study(path), tmp_path / "store", progress=False)
    lacking = sorted(message.split()[0] for message in caught.value.args)
    assert lacking == ["anthropic/j", "hf/x", "vllm/y:"]
    assert not (tmp_path / "store").exists()


def test_a_dry_run_plans_and_says_what_is_missing(tmp_path: Path) -> None:
    result = run("run", study(tmp_path, ", openai/x"), "--store", tmp_path / "s", "--dry-run")
    assert result.exit_code == 0
    assert "2 cells, 8 samples" in result.stdout
    assert "before you run it: openai/x needs a key" in result.stderr


def test_what_the_store_has_needs_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finished study is run again, or judged by rules, where the key is not."""
    path, store = study(tmp_path), tmp_path / "store"
    assert run("run", path, "--store", store).exit_code == 0

    def lacks(self: Simulated) -> None:
        raise osm.ModelError(f"{self.label} needs a key")

    monkeypatch.setattr(Simulated, "check_ready", lacks)
    assert run("run", path, "--store", store).exit_code == 0
    assert run("run", path, "--store", store, "--judge", "rules").exit_code == 0
    more = run("run", path, "--store", store, "--limit", "6")
    assert "needs a key" in str(more.exception)


def test_eval_ends_with_the_figure_it_was_asked_for(tmp_path: Path) -> None:
    """It said only how many replies came: a rate took a second command."""
    names = ("--model", "sim/r1-onevision-7b", "--base", "sim/qwen2.5-vl-7b")
    words = ("eval", "canary", *names, "--limit", 8, "--store", tmp_path / "store")
    result = run(*words)
    assert result.exit_code == 0
    rates, tax = result.stdout.split("Reasoning tax: ")
    for column in ("ASR %", "95 % CI", "scored"):
        assert column in rates
    assert "tax" in tax
    steps = [line.strip() for line in result.stderr.split("next: ")[1].splitlines()]
    assert all(step.startswith("safemlrm ") and step.count("safemlrm") == 1 for step in steps)


@pytest.mark.parametrize(
    "words",
    [
        ("report", "store", "--threshold", "3", "--out", "new"),
        ("report", "store", "--model", "nobody", "--out", "new"),
        ("export", "dataset", "store", "new", "--model", "nobody"),
        ("export", "eee", "store", "new", "--threshold", "3"),
        ("attacks", "preview", "nothing", "--out", "new"),
        ("import", "opensafemlrm", "nothing", "--store", "new"),
        ("watch", "nothing.yaml", "--store", "new"),
        ("run", "study.yaml", "--store", "new", "--judge", "policy-rubric"),
    ],
    ids=" ".join,
)
def test_what_is_refused_leaves_no_folder_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """A report at a threshold that no judge has left folders, as if one were there."""
    monkeypatch.chdir(tmp_path)
    assert run("run", study(tmp_path), "--store", "store").exit_code == 0
    assert isinstance(run(*words).exception, SafeMLRMError)
    assert not (tmp_path / "new").exists()


def test_a_judge_without_its_model_is_told_by_what_was_typed(tmp_path: Path) -> None:
    path, store = study(tmp_path), tmp_path / "store"
    told = run("run", path, "--store", store, "--judge", "rules", "--judge", "policy-rubric")
    assert "--judge policy-rubric=PROVIDER/MODEL" in str(told.exception)
    assert "judges.1" not in str(told.exception)
    of_study = run("run", study(tmp_path, judge="policy-rubric"), "--store", store)
    assert "write {judge: policy-rubric, model: …}" in str(of_study.exception)


def test_parts_that_a_judge_does_not_read_are_not_texts_without_a_score(tmp_path: Path) -> None:
    run("run", study(tmp_path), "--store", tmp_path / "store")
    told = run("judges", "apply", "refusal", tmp_path / "store").stderr
    assert "4 replies judged with 0 requests, 8 texts of parts that the judge does not read" in told
    assert "without a score" not in told
