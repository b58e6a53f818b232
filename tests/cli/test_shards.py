"""A study in shards, each a run of its own: merged, they are one run."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

import opensafemlrm as osm
from opensafemlrm import frame
from opensafemlrm.cli import app
from opensafemlrm.store import DATABASE

ROOT = Path(__file__).parents[2]
STUDY = """\
models: [sim/r1-onevision-7b, sim/qwen2.5-vl-7b]
pairs: auto
datasets: [canary]
attacks: [direct, typo]
judge: canary
limit: 60
"""
TIMES = [column for column in frame.SCHEMA if "latency" in column]


def rows(store: Path) -> pl.DataFrame:
    return osm.open(store).frame().drop(TIMES).sort("sample", "judge", "part")


def command(*words: str | Path) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    return path


@pytest.mark.parametrize("stop", ["", "stop: {half_width: 0.3}\n"])
def test_shards_together_are_one_run(study: Path, tmp_path: Path, stop: str) -> None:
    study.write_text(STUDY + stop)
    command("run", study, "--store", tmp_path / "whole")
    stores = [tmp_path / str(number) for number in (1, 2, 3)]
    for number, store in enumerate(stores, 1):
        command("run", study, "--shard", f"{number}/3", "--store", store)
    command("merge", *stores, "--store", tmp_path / "all")
    assert rows(tmp_path / "all").equals(rows(tmp_path / "whole"))
    items = [set(rows(store)["item_key"]) for store in stores]
    assert not items[0] & items[1] | items[1] & items[2] | items[0] & items[2]
    assert stop or min(len(of_shard) for of_shard in items) > 8
    ends = [osm.open(tmp_path / name).stopping() for name in ("all", "whole")]
    assert ends[0].equals(ends[1])


@pytest.mark.once
def test_eight_processes_of_which_three_are_killed_are_one_run(tmp_path: Path) -> None:
    """A killed shard lost or repeated replies, or its store could not be merged."""
    models = "".join(
        f"- {{model: {name}, latency: 0.1, concurrency: 1}}\n"
        for name in ("sim/r1-onevision-7b", "sim/qwen2.5-vl-7b")
    )
    study = tmp_path / "study.yaml"
    study.write_text(
        STUDY.replace("[sim/r1-onevision-7b, sim/qwen2.5-vl-7b]", f"\n{models.rstrip()}")
    )
    stores = {number: tmp_path / f"shard-{number}" for number in range(1, 9)}
    with contextlib.ExitStack() as opened:

        def start(number: int) -> subprocess.Popen[str]:
            return opened.enter_context(shard(study, f"{number}/8", stores[number]))

        running = {number: start(number) for number in stores}
        for number in killed_halfway(running, stores, {2, 5, 8}):
            running[number] = start(number)
        for process in running.values():
            _, errors = process.communicate(timeout=120)
            assert process.returncode == 0, errors
    command("merge", *stores.values(), "--store", tmp_path / "all")
    command("run", study, "--store", tmp_path / "whole")
    whole = rows(tmp_path / "whole")
    assert rows(tmp_path / "all").equals(whole)
    assert len(whole) > 8 * 16


def shard(study: Path, which: str, store: Path) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "opensafemlrm", "run", str(study), "--shard", which]
    return subprocess.Popen(
        [*words, "--store", str(store)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def killed_halfway(
    running: dict[int, subprocess.Popen[str]], stores: dict[int, Path], chosen: set[int]
) -> Iterator[int]:
    """Kill shards, each between its first reply that is kept and its last."""
    left, deadline = set(chosen), time.monotonic() + 150
    while left:
        assert time.monotonic() < deadline
        assert all(running[number].poll() is None for number in left)
        for number in [number for number in left if replies_in(stores[number])]:
            running[number].kill()
            assert running[number].wait(30) == -signal.SIGKILL, "it ended before it was killed"
            left.remove(number)
            yield number
        time.sleep(0.05)


def replies_in(store: Path) -> int:
    if not (store / DATABASE).exists():
        return 0
    with contextlib.closing(sqlite3.connect(store / DATABASE, timeout=30)) as database:
        try:
            return int(database.execute("SELECT count(*) FROM generations").fetchone()[0])
        except sqlite3.OperationalError:  # its tables are still to come
            return 0


def test_a_shard_without_items_is_done(study: Path, tmp_path: Path) -> None:
    """One of many jobs over few items must not fail the whole array."""
    study.write_text(STUDY.replace("limit: 60", "limit: 1"))
    for number in (1, 2, 3):
        command("run", study, "--shard", f"{number}/3", "--store", tmp_path / str(number))


@pytest.mark.parametrize("shard", ["0/3", "4/3", "3", "1/0", "a/b", "-1/3", "1/3/5"])
def test_what_is_no_shard_is_said(study: Path, tmp_path: Path, shard: str) -> None:
    words = ["run", str(study), f"--shard={shard}", "--store", str(tmp_path / "store")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code != 0
    assert isinstance(result.exception, osm.OptionError)
    assert "2/8" in str(result.exception)


@pytest.mark.once
def test_the_array_job_goes_on_after_its_time_is_over(study: Path, tmp_path: Path) -> None:
    """With a scontrol that notes what it is told, as no cluster is here."""
    tools, told = tmp_path / "bin", tmp_path / "told"
    tools.mkdir()
    package = f"PYTHONPATH={ROOT / 'src'} exec {sys.executable} -m opensafemlrm"
    slow = study.with_name("slow.yaml")
    slow.write_text(STUDY.replace("limit: 60", "sampling: {repeats: 40}"))
    for name, text in {
        "safemlrm": f'{package} "$@"',
        "scontrol": f'echo "$@" >> {told}',
    }.items():
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(stat.S_IRWXU)
    variables = {
        **os.environ,
        "PATH": f"{tools}:{os.environ['PATH']}",
        "SLURM_ARRAY_TASK_ID": "2",
        "SLURM_ARRAY_TASK_COUNT": "2",
        "SLURM_ARRAY_JOB_ID": "77",
    }
    script = [str(ROOT / "examples/slurm/run.sbatch"), str(slow), str(tmp_path / "results")]
    store = tmp_path / "results/shard-2"
    with subprocess.Popen(["bash", *script], env=variables, stderr=subprocess.DEVNULL) as job:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (store / "store.sqlite").exists():
            time.sleep(0.2)
        time.sleep(2)
        job.send_signal(signal.SIGTERM)
        assert job.wait(60) == 0
    assert told.read_text() == "requeue 77_2\n"
    replies = rows(store)["sample"].n_unique()
    assert 0 < replies < 10_000  # of some 20,000


@pytest.mark.parametrize(("task", "more"), [("0", ()), ("3", ()), ("9", ("8",))])
def test_an_array_job_of_no_shard_says_how_arrays_are_counted(
    task: str, more: tuple[str, ...], tmp_path: Path
) -> None:
    variables = {**os.environ, "SLURM_ARRAY_TASK_ID": task, "SLURM_ARRAY_TASK_COUNT": "1"}
    script = [str(ROOT / "examples/slurm/run.sbatch"), "study.yaml", str(tmp_path), *more]
    ended = subprocess.run(
        ["bash", *script], env=variables, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert "--array=1-N" in ended.stderr
