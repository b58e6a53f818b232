"""``safemlrm store`` on a store that is watched: its probes and its state are looked at as well."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from opensafemlrm.errors import StoreError
from opensafemlrm.store.database import Store
from opensafemlrm.watch.state import Batch, State
from tests.audit.stores import safemlrm


@pytest.fixture
def watched(tmp_path: Path) -> Path:
    """A store with a state and two probes."""
    for folder in ("", "watch/probe-1", "watch/probe-2"):
        with Store.open(tmp_path / "s" / folder, "create"):
            pass
    State.load(tmp_path / "s").save(tmp_path / "s")
    return tmp_path / "s"


def test_a_whole_watch_is_whole(watched: Path) -> None:
    result = safemlrm("store", "check", watched, "--format", "json")
    assert result.exit_code == 0, result.output
    json.loads(result.stdout)
    assert "watch/probe-2: " in result.stdout


def test_a_damaged_probe_is_found_and_named(watched: Path) -> None:
    path = watched / "watch/probe-2/store.sqlite"
    data = bytearray(path.read_bytes())
    data[4096:8192] = b"\xff" * 4096
    path.write_bytes(data)
    result = safemlrm("store", "check", watched, "--format", "json")
    assert result.exit_code == 2, result.output
    assert "watch/probe-2: " in result.stdout
    assert "watch/probe-1: " in result.stdout
    repaired = safemlrm("store", "repair", watched)
    assert "watch/probe-2: " in repaired.stderr, repaired.output
    assert "--whole" in repaired.stderr
    assert safemlrm("store", "check", watched).exit_code == 0


def test_a_state_that_is_garbage_is_named_and_left(watched: Path) -> None:
    path = watched / "watch/state.json"
    path.write_text("garbage")
    result = safemlrm("store", "check", watched)
    assert result.exit_code == 2, result.output
    assert "state.json" in result.stdout
    with pytest.raises(StoreError, match=r"state\.json"):
        safemlrm("store", "repair", watched)
    assert path.read_text() == "garbage"


def test_a_link_is_named_and_not_followed(watched: Path, tmp_path: Path) -> None:
    (watched / "watch/probe-2").rename(tmp_path / "other")
    (watched / "watch/probe-2").symlink_to(tmp_path / "other")
    result = safemlrm("store", "check", watched)
    assert result.exit_code == 2, result.output
    assert "watch/probe-2: " not in safemlrm("store", "vacuum", watched).stderr


def test_a_later_format_of_a_probe_is_refused(watched: Path) -> None:
    connection = sqlite3.connect(watched / "watch/probe-1/store.sqlite")
    connection.execute("PRAGMA user_version = 9999")
    connection.close()
    result = safemlrm("store", "check", watched, "--format", "json")
    assert result.exit_code == 2, result.output
    assert "9999" in result.stdout
    with pytest.raises(StoreError, match=r"watch/probe-1: the store has schema version 9999"):
        safemlrm("store", "migrate", watched)


@pytest.mark.parametrize("is_empty", [True, False])
def test_a_probe_whose_store_is_gone_is_named(watched: Path, is_empty: bool) -> None:
    """Its folder was passed over, and the store was called whole."""
    shutil.rmtree(watched / "watch/probe-1")
    state = State.load(watched)
    state.versions[0].batches = [Batch(first=0, count=4, done=True)]
    state.save(watched)
    if is_empty:
        (watched / "watch/probe-1").mkdir()
    result = safemlrm("store", "check", watched, "--format", "json")
    assert result.exit_code == 2, result.output
    (found,) = [row for row in json.loads(result.stdout) if "has its store" in row["checked"]]
    assert found["example"].endswith("watch/probe-1")
    assert "--whole" in found["remedy"]
    with pytest.raises(StoreError, match=r"watch/probe-1: there is no store of the probe here"):
        safemlrm("store", "repair", watched)
