"""A disk that is full, read-only or broken, and two runs at once: said clearly, nothing lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from opensafemlrm import engine, files, frame
from opensafemlrm.cli import app
from opensafemlrm.errors import StoreError
from opensafemlrm.store import DATABASE, Store
from opensafemlrm.store.checking import check
from opensafemlrm.store.maintenance import repair
from opensafemlrm.study import parse
from tests.chaos.support import filling_up, rows
from tests.support import Scripted, items, ok, study

STUDY = """\
models: [sim/r1-onevision-7b, sim/qwen2.5-vl-7b]
datasets: [canary]
attacks: [direct, typo]
judge: canary
limit: 40
"""
PAGE = 4096


def bring_up_to_date(path: Path) -> None:
    with Store.open(path, "create") as store:
        asyncio.run(engine.evaluate(engine.Plan.of(parse(STUDY)), store))


def problems(path: Path) -> list[str]:
    return [finding.checked for finding in check(path) if finding.problem]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole")
    bring_up_to_date(path)
    return path


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "copy")


def break_page(path: Path, number: int) -> None:
    with (path / DATABASE).open("r+b") as file:
        file.seek(number * PAGE)
        file.write(b"\xa5" * PAGE)


class TestFull:
    @pytest.mark.once
    def test_a_full_disk_is_said_and_what_was_stored_before_is_kept(self, tmp_path: Path) -> None:
        """Results written only at the end are lost with the disk (how published tools go wrong)."""
        n = 4000
        model = Scripted(lambda prompt, seed: ok("word " * 400))
        plan = engine.Plan.of(study(model, items(n)))
        with Store.open(tmp_path, "create") as store:
            plan.register(store)
            with filling_up(store, pages=1200), pytest.raises(StoreError, match="full"):
                asyncio.run(engine.evaluate(plan, store))
        with Store.open(tmp_path) as store:
            kept = frame.read(store).unique("sample").height
        assert 0 < kept < n
        assert problems(tmp_path) == []

        again = Scripted(model.reply)
        with Store.open(tmp_path, "create") as store:
            asyncio.run(engine.evaluate(engine.Plan.of(study(again, items(n))), store))
        assert len(again.asked) == n - kept
        assert len(model.closed) == 1, "a model was left open"

    def test_a_full_disk_leaves_no_half_image(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(files.os, "fsync", full)  # type: ignore[attr-defined] # its module
            with pytest.raises(StoreError, match=r"image cannot be written.*No space left"):
                bring_up_to_date(tmp_path)
        assert not [file for file in (tmp_path / "images").rglob("*") if file.is_file()]
        bring_up_to_date(tmp_path)
        assert problems(tmp_path) == []

    @pytest.mark.slow
    def test_a_full_file_system_ends_the_command_with_a_sentence(self, tmp_path: Path) -> None:
        (tmp_path / "study.yaml").write_text(STUDY.replace("limit: 40\n", ""))
        (tmp_path / "small").mkdir()
        ended = in_own_mounts(
            f"mount -t tmpfs -o size=600k none '{tmp_path}/small' && "
            f"'{sys.executable}' -m opensafemlrm run '{tmp_path}/study.yaml' "
            f"--store '{tmp_path}/small'"
        )
        assert ended.returncode == 2, ended.stderr
        assert "error: " in ended.stderr
        assert "full" in ended.stderr or "No space left" in ended.stderr
        assert "Traceback" not in ended.stderr


def in_own_mounts(script: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script that mounts what it needs, out of everybody else's sight."""
    unshare = shutil.which("unshare")
    probe = [unshare or "", "--mount", "sh", "-c", "mount -t tmpfs none /mnt"]
    if unshare is None or subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("mounting needs Linux, unshare and root")
    command = [unshare, "--mount", "sh", "-c", script]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


class TestReadOnly:
    def on_read_only_disk(self, store: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command where ``store`` cannot be written."""
        command = [sys.executable, "-m", "opensafemlrm", *arguments]
        if os.geteuid():
            with made_read_only(store):
                return subprocess.run(
                    command, capture_output=True, text=True, timeout=120, check=False
                )
        words = " ".join(f"'{word}'" for word in command)
        return in_own_mounts(f"mount --bind -o ro '{store}' '{store}' && {words}")

    def test_tables_are_the_same_and_a_run_says_why_it_cannot_write(
        self, copy: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "study.yaml").write_text(STUDY)
        expected = CliRunner().invoke(app, ["table", "asr", str(copy)]).stdout
        read = self.on_read_only_disk(copy, "table", "asr", str(copy))
        assert (read.returncode, read.stdout) == (0, expected), read.stderr
        study_file = str(tmp_path / "study.yaml")
        wrote = self.on_read_only_disk(copy, "run", study_file, "--store", str(copy))
        assert wrote.returncode == 2, wrote.stderr
        assert f"error: {copy}: the store cannot be written" in wrote.stderr
        assert "Traceback" not in wrote.stderr

    def test_what_is_only_in_the_log_is_not_left_out(self, copy: Path, tmp_path: Path) -> None:
        """A figure that silently lacks the newest rows is worse than none."""
        with Store.open(copy, "write") as store:
            with store.transaction() as connection:
                connection.execute("DELETE FROM judgements")
            shutil.copytree(copy, tmp_path / "killed")
        expected = CliRunner().invoke(app, ["table", "coverage", str(copy)]).stdout
        read = self.on_read_only_disk(
            tmp_path / "killed", "table", "coverage", str(tmp_path / "killed")
        )
        assert read.stdout == expected or read.returncode == 2
        assert "Traceback" not in read.stderr


@contextlib.contextmanager
def made_read_only(folder: Path) -> Iterator[None]:
    modes = {path: path.stat().st_mode for path in (folder, *folder.rglob("*"))}
    for path, mode in modes.items():
        path.chmod(mode & ~0o222)
    yield
    for path, mode in modes.items():
        path.chmod(mode)


class TestTwoAtOnce:
    def test_a_second_run_is_turned_away_and_the_first_is_not_hurt(
        self, copy: Path, tmp_path: Path, whole: Path
    ) -> None:
        (tmp_path / "study.yaml").write_text(STUDY)
        command = ["run", str(tmp_path / "study.yaml"), "--store", str(copy)]
        with Store.open(copy, "write"):
            second = subprocess.run(
                [sys.executable, "-m", "opensafemlrm", *command],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        assert second.returncode == 2
        assert "another run is writing to this store" in second.stderr
        assert rows(copy).equals(rows(whole))

    @pytest.mark.parametrize("command", ["repair", "vacuum", "migrate"])
    def test_nothing_is_repaired_under_a_run(self, copy: Path, command: str) -> None:
        with Store.open(copy, "write"), pytest.raises(StoreError, match="another run is writing"):
            call("store", command, copy)

    def test_a_store_can_be_checked_and_read_while_a_run_writes(self, copy: Path) -> None:
        with Store.open(copy, "write"):
            assert call("store", "check", copy).exit_code == 0
            assert call("table", "asr", copy).exit_code == 0


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


def pages_of_an_empty_store(folder: Path) -> int:
    """They come first, and hold the list and the roots of the tables; all others hold rows."""
    Store.open(folder / "empty", "create").close()
    return (folder / "empty" / DATABASE).stat().st_size // PAGE


class TestDamaged:
    @pytest.mark.parametrize("where", [0.2, 0.5, 0.9])
    def test_a_run_on_a_damaged_file_says_what_to_do(
        self, copy: Path, where: float, tmp_path: Path
    ) -> None:
        """Whatever page is hit, it ends in figures that are right, or in a sentence."""
        pages = (copy / DATABASE).stat().st_size // PAGE
        break_page(copy, int(pages * where))
        assert problems(copy) == ["the database file is whole"]
        said = []
        try:
            bring_up_to_date(copy)
        except StoreError as error:
            said.append(str(error))
        assert all("safemlrm store check" in message for message in said)

    def test_what_can_be_read_is_recovered_and_the_rest_is_made_again(
        self, copy: Path, whole: Path, tmp_path: Path
    ) -> None:
        pages = (copy / DATABASE).stat().st_size // PAGE
        for number in range(pages_of_an_empty_store(tmp_path), pages, 9):
            break_page(copy, number)
        damaged = (copy / DATABASE).read_bytes()
        done = {change.what: change.n for change in repair(copy)}
        assert problems(copy) == []
        kept = done["rows read from generations"]
        assert 0 < kept < 160
        (aside,) = copy.glob(f"{DATABASE}.damaged-*")
        assert aside.read_bytes() == damaged
        bring_up_to_date(copy)
        assert rows(copy).equals(rows(whole))

    def test_any_single_page_may_be_lost(
        self, whole: Path, tmp_path: Path, injected: Counter[str]
    ) -> None:
        """But for the few of the list of tables: then nothing is touched, and that is said."""
        first = pages_of_an_empty_store(tmp_path)
        pages = (whole / DATABASE).stat().st_size // PAGE
        for number in range(first, pages, (pages - first) // 5):
            path = shutil.copytree(whole, tmp_path / str(number))
            break_page(path, number)
            injected["pages of a database lost"] += 1
            repair(path)
            bring_up_to_date(path)
            assert problems(path) == [], number
            assert rows(path).equals(rows(whole)), number

    @pytest.mark.slow
    def test_every_single_page_is_recovered_or_left_alone(
        self, whole: Path, tmp_path: Path, injected: Counter[str]
    ) -> None:
        refused = 0
        for number in range((whole / DATABASE).stat().st_size // PAGE):
            path = shutil.copytree(whole, tmp_path / str(number))
            break_page(path, number)
            injected["pages of a database lost"] += 1
            before = (path / DATABASE).read_bytes()
            try:
                repair(path)
            except StoreError:
                refused += 1
                assert (path / DATABASE).read_bytes() == before
                continue
            bring_up_to_date(path)
            assert rows(path).equals(rows(whole)), number
        assert refused <= 4

    def test_a_file_of_which_nothing_is_left_is_not_replaced_by_an_empty_one(
        self, copy: Path
    ) -> None:
        break_page(copy, 0)
        before = (copy / DATABASE).read_bytes()
        with pytest.raises(StoreError, match="nothing in this file can be read"):
            repair(copy)
        assert (copy / DATABASE).read_bytes() == before

    def test_a_row_whose_bytes_changed_is_not_taken_for_a_reply(self, copy: Path) -> None:
        with contextlib.closing(sqlite3.connect(copy / DATABASE)) as connection, connection:
            connection.execute("UPDATE generations SET status = 'k' WHERE rowid = 5")
            connection.execute("UPDATE generations SET item = x'00' WHERE rowid = 6")
        pages = (copy / DATABASE).stat().st_size // PAGE
        break_page(copy, pages - 1)
        done = {change.what: change.n for change in repair(copy)}
        assert done["places in generations that cannot be read"] >= 2
        assert problems(copy) == []
