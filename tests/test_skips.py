"""A skip that is not on the list fails a run of ``make test`` (``tests/conftest.py``)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("skip", "part", "status"),
    [
        ("pytest.importorskip('nowhere', reason='nobody knows why')", "base", 1),
        ("pytestmark = pytest.mark.skip('nobody knows why')", "base", 1),
        ("pytestmark = pytest.mark.skip('Ray is not installed')", "base", 0),
        ("pytestmark = pytest.mark.skip('Ray is not installed')", "extras", 1),
    ],
)
def test_only_a_listed_skip_leaves_a_run_green(
    tmp_path: Path, skip: str, part: str, status: int
) -> None:
    tests = f"import pytest\n{skip}\ndef test_skipped(): pass\n"
    (tmp_path / "test_skipped.py").write_text(tests, encoding="utf-8")
    (tmp_path / "test_passed.py").write_text("def test_passed(): pass\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "--part", part]
    done = subprocess.run(
        [*command, "-c", "/dev/null", "--rootdir", tmp_path, tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert ("NOT ALLOWED" in done.stdout) == bool(status)
