"""One bit of a thousand places turned round: found, or harmless, or counted by what it is of."""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from opensafemlrm.errors import StoreError
from opensafemlrm.store import DATABASE
from opensafemlrm.store.checking import check
from opensafemlrm.store.sink import Sink
from opensafemlrm.store.tables import TABLES
from tests.store.test_checksums import flip
from tests.store.test_maintenance import bring_up_to_date
from tests.store.test_merge import content

PLACES = 1000
COVERED = {
    **dict.fromkeys(("components", "cells", "items", "judgements"), "*"),
    "generations": "key cell item repeat seed status text reasoning",
    "readings": "dataset digest items",
    "verdicts": "key judge label",
}
"""Columns that a content key covers, or that can hold few values: no change of one is missed."""
UNCOVERED = {"components": {"label"}}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "store"
    bring_up_to_date(path)
    return path


def cells(path: Path) -> dict[tuple[str, str], Counter[Any]]:
    """The values of every column, wherever they stand; fails where the file is damaged."""
    with contextlib.closing(sqlite3.connect(path / DATABASE)) as database:
        return {
            (name, column): Counter(database.execute(f'SELECT "{column}" FROM {name}'))
            for name, table in TABLES.items()
            if not table.updates
            for column in table.columns
        }


def is_covered(table: str, column: str) -> bool:
    if column in UNCOVERED.get(table, ()):
        return False
    return COVERED.get(table) == "*" or column in COVERED.get(table, "").split()


@pytest.mark.slow
def test_bits_of_a_store(whole: Path, tmp_path: Path, injected: Counter[str]) -> None:
    draw = random.Random(16)
    before, path = cells(whole), shutil.copytree(whole, tmp_path / "copy")
    bits = 8 * (whole / DATABASE).stat().st_size
    for _ in range(PLACES):
        shutil.copy(whole / DATABASE, path / DATABASE)
        flip(path / DATABASE, draw.randrange(bits))
        try:
            problems = [finding for finding in check(path) if finding.problem]
        except StoreError:
            injected["bits of a store: found, it cannot be opened"] += 1
            continue
        if problems:
            by_file = problems[0].checked == "the database file is whole"
            by = "SQLite" if by_file else "the schema, keys and kinds"
            injected[f"bits of a store: found by {by}"] += 1
            continue
        after = cells(path)
        changed = [place for place in before if before[place] != after[place]]
        assert not [place for place in changed if is_covered(*place)]
        kind = " and ".join(f"{table}.{column}" for table, column in changed)
        injected[f"bits of a store: not found, of {kind or 'no value (free space)'}"] += 1


@pytest.mark.slow
def test_bits_of_a_sink(whole: Path, tmp_path: Path, injected: Counter[str]) -> None:
    draw = random.Random(16)
    tables = {name: rows for name, rows in content(whole).items() if rows}
    Sink(tmp_path / "sink").write(tables, 1.0)
    files = sorted(file for file in (tmp_path / "sink").rglob("*") if file.is_file())
    sizes = [file.stat().st_size for file in files]
    for file in draw.choices(files, sizes, k=PLACES):
        data = file.read_bytes()
        flip(file, draw.randrange(8 * len(data)))
        assert [finding for finding in check(tmp_path / "sink") if finding.problem], file
        file.write_bytes(data)
        injected["bits of a sink: found"] += 1
    assert not [finding for finding in check(tmp_path / "sink") if finding.problem]
