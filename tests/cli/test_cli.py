"""The command line, as a newcomer meets it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from opensafemlrm.cli import app, main
from opensafemlrm.errors import StoreError
from opensafemlrm.store import Store

STUDY = """\
models: [sim/r1-onevision-7b, sim/qwen2.5-vl-7b]
pairs: [[sim/r1-onevision-7b, sim/qwen2.5-vl-7b]]
datasets: [canary]
attacks: [direct, typo]
judge: canary
limit: 40
"""


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    return path


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study's store, which tests only read."""
    folder = tmp_path_factory.mktemp("newcomer")
    (folder / "study.yaml").write_text(STUDY)
    assert run("run", folder / "study.yaml", "--store", folder / "store").exit_code == 0
    return folder / "store"


def test_a_dry_run_counts_requests_and_makes_no_store(study: Path, tmp_path: Path) -> None:
    result = run("run", study, "--store", tmp_path / "store", "--dry-run")
    assert "160 replies to generate, and 160 to judge in up to 3 parts" in " ".join(
        result.stdout.split()
    )
    assert not (tmp_path / "store").exists()


def test_a_dry_run_knows_what_the_store_has(study: Path, store: Path) -> None:
    assert "0 replies to generate" in run("run", study, "--store", store, "--dry-run").stdout


def test_the_json_of_asr_has_exactly_the_documented_keys(store: Path) -> None:
    rows = json.loads(run("table", "asr", store, "--format", "json", "--by", "scenario").stdout)
    assert list(rows[0]) == [
        "model",
        "dataset",
        "attack",
        "defense",
        "scenario",
        "part",
        "threshold",
        "n",
        "scored",
        "unsafe",
        "asr",
        "low",
        "high",
        "asr_if_unscored_safe",
        "asr_if_unscored_unsafe",
        "hr",
        "simulated",
    ]
    assert len(rows) == 2 * 2 * 10 * 3 * 2  # models, attacks, scenarios, parts, thresholds
    assert {row["simulated"] for row in rows} == {True}


@pytest.mark.parametrize("to", ["text", "md", "csv", "json", "latex"])
@pytest.mark.parametrize("name", ["asr", "coverage"])
def test_every_table_comes_in_every_format_and_says_simulated(
    store: Path, name: str, to: str
) -> None:
    result = run("table", name, store, "--format", to)
    assert result.exit_code == 0
    assert "simulated" in result.stdout


def test_what_an_attack_could_not_carry_is_in_the_coverage(tmp_path: Path) -> None:
    """An attack that cannot be applied is not silently left out, nor sent bare."""
    study = tmp_path / "study.yaml"
    (tmp_path / "question").mkdir()
    lines = [f"ForbidQI,1,{n},Lanterns,How {n}?,Steps to light it." for n in range(1, 5)]
    header = "dataset,category_id,task_id,category_name,question,instruction"
    (tmp_path / "question" / "safebench.csv").write_text("\n".join([header, *lines]))
    study.write_text(
        f"models: [sim/qwen2.5-vl-7b]\ndatasets: [{{dataset: figstep, root: '{tmp_path}'}}]\n"
        "attacks: [direct, typo]\njudge: refusal\n"
    )
    assert run("run", study, "--store", tmp_path / "store").exit_code == 0
    text = run("table", "coverage", tmp_path / "store").stdout
    assert "What was not sent" in text
    assert "key phrase" in text
    rows = json.loads(run("table", "coverage", tmp_path / "store", "--format", "json").stdout)
    assert [(row["attack"], row["items"]) for row in rows["not_applicable"]] == [("typo", 4)]
    assert {row["attack"] for row in rows["replies"]} == {"direct"}


READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    "parquet": pl.read_parquet,
    "csv": pl.read_csv,
    "jsonl": lambda path: pl.read_ndjson(path, infer_schema_length=None),
}


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_the_exported_table_reads_back(store: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"frame.{kind}"
    run("export", "frame", store, path)
    frame = READERS[kind](path)
    assert len(frame) == 160 * 3
    assert frame["part"].value_counts()["count"].to_list() == [160, 160, 160]


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_exported_replies_have_texts_and_verdicts(store: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"replies.{kind}"
    run("export", "replies", store, path)
    frame = READERS[kind](path)
    assert len(frame) == 160
    verdicts = frame["verdicts"].to_list()
    if kind == "csv":
        verdicts = [json.loads(cell) for cell in verdicts]
    assert all({v["part"] for v in some} == {"reasoning", "answer", "full"} for some in verdicts)
    assert "may be harmful" in run("export", "--help").stdout


def test_an_export_of_before_is_understood_for_one_version(store: Path, tmp_path: Path) -> None:
    result = run("export", "csv", store, tmp_path / "frame.txt")
    assert "the format is the file's ending now" in result.stderr
    assert len(pl.read_csv(tmp_path / "frame.txt")) == 160 * 3


def test_a_mistake_is_a_sentence_and_not_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(STUDY.replace("attacks: [direct", "attacks: [direkt"))
    monkeypatch.setattr(sys, "argv", ["safemlrm", "run", str(bad), "--store", str(tmp_path / "s")])
    with pytest.raises(SystemExit) as ended:
        main()
    errors = capsys.readouterr().err
    assert ended.value.code == 2
    assert errors.startswith("error: ")
    assert (
        "bad.yaml, line 4, attacks.0: there is no attack called 'direkt'; did you mean direct"
        in errors
    )
    assert "Traceback" not in errors


def replies(store: Path) -> int:
    with contextlib.suppress(StoreError), Store.open(store) as opened:
        return int(opened.connection.execute("SELECT count(*) FROM generations").fetchone()[0])
    return 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_so_and_goes_on_later(tmp_path: Path, number: int) -> None:
    study = tmp_path / "slow.yaml"
    study.write_text(
        "models: [{model: sim/r1-onevision-7b, latency: 0.05, concurrency: 2}]\n"
        "datasets: [canary]\njudge: canary\n"
    )
    store = tmp_path / "store"
    command = [sys.executable, "-m", "opensafemlrm", "run", str(study), "--store", str(store)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ)) as run_:
        while not replies(store):
            assert run_.poll() is None
            time.sleep(0.05)
        run_.send_signal(number)
        _, errors = run_.communicate(timeout=30)
    assert run_.returncode == 130, errors
    assert "everything that came is kept" in errors
    assert "Traceback" not in errors
    left = run("run", study, "--store", store, "--dry-run").stdout
    assert "250 samples" in left
    assert "250 replies to generate" not in left


def test_old_spellings_of_options_work_for_one_version_and_say_so(
    study: Path, tmp_path: Path
) -> None:
    result = run("run", study, "--store", tmp_path / "store", "--dry-run", "--skip-bad")
    assert result.exit_code == 0
    assert "--skip-bad is now --skip-invalid" in result.stderr
    assert "160 replies to generate" in result.stdout
    refused = run("run", study, f"--sink={tmp_path}")
    assert "--sink is now --parquet-out" in refused.stderr
    assert "--parquet-out is for runs with --ray" in refused.stderr
