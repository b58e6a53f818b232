"""SIGKILL between any two steps of a sample: what a resumed run ends with is what one run makes."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from opensafemlrm import engine
from opensafemlrm.store import Store
from opensafemlrm.store.checking import check
from opensafemlrm.study import load
from tests.chaos.killed import POINTS
from tests.chaos.support import rows

ROOT = Path(__file__).parents[2]
STUDY = """\
models: [sim/r1-onevision-7b, {model: sim/qwen2.5-vl-7b, truncated_rate: 0.1, blocked_rate: 0.1}]
datasets: [canary]
attacks: [direct, figstep, typo]
judge: canary
sampling: {repeats: 2}
limit: 25
"""


def run(point: str, number: int, study: Path, store: Path) -> subprocess.CompletedProcess[str]:
    arguments = [point, str(number), str(study), str(store)]
    command = [sys.executable, "-m", "tests.chaos.killed", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, timeout=120, check=False
    )


def killed_at(folder: Path, kills: int, injected: Counter[str]) -> None:
    """Kill a run at ``kills`` seeded moments of every kind, one store each, and resume each."""
    study = folder / "study.yaml"
    study.write_text(STUDY)
    whole = run("none", 0, study, folder / "undisturbed")
    assert whole.returncode == 0, whole.stderr
    passed = json.loads(whole.stdout)
    expected = rows(folder / "undisturbed")
    assert len(expected) == 2 * 3 * 25 * 2 * 3

    random_ = random.Random(20250413)
    for kill in range(kills):
        point = POINTS[kill % len(POINTS)]
        number = random_.randint(1, max(1, passed[point] * 2 // 3))
        store = folder / f"killed-{kill}"
        died = run(point, number, study, store)
        # How many rows share a commit depends on the clock, so a late commit may not come.
        while died.returncode == 0 and number > 1:
            number //= 2
            store = folder / f"killed-{kill}-{number}"
            died = run(point, number, study, store)
        assert died.returncode == -signal.SIGKILL, f"{point} {number}: {died.stderr}"
        injected[f"kills at a {point}"] += 1
        with Store.open(store, "create") as opened:
            asyncio.run(engine.evaluate(engine.Plan.of(load(study)), opened))
        assert rows(store).equals(expected), f"killed at {point} {number}"
        wrong = [f for f in check(store) if f.problem]
        assert not wrong, f"killed at {point} {number}: {wrong}"


@pytest.mark.once
def test_a_run_killed_at_five_moments_equals_an_undisturbed_one(
    tmp_path: Path, injected: Counter[str]
) -> None:
    """A reply without its verdicts, a verdict without its row, half an image: all are mended."""
    killed_at(tmp_path, kills=5, injected=injected)


@pytest.mark.slow
def test_a_run_killed_at_fifty_moments_equals_an_undisturbed_one(
    tmp_path: Path, injected: Counter[str]
) -> None:
    killed_at(tmp_path, kills=50, injected=injected)
