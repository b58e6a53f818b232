"""Fixtures of the tests of the commands."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from opensafemlrm.cli import main
from opensafemlrm.store import Store

Command = Callable[..., tuple[int, str]]
STUDY = "models: [sim/qwen2.5-vl-7b]\ndatasets: [canary]\njudge: canary\n"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command as a shell would; return its exit code and what it said on stderr."""

    def run(*arguments: str | Path) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["safemlrm", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        return code if isinstance(code, int) else 0, capsys.readouterr().err

    return run


@pytest.fixture
def store(tmp_path: Path) -> Path:
    Store.open(tmp_path / "store", "create").close()
    return tmp_path / "store"
