"""A command that is killed while it writes: the store is whole, and it can be given again."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from opensafemlrm import engine
from opensafemlrm.store import DATABASE, Store
from opensafemlrm.store.checking import check
from opensafemlrm.store.tables import TABLES
from opensafemlrm.study import parse
from tests.store.test_maintenance import STUDY, bring_up_to_date
from tests.store.test_merge import content
from tests.store.test_older_stores import FIXTURE

KILLS = 6
"""How often each command is killed, at points spread over all that it writes."""


def call(number: int, *command: str) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-m", "tests.chaos.killed_command", str(number), *command]
    keys = "v\nu\nv\ns\nv\nd\n"
    return subprocess.run(
        arguments, input=keys, capture_output=True, text=True, timeout=120, check=False
    )


def of_version_2(path: Path) -> None:
    with zipfile.ZipFile(FIXTURE) as file:
        file.extractall(path)
    with contextlib.closing(sqlite3.connect(path / DATABASE)) as database:
        database.executescript((path / "store.sql").read_text(encoding="utf-8"))


def make(command: str, path: Path) -> None:
    """Make what a command works on in the folder."""
    store = path / "store"
    if command == "migrate":
        of_version_2(store)
        return
    bring_up_to_date(store)
    if command == "merge":
        for name, judge in (("one", "rules"), ("two", "refusal")):
            with Store.open(path / name, "create") as opened:
                study = parse(STUDY.replace("judge: canary", f"judge: {judge}"))
                asyncio.run(engine.evaluate(engine.Plan.of(study), opened))
    with contextlib.closing(sqlite3.connect(store / DATABASE)) as database, database:
        database.execute("CREATE TABLE filler AS SELECT randomblob(500000) AS bytes")
        database.execute("DROP TABLE filler")
        if command == "repair":
            database.execute("DELETE FROM items WHERE rowid <= 3")
            database.execute("UPDATE generations SET text = 'no' WHERE rowid = 9")
            database.execute("CREATE TRIGGER t AFTER INSERT ON runs BEGIN DELETE FROM items; END")


def words(command: str, path: Path) -> list[str]:
    store = str(path / "store")
    if command == "merge":
        return ["merge", str(path / "one"), str(path / "two"), "--store", store]
    if command == "label":
        return ["label", store, "--annotator", "ann", "-n", "3"]
    return ["store", command, store]


def rows(path: Path) -> dict[str, Counter[str]]:
    """All rows, but for when a person labelled, which no two runs share."""
    found = content(path)
    at = list(TABLES["labels"].columns).index("created")
    found["labels"] = [row[:at] for row in found["labels"]]
    return {name: Counter(map(repr, some)) for name, some in found.items()}


@pytest.mark.slow
@pytest.mark.parametrize("command", ["merge", "repair", "vacuum", "label", "migrate"])
def test_a_killed_command_can_be_given_again(
    tmp_path: Path, command: str, injected: Counter[str]
) -> None:
    make(command, tmp_path / "made")
    first = shutil.copytree(tmp_path / "made", tmp_path / "first")
    whole = call(0, *words(command, first))
    assert whole.returncode == 0, whole.stderr
    expected = rows(first / "store")
    writes = int(re.findall(r"wrote (\d+) times", whole.stdout)[0])
    for n in range(min(KILLS, writes)):
        place = shutil.copytree(tmp_path / "made", tmp_path / str(n))
        killed = call(1 + n * (writes - 1) // (KILLS - 1), *words(command, place))
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        injected[f"kills in {command}"] += 1
        if command not in ("repair", "migrate"):
            assert not [one for one in check(place / "store") if one.problem]
        again = call(0, *words(command, place))
        assert again.returncode == 0, again.stderr
        assert not [one for one in check(place / "store") if one.problem]
        if command == "label":
            assert len(content(place / "store")["labels"]) == 3
        else:
            assert rows(place / "store") == expected
