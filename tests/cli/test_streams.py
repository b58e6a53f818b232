"""Standard output that is closed, full, cut short or of another encoding ends in no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from opensafemlrm.cli import app

pytestmark = pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="mounting needs Linux, unshare and root"
)
STUDY = "models: [sim/r1-onevision-7b]\ndatasets: [canary]\njudge: canary\nlimit: 3\n"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("streams")
    (folder / "study.yaml").write_text(STUDY)
    ended = CliRunner().invoke(
        app, ["run", str(folder / "study.yaml"), "--store", str(folder / "store")]
    )
    assert ended.exit_code == 0, ended.output
    return folder / "store"


@pytest.mark.parametrize(
    ("line", "codes"),
    [
        ("{safemlrm} table asr {store} >&-", {0}),
        ("{safemlrm} table asr {store} > /dev/full", {2}),
        ("PYTHONIOENCODING=latin-1 {safemlrm} table asr {store}", {0}),
        ("{safemlrm} table asr {store} | true; exit ${{PIPESTATUS[0]}}", {0, 1}),
        ("{safemlrm} export replies {store} /dev/stdout --format csv | true", {0}),
        ("{safemlrm} export replies {store} /dev/full --format csv", {2}),
    ],
)
def test_no_traceback(store: Path, line: str, codes: set[int]) -> None:
    """A closed output was an AttributeError, and `| head` a traceback of BrokenPipeError."""
    command = line.format(safemlrm=f"{sys.executable} -m opensafemlrm", store=store)
    done = subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        check=False,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert done.returncode in codes, done.stderr
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr
    assert done.returncode != 2 or done.stderr.startswith(b"error: ")
