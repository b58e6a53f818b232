"""What a shell completes, asked as a shell asks it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from opensafemlrm import results
from opensafemlrm.models import catalog
from tests.report.page_stores import run_study

STUDY = """\
models: [sim/r1-onevision-7b, sim/qwen2.5-vl-7b]
datasets: [canary]
attacks: [direct, typo]
judge: canary
limit: 4
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "store"
    run_study(path, STUDY)
    return path


def completed(line: str, folder: Path) -> list[str]:
    """Return what is offered at the end of ``line``, and see that nothing heavy is loaded."""
    program = (
        "import sys\n"
        "from opensafemlrm.cli import app\n"
        "try:\n    app(prog_name='safemlrm')\n"
        "finally:\n"
        "    heavy = {'polars', 'numpy', 'opensafemlrm.registry'} & set(sys.modules)\n"
        "    print(*heavy, file=sys.stderr)\n"
    )
    words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env={"_SAFEMLRM_COMPLETE": "complete_bash", **words},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert not done.stderr.strip()
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("safemlrm eval can", "canary"),
        ("safemlrm eval canary --attack ty", "typo"),
        ("safemlrm eval canary --attack typo+mir", "typo+mirror"),
        ("safemlrm eval canary --judge ref", "refusal"),
        ("safemlrm eval canary --model sim/r1", "sim/r1-onevision-7b"),
        ("safemlrm eval canary --base ope", "openai/"),
        ("safemlrm run study.yaml --defense self", "self-reminder"),
        ("safemlrm judges show rul", "rules"),
        ("safemlrm attacks show ty", "typo"),
        ("safemlrm defenses show ec", "ecso"),
        ("safemlrm datasets show figs", "figstep"),
        ("safemlrm table as", "asr"),
        ("safemlrm table asr store --by sc", "scenario"),
    ],
)
def test_names_are_completed(line: str, expected: str, tmp_path: Path) -> None:
    assert expected in completed(line, tmp_path)


@pytest.mark.parametrize("command", ["table asr", "report", "show", "export frame", "drift"])
def test_what_a_store_has_is_completed(store: Path, command: str) -> None:
    """The mistake: names of everything there is, where only a store's can be chosen."""
    line = f"safemlrm {command} {store.name}"
    attacks = completed(f"{line} --attack ", store.parent)
    assert attacks == ["direct", "typo"]


def test_models_and_scenarios_of_a_store_are_completed(store: Path) -> None:
    line = f"safemlrm table asr {store.name}"
    assert completed(f"{line} --model sim/r", store.parent) == ["sim/r1-onevision-7b"]
    scenarios = completed(f"{line} --scenario ", store.parent)
    assert set(scenarios) == set(results.open(store).frame()["scenario"])
    assert not completed("safemlrm table asr nowhere --model ", store.parent)


def test_the_catalogue_is_completed(tmp_path: Path) -> None:
    first = catalog.rows()[0].id
    assert first in completed(f"safemlrm models show {first[:6]}", tmp_path)
