"""``safemlrm new``: what it writes works at once, in this project and in a package of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from opensafemlrm import scaffold
from opensafemlrm.cli import app
from opensafemlrm.errors import OptionError
from opensafemlrm.registry import ComponentKind

ROOT = Path(__file__).parents[1]
KINDS = list(ComponentKind)


def run(folder: Path, *command: str) -> str:
    """Run a module of Python in a folder, and return all that it says."""
    path = os.pathsep.join(str(folder / part) for part in ("src", "."))
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this project with a new component of each kind."""
    copy = tmp_path_factory.mktemp("checkout") / "opensafemlrm"
    left_out = shutil.ignore_patterns(".*", "__pycache__", "*.onnx", "*.png", "dist")
    shutil.copytree(ROOT, copy, ignore=left_out)
    for kind in KINDS:
        arguments = ["new", kind.value, f"moon-{kind}", "--root", str(copy)]
        result = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert len(result.stdout.splitlines()) == 4
    return copy


def test_a_new_component_keeps_form_and_lint(checkout: Path) -> None:
    run(checkout, "ruff", "format", "--check", "--no-cache", ".")
    run(checkout, "ruff", "check", "--no-cache", ".")


@pytest.mark.once
def test_a_new_component_passes_its_tests_and_the_contract_of_the_registry(checkout: Path) -> None:
    own = [f"tests/{kind}s/test_moon_{kind}.py" for kind in KINDS]
    assert run(checkout, "pytest", "-n0", *own).count(".") > 20
    run(checkout, "pytest", "-n0", "tests/test_contract.py", "-k", "moon or docs")


@pytest.mark.once
@pytest.mark.parametrize("kind", KINDS)
def test_a_package_of_its_own_passes_its_tests(kind: ComponentKind, tmp_path: Path) -> None:
    command = ["new", kind.value, "moon-lantern", "--plugin", "--root", str(tmp_path)]
    CliRunner().invoke(app, command, catch_exceptions=False)
    folder = tmp_path / "moon-lantern"
    assert f'moon-lantern = "moon_lantern.{kind}:MoonLantern"' in (
        folder / "pyproject.toml"
    ).read_text(encoding="utf-8")
    assert "passed" in run(folder, "pytest", "-q", "-p", "no:cacheprovider", "tests")
    run(folder, "ruff", "check", "--no-cache", "--select", "E,F,I,UP", "--line-length", "100", ".")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Moon", "lower case"),
        ("m" * 21, "at most 20"),
        ("typo", "is taken: another attack has it"),
        ("import", "its file has that word"),
        ("none", "its file has that word"),
        ("item", "its file has that word"),
        ("test-moon", "pytest would take its class"),
        ("json", "Python has a module json"),
        ("opensafemlrm", "Python has a module opensafemlrm"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused(name: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=says):
        scaffold.write_package(ComponentKind.ATTACK, name, tmp_path)


def test_nothing_is_overwritten_and_a_place_that_is_no_checkout_is_refused(tmp_path: Path) -> None:
    scaffold.write_package(ComponentKind.JUDGE, "moon", tmp_path)
    with pytest.raises(OptionError, match="is there already"):
        scaffold.write_package(ComponentKind.JUDGE, "moon", tmp_path)
    with pytest.raises(OptionError, match="no checkout of opensafemlrm"):
        scaffold.write_in_tree(ComponentKind.JUDGE, "moon", tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_contributing_shows_the_examples_as_they_are(kind: ComponentKind) -> None:
    shown = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    source = (ROOT / "src/opensafemlrm/scaffold" / f"{kind}.py").read_text(encoding="utf-8")
    assert f"```python\n{source}```" in shown
