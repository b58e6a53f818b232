"""A disk that is full and a file that another holds: said as such, and never called damage."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import sys
from collections import Counter
from pathlib import Path

import pytest

from opensafemlrm import results
from opensafemlrm.errors import StoreError
from opensafemlrm.store import DATABASE, connecting
from opensafemlrm.store.checking import check
from opensafemlrm.store.maintenance import repair
from tests.chaos.test_disk import in_own_mounts
from tests.store.test_maintenance import bring_up_to_date


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole")
    bring_up_to_date(path)
    return path


def test_a_file_that_another_program_holds_is_not_damaged(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, injected: Counter[str]
) -> None:
    """`repair` told the user to throw a whole store away."""
    path = shutil.copytree(whole, tmp_path / "copy")
    monkeypatch.setattr(connecting, "_WAIT", 0.1)
    before = (path / DATABASE).read_bytes()
    with contextlib.closing(sqlite3.connect(path / DATABASE, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        for ask in (check, repair, lambda store: results.open(store).frame()):
            with pytest.raises(StoreError, match=r"another program holds it.*may be whole"):
                ask(path)
            injected["locks held by another program"] += 1
    assert (path / DATABASE).read_bytes() == before
    assert sorted(file.name for file in path.iterdir() if file.name.startswith(".part")) == []
    assert not [finding for finding in check(path) if finding.problem]


@pytest.mark.slow
def test_a_store_on_a_full_disk_is_read_and_never_called_damaged(
    whole: Path, tmp_path: Path, injected: Counter[str]
) -> None:
    python, disk = f"'{sys.executable}' -m opensafemlrm", tmp_path / "disk"
    disk.mkdir()
    ended = in_own_mounts(
        f"mount -t tmpfs -o size=4m none '{disk}' && cp -r '{whole}' '{disk}/store' && "
        f"{python} table asr '{disk}/store' > '{tmp_path}/before'; "
        f"dd if=/dev/zero of='{disk}/filler' bs=4k 2>/dev/null; "
        f"{python} table asr '{disk}/store' > '{tmp_path}/full'; echo table $?; "
        f"{python} store check '{disk}/store'; echo check $?; "
        f"{python} store repair '{disk}/store'; echo repair $?; "
        f"rm '{disk}/filler'; {python} store check '{disk}/store'; echo after $?"
    )
    assert "table 0" in ended.stdout, ended.stderr
    assert (tmp_path / "full").read_text() == (tmp_path / "before").read_text()
    assert "check 0" in ended.stdout
    assert "after 0" in ended.stdout
    assert "nothing in this file can be read" not in ended.stderr
    assert "Traceback" not in ended.stderr
    injected["disks full under table, check and repair"] += 3
