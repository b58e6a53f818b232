"""Looking after a store: faults are found and put right, and nothing is thrown away."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from opensafemlrm import engine, frame
from opensafemlrm.cli import app
from opensafemlrm.errors import StoreError, StoreVersionError
from opensafemlrm.store import DATABASE, Store, schema
from opensafemlrm.store.checking import LINKS, check
from opensafemlrm.store.maintenance import migrate, repair, vacuum
from opensafemlrm.study import parse
from opensafemlrm.types import PARTS

VERSION_1 = Path(__file__).parent / "fixtures/version-1.sql"
STUDY = """\
models: [sim/r1-onevision-7b]
datasets: [canary]
attacks: [direct, figstep]
judge: canary
limit: 20
"""


def bring_up_to_date(path: Path) -> None:
    with Store.open(path, "create") as store:
        asyncio.run(engine.evaluate(engine.Plan.of(parse(STUDY)), store))


def verdicts(path: Path) -> list[tuple[str, ...]]:
    with Store.open(path) as store:
        columns = ("sample", "part", "status", "label", "score", "reason")
        return sorted(frame.read(store).select(columns).iter_rows(), key=repr)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole")
    bring_up_to_date(path)
    return path


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "copy")


@pytest.mark.parametrize("command", ["check", "repair"])
def test_a_name_in_the_list_of_tables_that_is_no_text_is_damage(copy: Path, command: str) -> None:
    """SQLite repeats it in its own words, and these could not be read: a traceback."""
    data = (copy / DATABASE).read_bytes()
    name = b"TABLE calls"
    assert name in data
    (copy / DATABASE).write_bytes(data.replace(name, b"TABLE \xe3alls"))
    if command == "check":
        assert [finding for finding in check(copy) if finding.problem]
    else:
        with pytest.raises(StoreError, match="nothing in this file can be read"):
            repair(copy)


@contextlib.contextmanager
def database(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(path / DATABASE)) as connection, connection:
        yield connection


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


def wrong(path: Path) -> dict[str, int]:
    return {finding.checked: finding.wrong for finding in check(path) if finding.wrong}


FAULTS = {
    "items": ("DELETE FROM items WHERE rowid <= 3", "replies have their item"),
    "replies": ("DELETE FROM generations WHERE rowid <= 4", "judgements have their reply"),
    "verdicts": ("DELETE FROM verdicts WHERE rowid <= 5", "judgements have their verdicts"),
}


@pytest.mark.parametrize(("statement", "checked"), FAULTS.values(), ids=FAULTS)
def test_what_is_lost_is_found_dropped_and_made_again(
    copy: Path, whole: Path, statement: str, checked: str
) -> None:
    """A sample whose item or verdict is gone must not slip out of the figures unseen."""
    with database(copy) as connection:
        connection.execute(statement)
    assert wrong(copy)[checked] >= 2
    shown = call("store", "check", copy, "--format", "csv")
    assert shown.exit_code == 2
    assert "the next run makes them again" in shown.stdout
    assert "safemlrm store repair" in shown.stderr
    mended = call("store", "repair", copy)
    assert mended.exit_code == 0
    assert "kept as store.sqlite.before-repair-" in mended.stderr
    assert wrong(copy) == {}
    bring_up_to_date(copy)
    assert wrong(copy) == {}
    assert verdicts(copy) == verdicts(whole)


@pytest.mark.parametrize("table", ["components", "cells"])
def test_what_only_the_study_knows_is_left_for_the_next_run(
    copy: Path, whole: Path, table: str
) -> None:
    """Replies are dear: they stay, though what they belong to has to be named again."""
    with database(copy) as connection:
        connection.execute(f"DELETE FROM {table}")
    found = [finding for finding in check(copy) if finding.problem]
    assert found
    assert {f.remedy for f in found} == {"run the study again: it writes them anew"}
    assert repair(copy) == []
    bring_up_to_date(copy)
    assert wrong(copy) == {}
    assert verdicts(copy) == verdicts(whole)


def test_lost_and_changed_images_are_found_and_made_again(copy: Path, whole: Path) -> None:
    lost, changed, *_ = sorted((copy / "images").rglob("*.png"))
    lost.unlink()
    changed.write_bytes(changed.read_bytes() + b"more")
    assert wrong(copy) == {"prompts have their images": 2, "image files are unchanged": 1}
    done = {change.what: change.n for change in repair(copy)}
    assert done["dropped: prompts without their images"] == 2
    assert not changed.exists()
    assert wrong(copy) == {}
    assert verdicts(copy) == verdicts(whole)
    with database(copy) as connection:
        connection.execute("DELETE FROM generations")
    bring_up_to_date(copy)
    assert lost.exists()
    assert changed.exists()
    assert wrong(copy) == {}


def test_what_a_killed_run_leaves_is_no_fault_and_is_removed(copy: Path) -> None:
    some = next((copy / "images").rglob("*.png"))
    partial, backup = some.parent / ".part-abc", copy / ".part-def"
    partial.write_bytes(b"half")
    backup.write_bytes(b"half a copy of the database")
    with database(copy) as connection:
        connection.execute("DELETE FROM prompts")
        connection.execute("DELETE FROM images")
    shown = call("store", "check", copy)
    assert shown.exit_code == 0
    assert wrong(copy) == {"image files are used": 20, "no write was cut off": 2}
    repair(copy)
    assert not partial.exists()
    assert not backup.exists()
    assert not some.exists()
    assert wrong(copy) == {}


def test_nothing_is_done_where_nothing_is_wrong(copy: Path) -> None:
    before = (copy / DATABASE).read_bytes()
    assert call("store", "check", copy).exit_code == 0
    assert "nothing to repair" in call("store", "repair", copy).stderr
    assert (copy / DATABASE).read_bytes() == before
    assert sorted(file.name for file in copy.iterdir()) == ["images", "lock", DATABASE]


def test_a_check_as_json_has_one_entry_for_everything_looked_at(copy: Path) -> None:
    entries = json.loads(call("store", "check", copy, "--format", "json").stdout)
    assert len(entries) == len(LINKS) + 2 + 4
    assert set(entries[0]) == {"checked", "wrong", "problem", "example", "remedy"}
    assert not any(entry["problem"] for entry in entries)


def test_vacuum_gives_space_back_and_keeps_every_row(copy: Path, whole: Path) -> None:
    with database(copy) as connection:
        connection.execute("CREATE TABLE filler AS SELECT randomblob(1000000) AS bytes")
    with database(copy) as connection:
        connection.execute("DROP TABLE filler")
    before, after = vacuum(copy)
    assert before - after > 900_000
    assert after == (copy / DATABASE).stat().st_size
    assert verdicts(copy) == verdicts(whole)


@pytest.mark.parametrize("command", ["check", "repair", "vacuum", "migrate"])
def test_no_command_makes_a_store_where_there_is_none(tmp_path: Path, command: str) -> None:
    with pytest.raises(StoreError, match="no store here"):
        call("store", command, tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("command", ["check", "repair", "vacuum", "migrate"])
def test_no_command_touches_a_store_of_a_newer_version(copy: Path, command: str) -> None:
    with database(copy) as connection:
        connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    before = (copy / DATABASE).read_bytes()
    with pytest.raises(StoreVersionError, match="update OpenSafeMLRM"):
        call("store", command, copy)
    assert (copy / DATABASE).read_bytes() == before


class TestMigration:
    @pytest.fixture
    def first(self, tmp_path: Path, whole: Path) -> Path:
        """A store of version 1, as the first release made it, with rows in it."""
        path = tmp_path / "first"
        (path / "images").mkdir(parents=True)
        shutil.copytree(whole / "images", path / "images", dirs_exist_ok=True)
        with contextlib.closing(sqlite3.connect(path / DATABASE)) as connection:
            connection.executescript(VERSION_1.read_text(encoding="utf-8"))
            tables = [
                name
                for (name,) in connection.execute(
                    "SELECT name FROM sqlite_master WHERE type = 'table'"
                )
            ]
            connection.execute("ATTACH ? AS now", (str(whole / DATABASE),))
            for table in tables:
                columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
                names = ", ".join(f'"{column}"' for column in columns)
                connection.execute(f"INSERT INTO {table} SELECT {names} FROM now.{table}")
            connection.commit()
        return path

    def test_a_store_of_version_1_is_brought_to_the_current_one_and_kept(
        self, first: Path, whole: Path
    ) -> None:
        before = (first / DATABASE).read_bytes()
        with pytest.raises(StoreError, match="safemlrm store migrate"):
            Store.open(first)
        assert wrong(first) == {f"the schema is of version {schema.VERSION}": 1}
        found, kept = migrate(first)
        assert (found, kept) == (1, first / f"{DATABASE}.version-1")
        assert verdicts(first) == verdicts(whole)
        assert wrong(first) == {}
        assert tables_of(first / DATABASE) == tables_of(whole / DATABASE)
        with contextlib.closing(sqlite3.connect(first / f"{DATABASE}.version-1")) as copy:
            assert schema.version_of(copy) == 1
            assert copy.execute("SELECT count(*) FROM generations").fetchone() == (40,)
        assert len(before) > 0
        assert migrate(first) == (schema.VERSION, None)

    def test_a_run_migrates_too_and_keeps_a_copy(self, first: Path, whole: Path) -> None:
        bring_up_to_date(first)
        assert verdicts(first) == verdicts(whole)
        assert (first / f"{DATABASE}.version-1").is_file()

    def test_a_migration_that_fails_leaves_the_store_as_it_was(
        self, first: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with database(first) as connection:
            connection.execute("CREATE TABLE labels (in_the_way)")
        with pytest.raises(StoreError, match="cannot be opened"):
            migrate(first)
        with database(first) as connection:
            assert schema.version_of(connection) == 1
            names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        assert "calls" not in names


def tables_of(file: Path) -> dict[str, set[tuple[str, str, int]]]:
    """The name, type and place in the key of every column."""
    with contextlib.closing(sqlite3.connect(file)) as connection:
        query = (
            "SELECT t.name, c.name, c.type, c.pk FROM sqlite_master t, pragma_table_info(t.name) c"
        )
        found: dict[str, set[tuple[str, str, int]]] = {}
        for table, *column in connection.execute(query):
            found.setdefault(table, set()).add(tuple(column))
        return found


def test_every_part_of_a_judgement_is_looked_at() -> None:
    (link,) = [link for link in LINKS if link.checked == "judgements have their verdicts"]
    assert all(str(part) in link.lost for part in PARTS)
