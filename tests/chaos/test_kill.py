"""A run that is killed at any moment goes on where it was: nothing is lost, nothing done twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.support import rows

CONCURRENCY = 16


@pytest.fixture
def server() -> Iterator[str]:
    """The simulated models in a process of their own."""
    command = [sys.executable, "-m", "opensafemlrm", "serve-sim", "--port", "0"]
    with subprocess.Popen(
        [*command, "--latency", "0.01"], stderr=subprocess.PIPE, text=True, env=_environment()
    ) as process:
        assert process.stderr is not None
        try:
            line = process.stderr.readline()
            assert "http://" in line, line
            yield line.split("simulated models at ")[1].split(",")[0]
        finally:
            process.terminate()


def write_study(folder: Path, url: str, limit: int, repeats: int) -> Path:
    path = folder / "study.yaml"
    models = [
        f"{{model: openai/simulated-{name}, base_url: '{url}', concurrency: {CONCURRENCY}}}"
        for name in ("r1-onevision-7b", "qwen2.5-vl-7b")
    ]
    judge = f"{{model: openai/simulated-judge, base_url: '{url}'}}"
    path.write_text(
        f"models: [{', '.join(models)}]\n"
        "datasets: [canary]\nattacks: [direct, figstep]\n"
        f"judge: {{judge: policy-rubric, model: {judge}}}\n"
        f"sampling: {{repeats: {repeats}}}\nlimit: {limit}\n"
    )
    return path


def start(study: Path, store: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "opensafemlrm", "run", str(study), "--store", str(store)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=_environment())


def finish(study: Path, store: Path) -> None:
    process = start(study, store)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors


def requests_of(url: str) -> int:
    stats = url.removesuffix("/v1") + "/stats"
    with urllib.request.urlopen(stats) as reply:
        return int(sum(json.load(reply)["requests"].values()))


def killed_and_resumed(
    folder: Path, url: str, injected: Counter[str], *, limit: int, repeats: int, kills: int
) -> None:
    random_ = random.Random(20250413)
    study = write_study(folder, url, limit, repeats)
    finish(study, folder / "undisturbed")
    needed = requests_of(url)

    for _ in range(kills):
        with start(study, folder / "killed") as process:
            time.sleep(random_.uniform(0.7, 2.0))
            process.send_signal(signal.SIGKILL)
        injected["kills at any moment"] += 1
        assert process.returncode == -signal.SIGKILL, "the run ended before it could be killed"
    finish(study, folder / "killed")

    assert rows(folder / "killed").equals(rows(folder / "undisturbed"))
    # Two models and a judge: what is in flight when a run dies is all that is asked again.
    repeated = requests_of(url) - 2 * needed
    assert 0 <= repeated <= kills * 4 * CONCURRENCY


@pytest.mark.once
def test_a_run_killed_three_times_equals_an_undisturbed_one(
    tmp_path: Path, server: str, injected: Counter[str]
) -> None:
    """Resuming repeats or loses items (how published tools go wrong)."""
    killed_and_resumed(tmp_path, server, injected, limit=100, repeats=1, kills=3)


@pytest.mark.slow
def test_a_run_of_2000_samples_killed_ten_times(
    tmp_path: Path, server: str, injected: Counter[str]
) -> None:
    killed_and_resumed(tmp_path, server, injected, limit=250, repeats=2, kills=10)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1"}
