"""A release in the wrong place, half downloaded, packed, or another thing under its name.

Each is met by whoever sets a data set up for the first time; each is one clear sentence.
"""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest

from opensafemlrm.errors import DatasetError, MissingImageError
from tests.datasets import newer_releases, releases
from tests.datasets.test_loaders import items, read

RELEASES = {
    **{name: w for name, w in releases.WRITERS.items() if name not in {"table", "images"}},
    "mir-safetybench": newer_releases.mir_safetybench_hub,
}
KINDS = {"csv": "xstest", "json": "siuo", "json by id": "mossbench", "parquet": "hades"}
"""A data set of each kind of table."""
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


def table_of(root: Path) -> Path:
    tables = [p for p in root.rglob("*") if p.suffix in {".csv", ".json", ".parquet"}]
    return max(tables, key=lambda path: path.stat().st_size)


def told(name: str, options: releases.Options) -> str:
    """What is said of a folder, or nothing where all of it is read."""
    try:
        rows = read(name, options)
    except DatasetError as error:
        return str(error)
    return next((str(row) for row in rows if isinstance(row, DatasetError)), "")


@pytest.mark.parametrize("name", sorted(RELEASES))
def test_a_folder_a_level_too_high_is_told_which_was_meant(name: str, tmp_path: Path) -> None:
    options = RELEASES[name](tmp_path / "above/release")
    count = len(items(name, options))
    said = told(name, options | {"root": tmp_path / "above"})
    if said:
        meant = Path(said.partition("but ")[2].partition(" holds it: give that folder")[0])
        assert meant.is_relative_to(tmp_path / "above/release")
        assert len(items(name, options | {"root": meant})) == count


@pytest.mark.parametrize("name", sorted(RELEASES))
def test_a_folder_too_deep_is_read_or_told_which_was_meant(name: str, tmp_path: Path) -> None:
    options = RELEASES[name](tmp_path / "release")
    for folder in sorted(path for path in (tmp_path / "release").iterdir() if path.is_dir()):
        said = told(name, options | {"root": folder})
        meant = f"but {tmp_path / 'release'} holds it: give that folder"
        assert not said or meant in said or "or give the folder that holds it" in said


@pytest.mark.parametrize("name", sorted(RELEASES))
def test_an_empty_folder_is_told_where_the_release_is(name: str, tmp_path: Path) -> None:
    options = RELEASES[name](tmp_path / "a/b/c/release")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="get it from https://"):
        read(name, options | {"root": tmp_path / "empty"})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (LFS, "git lfs pull"),
        (b"", "this file is empty: it was not downloaded whole"),
        (b"\n<!DOCTYPE html><html>Sign in</html>", "this is a web page"),
        (gzip.compress(b"id,prompt\n", mtime=0), "packed with gzip"),
        (b"PK\x03\x04 a workbook", "an Excel workbook"),
    ],
)
def test_another_thing_under_a_tables_name_is_called_what_it_is(
    kind: str, content: bytes, words: str, tmp_path: Path
) -> None:
    options = releases.WRITERS[KINDS[kind]](tmp_path)
    table_of(tmp_path).write_bytes(content)
    with pytest.raises(DatasetError, match=words):
        read(KINDS[kind], options)


@pytest.mark.parametrize("kind", ["json", "json by id", "parquet"])
def test_a_table_that_was_cut_short_says_so(kind: str, tmp_path: Path) -> None:
    options = releases.WRITERS[KINDS[kind]](tmp_path)
    table = table_of(tmp_path)
    table.write_bytes(table.read_bytes()[: table.stat().st_size // 2])
    with pytest.raises(DatasetError, match="it was not downloaded whole"):
        read(KINDS[kind], options)


@pytest.mark.parametrize("kind", KINDS)
def test_a_packed_table_says_how_to_unpack_it(kind: str, tmp_path: Path) -> None:
    options = releases.WRITERS[KINDS[kind]](tmp_path)
    table = table_of(tmp_path)
    table.with_name(f"{table.name}.gz").write_bytes(gzip.compress(table.read_bytes()))
    table.unlink()
    with pytest.raises(DatasetError, match=f"gunzip {table.name}.gz"):
        read(KINDS[kind], options)


def test_a_parquet_file_under_another_name_is_called_one(tmp_path: Path) -> None:
    options = releases.siuo(tmp_path)
    releases.put_parquet(tmp_path / "rows.parquet", [{"id": 1}])
    (tmp_path / "rows.parquet").rename(tmp_path / "siuo_gen.json")
    with pytest.raises(DatasetError, match="Parquet file under another name"):
        read("siuo", options)


def test_a_table_that_a_spreadsheet_saved_is_read(tmp_path: Path) -> None:
    """Excel writes a mark in front of UTF-8, and line breaks of its own."""
    options = releases.xstest(tmp_path)
    table = table_of(tmp_path)
    before = list(items("xstest", options).values())
    lines = table.read_text("utf-8").splitlines()
    table.write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*lines, ""]).encode())
    assert list(items("xstest", options).values()) == before


def test_pictures_that_were_never_downloaded_are_told_from_one_that_is_lost(tmp_path: Path) -> None:
    options = releases.siuo(tmp_path)
    (tmp_path / "images/S-01.png").unlink()
    lost, _ = read("siuo", options)
    assert str(lost).endswith("the image is missing")
    shutil.rmtree(tmp_path / "images")
    rows = read("siuo", options)
    assert {type(row) for row in rows} == {MissingImageError}
    assert all("and so is its folder: put the pictures" in str(row) for row in rows)
