"""Stores that another hand has changed: put right, and no command ends in a traceback."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from opensafemlrm.cli import app
from opensafemlrm.errors import SafeMLRMError
from opensafemlrm.store.checking import check
from opensafemlrm.store.maintenance import repair
from tests.store.edits import EDITS, edit
from tests.store.test_maintenance import bring_up_to_date, verdicts

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole")
    bring_up_to_date(path)
    return path


@pytest.fixture(params=EDITS)
def edited(
    request: pytest.FixtureRequest, whole: Path, tmp_path: Path, injected: Counter[str]
) -> Path:
    path = shutil.copytree(whole, tmp_path / "copy")
    edit(path, request.param)
    injected["edits by another hand, and what repair or six commands make of them"] += 1
    return path


def test_every_edit_is_put_right(edited: Path, whole: Path) -> None:
    repair(edited)
    bring_up_to_date(edited)
    left = [finding for finding in check(edited) if finding.problem]
    assert not left, left
    assert verdicts(edited) == verdicts(whole)


def test_no_command_ends_in_a_traceback(edited: Path, tmp_path: Path) -> None:
    """Whatever a store holds, there is a table of it, or a sentence that says what is wrong."""
    commands = [
        ["table", "asr", str(edited)],
        ["table", "coverage", str(edited)],
        ["report", str(edited), "--out", str(tmp_path / "report"), "--with-examples"],
        ["export", "replies", str(edited), str(tmp_path / "replies.csv")],
        ["merge", str(edited), "--store", str(tmp_path / "merged")],
        ["label", str(edited), "--annotator", "ann"],
    ]
    for command in commands:
        ended = CliRunner().invoke(app, command, input="u\ns\nq\n")
        assert ended.exception is None or isinstance(ended.exception, SafeMLRMError | SystemExit), (
            command,
            ended.exc_info,
        )
