"""Parquet files that changed on their way: a sink's checksums find every bit."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from opensafemlrm import results
from opensafemlrm.cli import app
from opensafemlrm.errors import StoreError
from opensafemlrm.store import Store
from opensafemlrm.store.checking import check
from opensafemlrm.store.merge import merge
from opensafemlrm.store.sink import Sink
from opensafemlrm.store.sink_reader import SinkReader
from opensafemlrm.store.tables import TABLES
from tests.store.test_merge import content, invented

ROOT = Path(__file__).parents[2]


@pytest.fixture
def sink(tmp_path: Path) -> Path:
    for number in range(2):
        invented(tmp_path / f"store {number}", number)
        Sink(tmp_path / "sink").write(content(tmp_path / f"store {number}"), float(number))
    return tmp_path / "sink"


def flip(file: Path, bit: int) -> None:
    data = bytearray(file.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    file.write_bytes(data)


def test_every_flipped_bit_is_found(sink: Path, tmp_path: Path) -> None:
    """A bit in a text is another text, and Parquet has nothing that says so."""
    draw = random.Random(16)
    files = sorted(file for file in sink.rglob("*") if file.is_file())
    for _ in range(40):
        copy = shutil.copytree(sink, tmp_path / "copy", dirs_exist_ok=True)
        file = copy / draw.choice(files).relative_to(sink)
        flip(file, draw.randrange(8 * file.stat().st_size))
        assert any(finding.problem for finding in check(copy)), file
        with pytest.raises(StoreError), Store.open(tmp_path / "merged", "create") as store:
            merge([copy], store)
        with Store.open(tmp_path / "merged") as store:
            (rows,) = store.connection.execute("SELECT count(*) FROM generations").fetchone()
        assert rows == 0


def read_damaged(sink: str, flips: int) -> None:
    """Turn bits of a sink's Parquet files round, one at a time, and read it each time."""
    draw = random.Random(17)
    parts = sorted(Path(sink).rglob("*.parquet"))
    for _ in range(flips):
        file = draw.choice(parts)
        data = file.read_bytes()
        flip(file, draw.randrange(8 * len(data)))
        with pytest.raises(StoreError, match="is not what was written"):
            read_all(sink)
        file.write_bytes(data)


def read_all(sink: str) -> None:
    """Read every table that there is, as tables and merges do."""
    reader = SinkReader(Sink(sink))
    for table in TABLES.values():
        reader.query(table.select(), table.schema())


@pytest.mark.once
def test_polars_never_reads_a_damaged_sink(sink: Path) -> None:
    """It panics on some bits of Parquet, and on some the process is gone: so in one of its own."""
    code = f"from {__name__} import read_damaged; read_damaged({str(sink)!r}, 300)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_sink_can_be_checked_from_the_command_line(sink: Path) -> None:
    ended = CliRunner().invoke(app, ["store", "check", str(sink)])
    assert ended.exit_code == 0, ended.stderr
    flip(next((sink / "verdicts").iterdir()), 99)
    ended = CliRunner().invoke(app, ["store", "check", str(sink), "--format", "csv"])
    assert ended.exit_code != 0
    assert "is not what was written" in ended.stdout


def test_a_sink_without_checksums_is_read_as_before(sink: Path) -> None:
    before = results.open(sink).frame()
    for mark in (sink / "parts").iterdir():
        mark.write_bytes(b"")
    assert results.open(sink).frame().equals(before)
