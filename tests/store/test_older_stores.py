"""A store and a sink as commit daaae00 wrote them: migrated, they give the same table and go on.

``fixtures/daaae00.zip`` holds them with the table that the commit read from each: two simulated
models that are a pair, two attacks with and without a defense that asks twice, imported counts,
labels of one person, and a judge's calibration. The texts are harmless.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import shutil
import sqlite3
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from opensafemlrm import engine, frame
from opensafemlrm.attacks.figstep import FigStepAttack
from opensafemlrm.judges.canary import CanaryJudge
from opensafemlrm.store import DATABASE, Store, labels
from opensafemlrm.store.checking import check
from opensafemlrm.store.maintenance import migrate
from opensafemlrm.store.merge import merge
from opensafemlrm.store.source import open_source
from opensafemlrm.study import parse
from opensafemlrm.types import Item, JudgeRequest, Verdict

FIXTURE = Path(__file__).parent / "fixtures/daaae00.zip"
RENAMED = {
    "kind": "expected",
    "code": "error_code",
    "trace": "reasoning_status",
    "lenient": "threshold_lenient",
    "strict": "threshold_strict",
    "calls": "extra_requests",
}
"""Columns of the table that had other names then; so had those that began with ``call_``."""


@dataclasses.dataclass(frozen=True)
class JudgeOfThen(CanaryJudge):
    """The study's judge, which newer rules would make another one; it has no text to judge."""

    def identity(self) -> dict[str, str]:
        return {"name": "canary", "refusal_rules": "1-A", "version": "1-A"}

    async def judge(self, item: Item, requests: Sequence[JudgeRequest]) -> list[Verdict]:
        raise AssertionError(f"{item.id} was judged before")


@dataclasses.dataclass(frozen=True)
class FigStepOfThen(FigStepAttack):
    """The study's second attack, whose newer text makes it another one."""

    version = "1-A"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    with zipfile.ZipFile(FIXTURE) as file:
        file.extractall(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE)) as database:
        database.executescript((tmp_path / "store.sql").read_text(encoding="utf-8"))
    return tmp_path


def recorded(path: Path) -> list[dict[str, Any]]:
    """The rows of a table as it was, without ``base``: pairs are a table of their own now."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [{renamed(n): value for n, value in line.items() if n != "base"} for line in lines]


def of_then(table: pl.DataFrame, then: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a table without the columns that came later."""
    return table.select(list(then[0])).to_dicts()


def renamed(name: str) -> str:
    return RENAMED.get(name, name.replace("call_", "extra_"))


@pytest.fixture
def migrated(old: Path) -> Path:
    assert migrate(old)[0] == 2
    return old


def rows(path: Path) -> list[Any]:
    """All rows, but for how a reply was parsed last, and what the data set was read to hold."""
    with contextlib.closing(sqlite3.connect(path / DATABASE)) as database:
        database.execute("UPDATE generations SET splitter = ''")
        query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name != 'readings'"
        tables = database.execute(query).fetchall()
        return [row for (name,) in tables for row in database.execute(f"SELECT * FROM {name}")]


def run(path: Path) -> None:
    """Bring the store up to date with its study."""
    with Store.open(path, "write") as store:
        study = parse((path / "study.yaml").read_text(encoding="utf-8"))
        attacks = tuple(FigStepOfThen() if a.name == "figstep" else a for a in study.attacks)
        study = dataclasses.replace(study, judges=(JudgeOfThen(),), attacks=attacks)
        plan = engine.Plan.of(study)
        asyncio.run(engine.evaluate(plan, store))


def test_a_store_gives_the_table_that_it_gave(old: Path) -> None:
    then = recorded(old / "frame.jsonl")
    with Store.open(old) as store:
        assert of_then(frame.read(store), then) == then


def test_a_sink_gives_the_table_that_it_gave(old: Path) -> None:
    then = recorded(old / "sink-frame.jsonl")
    with open_source(old / "sink") as sink:
        assert of_then(frame.read(sink), then) == then


def test_a_new_store_has_the_same_tables(migrated: Path, tmp_path: Path) -> None:
    def columns(path: Path) -> list[Any]:
        query = (
            "SELECT t.name, c.name, c.type, c.pk FROM sqlite_master t, pragma_table_info(t.name) c"
        )
        with contextlib.closing(sqlite3.connect(path / DATABASE)) as database:
            return sorted(database.execute(query).fetchall())

    Store.open(tmp_path / "new", "create").close()
    assert columns(migrated) == columns(tmp_path / "new")


def test_its_pairs_are_there(old: Path) -> None:
    pair = ("sim/r1-onevision-7b", "sim/qwen2.5-vl-7b")
    with Store.open(old) as store, open_source(old / "sink") as sink:
        assert pair in frame.pairs(store).rows()
        assert frame.pairs(sink).rows() == [pair]


def test_labels_and_calibration_are_there(old: Path) -> None:
    with Store.open(old) as store:
        assert labels.settled(store)[0]
        assert [label.unsafe for label in labels.labels(store.connection)].count(True) == 1
        kept = frame.calibrations(store)
        assert kept["labels"].n_unique() == 1
        assert set(kept.select("part", "model", "attack").iter_rows()) == {("", "", "")}


def test_a_run_makes_nothing_where_nothing_is_missing(migrated: Path) -> None:
    before = rows(migrated)
    run(migrated)
    assert rows(migrated) == before
    assert not any(finding.problem for finding in check(migrated))


def test_a_run_makes_what_is_missing(migrated: Path) -> None:
    with contextlib.closing(sqlite3.connect(migrated / DATABASE)) as database, database:
        lost = database.execute("SELECT key FROM generations LIMIT 3").fetchall()
        database.executemany("DELETE FROM judgements WHERE generation = ?", lost)
        database.executemany("DELETE FROM generations WHERE key = ?", lost)
    before = rows(migrated)
    run(migrated)
    made = [row for row in rows(migrated) if row not in before]
    assert len(made) == len(lost) * len(("reply", "judgement"))
    then = recorded(migrated / "frame.jsonl")
    with Store.open(migrated) as store:
        assert of_then(frame.read(store), then) == then


def test_a_store_of_before_texts_were_marked_is_read_and_joined(old: Path, tmp_path: Path) -> None:
    """Version 5 had all but the mark of texts that speak to the judge."""
    new = tmp_path / "new"
    with Store.open(new, "create") as store:
        merge([old], store)
    shutil.copytree(new, tmp_path / "five")
    with contextlib.closing(sqlite3.connect(tmp_path / "five" / DATABASE)) as database:
        database.execute("ALTER TABLE verdicts DROP COLUMN speaks_to_judge")
        database.execute("PRAGMA user_version = 5")
    with contextlib.closing(sqlite3.connect(new / DATABASE)) as database, database:
        database.execute("UPDATE verdicts SET speaks_to_judge = score > 3 WHERE score NOT NULL")
    with Store.open(tmp_path / "five") as store:
        assert frame.read(store)["speaks_to_judge"].null_count() == len(frame.read(store))
    orders = []
    for order in (["new", "five"], ["five", "new"]):
        with Store.open(tmp_path / order[0][:1], "create") as store:
            merge([tmp_path / name for name in order], store)
            orders.append(frame.read(store))
    assert orders[0].equals(orders[1])
    assert migrate(tmp_path / "five")[0] == 5
    assert not any(finding.problem for finding in check(tmp_path / "five"))
