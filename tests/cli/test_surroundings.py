"""Folders, ports, file systems, encodings and certificates that are not as they should be."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme
from filelock import FileLock

from opensafemlrm.cli import main
from tests.cli.conftest import STUDY, Command


@pytest.fixture
def answered(tmp_path: Path, command: Command) -> Path:
    """A store with two samples, as an export asks for some."""
    (tmp_path / "study.yaml").write_text(f"{STUDY}limit: 2\n")
    assert command("run", tmp_path / "study.yaml", "--store", tmp_path / "answered")[0] == 0
    return tmp_path / "answered"


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_an_export_to_a_folder_that_is_not_there(
    ending: str, answered: Path, command: Command
) -> None:
    target = answered / "nowhere" / f"x.{ending}"
    assert command("export", "frame", answered, target) == (
        2,
        f"error: {target}: No such file or directory; check the path, or make the folder first\n",
    )


def test_an_export_to_a_folder(answered: Path, command: Command) -> None:
    (answered / "taken.csv").mkdir()
    code, said = command("export", "frame", answered, answered / "taken.csv")
    assert code == 2
    assert f"{answered / 'taken.csv'}: Is a directory; this is a folder; name a file in it" in said


@pytest.mark.parametrize(
    "arguments",
    [
        ("demo", "--models", "simulated", "--store"),
        ("attacks", "preview", "typo", "--items", "1", "--out"),
    ],
    ids=["demo", "preview"],
)
def test_a_folder_that_cannot_be_made(
    arguments: tuple[str, ...], tmp_path: Path, command: Command
) -> None:
    (tmp_path / "file").write_text("")
    code, said = command(*arguments, tmp_path / "file" / "new")
    assert code == 2
    assert said.splitlines()[-1] == (
        f"error: {tmp_path / 'file' / 'new'}: Not a directory; a part of the path is a file; "
        "name another path"
    )


def test_a_folder_that_may_not_be_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: Command
) -> None:
    """Tests may run as root, whom no permission stops: the system's refusal is played."""

    def refuse(path: Path, **_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    code, said = command("demo", "--models", "simulated", "--store", tmp_path / "new")
    assert code == 2
    assert f"{tmp_path / 'new'}: Permission denied; name a place that you may use" in said


def test_a_port_in_use(command: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, said = command("serve-sim", "--port", str(port))
    assert code == 2
    assert str(port) in said
    assert "in use; name another port with --port (0 takes a free one)" in said
    assert said.count("\n") == 1


def test_a_table_where_the_output_is_not_utf_8() -> None:
    """What an encoding lacks is drawn in ASCII; no table ends in a traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "opensafemlrm", "models", "list"],
        env={**os.environ, "PYTHONIOENCODING": "cp1252"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert "-----" in done.stdout.decode("cp1252")


def test_a_folder_of_other_things_is_no_place_for_results(tmp_path: Path, command: Command) -> None:
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter.tex").write_text("")
    path = tmp_path / "study.yaml"
    path.write_text(STUDY + "limit: 1\n")
    assert command("run", path, "--store", folder) == (
        2,
        f"error: {folder}: this folder holds other files ('chapter.tex') and no store; name a "
        "folder that is new or empty\n",
    )
    assert [each.name for each in folder.iterdir()] == ["chapter.tex"]


def test_a_file_system_without_shared_memory(tmp_path: Path, command: Command) -> None:
    """NFS, GPFS: SQLite cannot make the file that WAL shares (a folder is in its place here)."""
    (tmp_path / "study.yaml").write_text(STUDY + "limit: 1\n")
    store = tmp_path / "store"
    (store / "images").mkdir(parents=True)
    (store / "lock").write_text("")
    (store / "store.sqlite-shm").mkdir()
    assert command("run", tmp_path / "study.yaml", "--store", store)[0] == 0
    assert command("table", "coverage", store)[0] == 0
    with contextlib.closing(sqlite3.connect(store / "store.sqlite")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert connection.execute("SELECT count(*) FROM generations").fetchone() == (1,)


@pytest.mark.parametrize("name", ["locking protocol", "disk I/O error"])
def test_a_store_that_was_carried_to_such_a_file_system_is_read(
    name: str, answered: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = {"locking protocol": sqlite3.SQLITE_PROTOCOL, "disk I/O error": sqlite3.SQLITE_IOERR}

    class Unshared(sqlite3.Connection):
        alone = False

        def execute(self, sql: str, /, *values: Any) -> sqlite3.Cursor:
            self.alone = self.alone or "EXCLUSIVE" in sql
            if not self.alone:
                error = sqlite3.OperationalError(name)
                error.sqlite_errorcode = codes[name]
                raise error
            return super().execute(sql, *values)

    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Unshared))
    assert command("table", "coverage", answered) == (0, "")


def test_a_file_system_without_locks(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(lock: FileLock, **_: object) -> None:
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    (tmp_path / "study.yaml").write_text(STUDY + "limit: 1\n")
    code, said = command("run", tmp_path / "study.yaml", "--store", tmp_path / "store")
    assert code == 2
    assert said.endswith(
        "store: files cannot be locked on this file system; put the store on another, such as a "
        "local disk\n"
    )


def test_a_certificate_that_is_not_trusted(
    tmp_path: Path, command: Command, caplog: pytest.LogCaptureFixture
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    stop = threading.Event()

    def serve(listening: socket.socket) -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError), listening.accept()[0] as raw:
                context.wrap_socket(raw, server_side=True).close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.05)
        thread = threading.Thread(target=serve, args=[listening])
        thread.start()
        url = f"https://127.0.0.1:{listening.getsockname()[1]}/v1"
        (tmp_path / "study.yaml").write_text(
            STUDY.replace("[sim/qwen2.5-vl-7b]", f"[{{model: openai/x, base_url: '{url}'}}]")
            + "limit: 1\n"
        )
        code, said = command("run", tmp_path / "study.yaml", "--store", tmp_path / "store")
        stop.set()
        thread.join()
    gc.collect()
    assert code == 2
    assert "set SSL_CERT_FILE to a file that holds" in said
    assert "Future exception" not in said + caplog.text


def test_a_port_that_no_machine_has(command: Command) -> None:
    code, said = command("serve-sim", "--port", "99999")
    assert code == 2
    assert "--port" in said
    assert "65535" in said


def test_debug_shows_the_traceback_of_the_system(
    monkeypatch: pytest.MonkeyPatch, answered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = str(answered / "nowhere" / "x.csv")
    arguments = ["--debug", "export", "frame", str(answered), target]
    monkeypatch.setattr(sys, "argv", ["safemlrm", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "FileNotFoundError" in capsys.readouterr().err
