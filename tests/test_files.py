"""A file is written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from opensafemlrm.cli import app
from opensafemlrm.cli._console import messages_of
from opensafemlrm.export import FORMATS, write_frame
from opensafemlrm.files import PARTIAL, make_folder_in, replacing, write_atomic
from opensafemlrm.store import Store


def test_bytes_and_text_take_the_place_of_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("before")
    write_atomic(path, "über")
    assert path.read_text(encoding="utf-8") == "über"
    write_atomic(path, b"\xff")
    assert path.read_bytes() == b"\xff"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("before", ["before", None])
def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, before: str | None) -> None:
    path = tmp_path / "table.csv"
    if before is not None:
        path.write_text(before)

    def fill() -> None:
        with replacing(path) as draft:
            draft.write_text("half")
            assert draft.name.startswith(PARTIAL)
            assert draft.parent == tmp_path
            raise OSError(28, "the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        fill()
    assert [file.read_text() for file in tmp_path.iterdir()] == ([before] if before else [])


def test_a_file_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "table.csv"
    there: list[bool] = []
    monkeypatch.setattr(os, "fsync", lambda _: there.append(path.exists()))
    write_atomic(path, "rows")
    assert there == [False]


def test_a_private_file_is_for_its_owner_and_others_are_as_the_system_has_it(
    tmp_path: Path,
) -> None:
    usual = tmp_path / "usual"
    usual.touch()
    for private, mode in ((True, 0o600), (False, usual.stat().st_mode & 0o777)):
        path = tmp_path / str(private)
        write_atomic(path, "rows", private=private)
        assert path.stat().st_mode & 0o777 == mode


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere" / "file")
    write_atomic(link, "rows")
    assert link.is_symlink()
    assert (tmp_path / "elsewhere" / "file").read_text() == "rows"


def test_what_is_no_file_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_atomic(pipe, "rows")
    assert os.read(reader, 99) == b"rows"
    assert pipe.is_fifo()
    os.close(reader)
    with pytest.raises(IsADirectoryError):
        write_atomic(tmp_path, "rows")


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_table_that_cannot_be_finished_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    """A shorter table looks whole: nobody would know that rows are missing."""
    path = tmp_path / f"frame.{suffix}"
    write_frame(pl.DataFrame({"model": ["a", "b"]}), path)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left.*/frame\."):
        write_frame(pl.DataFrame({"model": ["c"]}), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "table.csv"
    with pytest.raises(FileNotFoundError) as raised:
        write_atomic(path, "rows")
    assert raised.value.filename == str(path)


def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_atomic(path, "old")
    path.chmod(0o644)
    write_atomic(path, "new")
    assert path.stat().st_mode & 0o777 == 0o644


STUDY = """
models: [sim/r1-onevision-7b]
datasets: [canary]
attacks: [typo]
judge: canary
limit: 4
"""


def test_results_are_for_their_owner_alone(tmp_path: Path) -> None:
    """Stores, reports and logs hold harmful text, and everybody on the machine could read them."""
    study, store = tmp_path / "study.yaml", tmp_path / "store"
    study.write_text(STUDY)
    for arguments in (
        ("run", study, "--store", store),
        ("store", "vacuum", store),
        ("merge", store, "--store", tmp_path / "merged"),
        ("report", store, "--out", tmp_path / "report"),
        ("export", "frame", store, tmp_path / "frame.csv"),
        ("attacks", "preview", "typo", "--dataset", "canary", "--out", tmp_path / "sheets"),
    ):
        result = CliRunner().invoke(app, [*map(str, arguments)])
        assert result.exit_code == 0, (arguments, result.output)
    written = [path for path in tmp_path.rglob("*") if path != study]
    assert len(written) > 20
    assert {(path.is_dir(), oct(path.stat().st_mode & 0o777)) for path in written} == {
        (True, "0o700"),
        (False, "0o600"),
    }


def test_a_log_beside_an_open_store_is_for_its_owner_alone(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store", "create") as store:
        store.start_run("study", {})
        modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "store").glob("store*")}
    assert modes == {0o600}


def test_a_pipe_is_written_into() -> None:
    """`/dev/stdout` is a pipe where the next program reads, and lies in no folder."""
    read, write = os.pipe()
    with replacing(Path(f"/dev/fd/{write}")) as draft:
        draft.write_bytes(b"rows")
    assert os.read(read, 10) == b"rows"
    os.close(read)
    os.close(write)


@pytest.mark.parametrize("what", ["dataset", "eee"])
def test_an_export_writes_nothing_through_a_link_in_its_folder(tmp_path: Path, what: str) -> None:
    """A second export deletes the files of the first: behind a link they are somebody's own."""
    store, out, other = (tmp_path / name for name in ("store", "out", "other"))
    model = ("--model", "sim/r1-onevision-7b", "--limit", "2", "--store", str(store))
    assert CliRunner().invoke(app, ["eval", "canary", *model]).exit_code == 0
    out.mkdir()
    other.mkdir()
    for name in ("data", "canary"):
        (out / name).symlink_to(other)
    ended = CliRunner().invoke(app, ["export", what, str(store), str(out)])
    assert ended.exit_code != 0
    assert list(other.iterdir()) == []


def test_a_link_to_write_through_is_refused_with_one_thing_to_do(tmp_path: Path) -> None:
    """It said to name another folder, that a part was a file, and to name another path."""
    (tmp_path / "data").symlink_to(tmp_path)
    with pytest.raises(OSError, match="this is a link") as error:
        make_folder_in(tmp_path, "data")
    (message,) = messages_of(error.value)
    assert message.endswith(
        "this is a link, and what it leads to is another's; name a path without links"
    )


def test_a_study_is_written_beside_files_of_others(tmp_path: Path) -> None:
    """A file that is no text ended in a traceback, and a link led out of the folder."""
    (tmp_path / "study.yaml").write_bytes(b"\xff\xfe")
    (tmp_path / "study-2.yaml").symlink_to(tmp_path / "elsewhere")
    model = ("--model", "sim/r1-onevision-7b", "--limit", "2", "--store", str(tmp_path))
    assert CliRunner().invoke(app, ["eval", "canary", *model]).exit_code == 0
    assert (tmp_path / "study-3.yaml").is_file()
    assert not (tmp_path / "elsewhere").exists()
    (tmp_path / "study.schema.json").write_text("{}")
    ended = CliRunner().invoke(app, ["init", str(tmp_path / "new.yaml"), "--url", "sim"])
    assert ended.exit_code != 0
    assert (tmp_path / "study.schema.json").read_text() == "{}"
