"""A check goes through every column of every table: a value that cannot be in it is found."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opensafemlrm import engine
from opensafemlrm.store import DATABASE, Store
from opensafemlrm.store.checking import check
from opensafemlrm.store.labels import PersonLabel, put_calibrations, put_labels
from opensafemlrm.store.maintenance import repair
from opensafemlrm.store.series import series
from opensafemlrm.store.tables import TABLES
from opensafemlrm.study import parse
from opensafemlrm.types import Part

STUDY = """\
models: [sim/r1-onevision-7b, sim/qwen2.5-vl-7b]
pairs: [[sim/r1-onevision-7b, sim/qwen2.5-vl-7b]]
datasets: [canary]
attacks: [direct, figstep]
judge: canary
limit: 8
series:
  - name: training
    versions:
      - {model: sim/qwen2.5-vl-7b, step: 0}
      - {model: sim/r1-onevision-7b, step: 150}
"""
ELSEWHERE = bytes(range(16))
"""A key that no row has."""
BAD: dict[str, tuple[Any, ...]] = {
    "text": (b"x",),
    "name": (b"x", "", "a\0b"),
    "date": (b"x", "2026-02-30", "soon", "2026-1-1"),
    "json": (b"x", "{"),
    "int": ("many", 0.5),
    "count": ("many", -5),
    "flag": ("yes", 2, -1),
    "real": ("many", 9e999),
    "amount": ("much", 9e999, -0.5),
    "time": ("today", 9e999, -1.0, 9e12),
    "key": ("x", b"", b"\0", bytes(17)),
    "keys": ("x", b"\0", bytes(16)),
}
"""What cannot be in a column, by the word that its table's spec has for it."""
NOT_FOUND = {
    "any other text, where a column holds words of its own": "text",
    "any other number of a column without bounds, as a score on its judge's scale": "real",
    "any other whole number from zero up, where no key covers it": "count",
}
"""What a check cannot find, with a word of such columns: each is a value that might have been."""
EMPTY_KEYS = {("stops", "base"), ("calibrations", "model"), ("calibrations", "attack")}
"""Columns of which the empty key stands for all there are."""


def run(path: Path, study: str = STUDY) -> None:
    with Store.open(path, "create") as store:
        asyncio.run(engine.evaluate(engine.Plan.of(parse(study)), store))


@contextlib.contextmanager
def database(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(path / DATABASE)) as connection, connection:
        yield connection


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store with rows in every table, all of which a check calls whole."""
    path = tmp_path_factory.mktemp("whole")
    run(path)
    with Store.open(path, "write") as store:
        rows = store.connection
        ((cell, base),) = rows.execute("SELECT min(key), max(key) FROM cells")
        ((judge,),) = rows.execute("SELECT key FROM components WHERE kind = 'judge'")
        ((reply, item),) = rows.execute("SELECT key, item FROM generations LIMIT 1")
        put_labels(store, [PersonLabel(reply, Part.ANSWER, "ann", unsafe=True)])
        put_calibrations(store, judge, "by ann", [("answer", b"", b"", "", 0.5, 1, 0, 1, 0, 0)])
        store.put_counts(cell, judge, "elsewhere", [("answer", 1.0, 3)])
        store.end_run(store.start_run("s", {}))
        store.put(
            [
                ("inapplicable", (cell, item, "no picture")),
                ("stops", (cell, base, judge, "s", "{}", "yes", 9, 4, 0.1, 0.2, 1.0)),
            ]
        )
        response = rows.execute("SELECT * FROM generations LIMIT 1").fetchone()[5:-3]
        store.put([("calls", (reply, 0, "search", "[]", 0.5, *response))])
    assert not problems(path)
    return path


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "copy")


def problems(path: Path) -> list[str]:
    return [finding.checked for finding in check(path) if finding.problem]


def columns() -> Iterator[tuple[str, str]]:
    for name, table in TABLES.items():
        if not table.updates:
            yield from ((name, column) for column in table.columns)


def bad_values(name: str, column: str) -> list[Any]:
    """Return values that cannot be in a column, for each what tables say of it."""
    word = next(
        word.rstrip("?-").partition(":")[2] or "text"
        for word in TABLES[name].spec.split()
        if word.partition(":")[0].rstrip("?") == column
    )
    bad = list(BAD.get(word, (*BAD["key"], ELSEWHERE)))
    if (name, column) in EMPTY_KEYS:
        bad.remove(b"")
    return bad


@pytest.mark.parametrize("name", dict.fromkeys(name for name, _ in columns()))
def test_what_cannot_be_in_a_column_is_found(copy: Path, name: str) -> None:
    """Of series, pairs and readings only the types were looked at, and the store called whole."""
    missed = []
    untouched = (copy / DATABASE).read_bytes()
    for column in TABLES[name].columns:
        for value in bad_values(name, column):
            with database(copy) as connection:
                at = ", ".join(f'"{key}"' for key in TABLES[name].key)
                first = f"SELECT {at} FROM {name} LIMIT 1"
                statement = f'UPDATE {name} SET "{column}" = ? WHERE ({at}) IS ({first})'
                assert connection.execute(statement, (value,)).rowcount >= 1
            if not problems(copy):
                missed.append((column, value))
            (copy / DATABASE).write_bytes(untouched)
    assert missed == []


def test_what_no_check_can_find_is_what_might_have_been(copy: Path) -> None:
    """The list in docs/reliability.md is as short as it can be: each of it goes unseen."""
    unseen = {
        "text": "UPDATE verdicts SET rationale = 'because' WHERE rowid = 3",
        "real": "UPDATE calibrations SET threshold = 0.25",
        "count": "UPDATE generations SET output_tokens = 7 WHERE rowid = 3",
    }
    assert set(unseen) == set(NOT_FOUND.values())
    with database(copy) as connection:
        for statement in unseen.values():
            assert connection.execute(statement).rowcount == 1
    assert problems(copy) == []


A_MODEL = "(SELECT min(key) FROM components WHERE kind = 'model')"
A_JUDGE = "(SELECT key FROM components WHERE kind = 'judge')"
IMPOSSIBLE = {
    "a place twice": "UPDATE series SET place = 1",
    "step and date": "UPDATE series SET date = '2026-01-0' || (place + 1)",
    "step beside none": "UPDATE series SET step = NULL WHERE place = 0",
    "steps backwards": "UPDATE series SET step = 200 WHERE place = 0",
    "a version that is no model": f"UPDATE series SET model = {A_JUDGE} WHERE place = 0",
    "its own base": "UPDATE pairs SET base = reasoner",
    "both ways round": "INSERT INTO pairs SELECT base, reasoner FROM pairs",
    "a base that is no model": f"UPDATE pairs SET base = {A_JUDGE}",
    "a reading of a model": f"UPDATE readings SET dataset = {A_MODEL}",
}
"""What no study could declare, though each value by itself might be."""


@pytest.mark.parametrize("statement", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_what_no_study_could_declare_is_found_and_made_again(copy: Path, statement: str) -> None:
    with database(copy) as connection:
        before = {t: {*connection.execute(f"SELECT * FROM {t}")} for t in ("series", "pairs")}
        connection.execute(statement)
    assert problems(copy)
    repair(copy)
    assert problems(copy) == []
    run(copy)
    with database(copy) as connection:
        assert {t: {*connection.execute(f"SELECT * FROM {t}")} for t in before} == before


def test_what_people_made_outlives_a_repair(copy: Path) -> None:
    """Nothing makes a label or a calibration again, whatever it says."""
    kept = ("labels", "calibrations", "counts", "stops")
    with database(copy) as connection:
        connection.execute("UPDATE labels SET labeller = ''")
        connection.execute("UPDATE calibrations SET unscored = -1, judge = ?", (ELSEWHERE,))
        connection.execute("UPDATE counts SET n = -1, cell = ?", (ELSEWHERE,))
        connection.execute("UPDATE stops SET drawn = -1")
        before = [connection.execute(f"SELECT * FROM {table}").fetchall() for table in kept]
    assert len(problems(copy)) >= len(kept)
    repair(copy)
    with database(copy) as connection:
        assert before == [connection.execute(f"SELECT * FROM {t}").fetchall() for t in kept]


def test_a_study_that_changes_its_series_and_pairs_leaves_nothing_impossible(copy: Path) -> None:
    """A version of another run kept its place beside the one that came in, as did a pair's base."""
    run(copy, STUDY.replace("sim/qwen2.5-vl-7b", "sim/mulberry-qwen2vl-7b").replace("150", "75"))
    with Store.open(copy) as store:
        assert series(store).select("model", "step").rows() == [
            ("sim/qwen2.5-vl-7b", 0.0),
            ("sim/mulberry-qwen2vl-7b", 0.0),
            ("sim/r1-onevision-7b", 75.0),
        ]
    pair = "[[sim/r1-onevision-7b, sim/qwen2.5-vl-7b]]"
    run(copy, STUDY.replace(pair, "[[sim/qwen2.5-vl-7b, sim/r1-onevision-7b]]"))
    assert problems(copy) == []
