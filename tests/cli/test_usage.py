"""Errors of the command line are sentences like all others, and help speaks no Python."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from opensafemlrm.cli import app
from tests.report.page_stores import run_study

STUDY = "models: [sim/r1-onevision-7b]\ndatasets: [canary]\njudge: canary\nlimit: 4\n"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("usage") / "store"
    run_study(path, STUDY)
    return path


def run(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("tabel asr x", "there is no command 'tabel'; did you mean table"),
        ("judges shw", "there is no command 'shw'; did you mean show?"),
        ("table arr x", "NAME: there is no 'arr'; did you mean asr?"),
        ("table asr", "STORE is missing: The store, or a folder of Parquet files."),
        ("table asr x --by modle", "--by: there is no 'modle'; did you mean model"),
        ("table asr x --treshold 3", "there is no option --treshold; did you mean --threshold"),
        ("table asr x --threshold", "--threshold needs a value"),
        ("table asr x --threshold y", "--threshold: this is a number"),
        ("table asr x y", "there is no argument for: y"),
        ("run s.yaml --limit x", "--limit: this is a whole number"),
        ("run s.yaml --limit 0", "--limit: this is 1 at least"),
        ("table asr x --max-unscored 3", "--max-unscored: this is 1 at most"),
        ("run s.yaml", "name the results with --store, or with --ray and --parquet-out"),
    ],
)
def test_mistakes_are_told_in_one_sentence(line: str, said: str) -> None:
    """The mistake: two styles of error, one of them in the words of libraries."""
    code, out, err = run(*line.split())
    assert code == 2
    assert not out
    assert err.startswith(f"error: {said}"), err
    assert err.count("\n") == 1


def every_command(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield (*path, name)
        if hasattr(command, "commands"):
            yield from every_command(command, (*path, name))


def test_help_names_no_type_of_python_and_cuts_no_sentence() -> None:
    for path in every_command(typer.main.get_command(app)):
        shown = run(*path, "-h")[1]
        assert not re.search(r"<[^>]*\b(str|int|float|list|range|Path)\b[^>]*>", shown), path
        assert "{" not in shown.splitlines()[0], path
        assert "..." not in shown.split("Commands:")[-1] or "Commands:" not in shown, path


def documents(text: str) -> Any:
    return json.loads(text)


@pytest.mark.parametrize(
    "line",
    [
        "table asr STORE",
        "table overrefusal STORE",
        "show STORE -n 3",
        "cite STORE",
        "diff STORE STORE",
        "models show qwen2.5-vl-7b",
        "models list",
        "attacks show typo",
        "store check STORE",
        "run STUDY --store STORE",
        "eval canary --model sim/r1-onevision-7b --limit 2 --store NEW",
    ],
)
def test_json_is_one_document_and_jsonl_is_lines(store: Path, tmp_path: Path, line: str) -> None:
    """The mistake: lines under the name of json, or a format that was taken and printed nothing."""
    study = tmp_path / "study.yaml"
    study.write_text(STUDY)
    places = {"STORE": store, "STUDY": study, "NEW": tmp_path / "new"}
    arguments = [str(places.get(word, word)) for word in line.split()]
    assert documents(run(*arguments, "--format", "json")[1])
    lines = run(*arguments, "--format", "jsonl")[1].splitlines()
    assert lines
    assert all(isinstance(documents(one), dict) for one in lines)


def test_a_summary_of_a_run_counts_what_it_says(store: Path, tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(STUDY)
    rows = documents(run("run", study, "--store", tmp_path / "new", "--format", "json")[1])
    assert [(row["samples"], row["made"], row["judged"]) for row in rows] == [(4, 4, 4)]
    again = documents(run("run", study, "--store", tmp_path / "new", "--format", "json")[1])
    assert [(row["stored_replies"], row["made"]) for row in again] == [(4, 0)]
    assert "show prints text, json or jsonl" in run("show", store, "--format", "csv")[2]


def test_an_export_as_json_is_one_list(store: Path, tmp_path: Path) -> None:
    for name in ("frame.json", "frame.jsonl"):
        assert run("export", "frame", store, tmp_path / name)[0] == 0
    lines = (tmp_path / "frame.jsonl").read_text().splitlines()
    assert documents((tmp_path / "frame.json").read_text()) == [json.loads(one) for one in lines]
