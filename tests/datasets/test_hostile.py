"""Hostile input: pictures, tables and bytes that want something else than to be evaluated."""

from __future__ import annotations

import json
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage

from opensafemlrm.datasets import files
from opensafemlrm.datasets.audit import audit
from opensafemlrm.errors import DatasetError, ImageError, SafeMLRMError
from opensafemlrm.registry import ComponentKind, build
from opensafemlrm.types import Item
from tests.datasets import releases


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_of(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG that states a size, whatever it holds."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def animated() -> bytes:
    frames_, buffer = [PILImage.new("RGB", (4, 4), c) for c in ("red", "blue")], BytesIO()
    frames_[0].save(buffer, "GIF", save_all=True, append_images=frames_[1:], duration=50)
    return buffer.getvalue()


def noise() -> bytes:
    return releases.png(size=(40, 40))


HOSTILE = [
    ("100 megapixels", png_of(10_000, 10_000), "pixels are too many"),
    ("a decompression bomb", png_of(60_000, 60_000, bytes(1_000)), "decompression bomb"),
    ("pixels that end early", png_of(400, 400, bytes(100)), "decoded"),
    ("animated", animated(), "animated"),
    ("truncated", noise()[:-20], ""),
    ("empty", b"", "empty"),
    ("a page", b"<html><script>", "not a PNG, JPEG, WebP or GIF"),
    ("a vector image", b'<svg xmlns="http://www.w3.org/2000/svg"/>', "not a PNG"),
]


@pytest.mark.parametrize(("content", "reason"), [row[1:] for row in HOSTILE], ids=lambda _: "")
def test_a_hostile_picture_is_refused_by_file_and_row(
    content: bytes, reason: str, tmp_path: Path
) -> None:
    options = releases.siuo(tmp_path)
    releases.put(tmp_path / "images/S-01.png", content)
    found = audit(build(ComponentKind.DATASET, "siuo", options))
    assert sum(one.broken_images for one in found.scenarios) == 1
    assert found.found == 1
    assert reason in found.notes[0]
    assert "siuo_gen.json: row 1" in found.notes[0]


@pytest.mark.parametrize(("content", "reason"), [row[1:] for row in HOSTILE], ids=lambda _: "")
def test_the_same_picture_inside_a_parquet_file_is_refused(
    content: bytes, reason: str, tmp_path: Path
) -> None:
    options = releases.hades(tmp_path, steps=1) | {"step": 0}
    table = tmp_path / "data/test-00000-of-00001.parquet"
    rows = pl.read_parquet(table).to_dicts()
    rows[0]["image"] = {"bytes": content, "path": None}
    releases.put_parquet(table, rows)
    found = audit(build(ComponentKind.DATASET, "hades", options))
    one = found.scenarios[0]
    assert one.broken_images + one.missing_images == 1
    assert found.found == 3
    assert "test-00000-of-00001.parquet: row 1" in found.notes[0]
    assert reason in found.notes[0] or content == b""


@pytest.mark.parametrize(
    "name", ["../outside.png", "/etc/hostname", "link.png", "folder/outside.png", "a\0b.png"]
)
def test_a_name_or_a_link_that_leads_out_is_refused(name: str, tmp_path: Path) -> None:
    options = releases.jailbreakv(tmp_path / "release")
    folder = tmp_path / "release/JailBreakV_28K"
    outside = releases.put(tmp_path / "release/outside/outside.png", releases.png())
    releases.put(tmp_path / "outside.png", releases.png())
    (folder / "link.png").symlink_to(tmp_path / "outside.png")
    (folder / "folder").symlink_to(tmp_path)
    table = folder / "JailBreakV_28K.csv"
    rows = pl.read_csv(table).to_dicts()
    rows[0]["image_path"] = "../../outside.png" if name == "../outside.png" else name
    releases.put_csv(table, rows)
    bad, good = list(build(ComponentKind.DATASET, "jailbreakv-28k", options).rows())
    assert isinstance(bad, ImageError)
    assert "JailBreakV_28K.csv: row 2" in str(bad)
    assert "outside" in str(bad) or "cannot be read" in str(bad)
    assert isinstance(good, Item)
    assert outside.exists()


@pytest.mark.parametrize("column", ["id", "policy"])
@pytest.mark.parametrize("formula", ["=cmd|' /C calc'!A0", "+1", "@SUM(1)", "-1+1"])
def test_a_name_that_a_spreadsheet_would_run_is_refused(
    column: str, formula: str, tmp_path: Path
) -> None:
    """Ids and scenarios go into exported tables as they are."""
    options = releases.jailbreakv(tmp_path)
    table = tmp_path / "JailBreakV_28K/JailBreakV_28K.csv"
    rows = pl.read_csv(table, infer_schema=False).to_dicts()
    rows[0][column] = formula
    releases.put_csv(table, rows)
    bad, good = list(build(ComponentKind.DATASET, "jailbreakv-28k", options).rows())
    assert isinstance(bad, DatasetError)
    assert "formula" in str(bad)
    assert isinstance(good, Item)


def test_a_line_of_json_that_never_ends_is_refused_and_reading_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_LINE_BYTES", 200)
    path = releases.put(tmp_path / "a.jsonl", '{"a": "' + "b" * 500 + '"}\n{"a": 1}\n[1]\n\n{"a')
    rows = list(files.jsonl_rows(path, "nowhere"))
    assert [row[0] if isinstance(row, tuple) else row.row for row in rows] == [1, 2, 3, 5]
    assert rows[1] == (2, {"a": 1})
    assert "longer than 200 bytes" in str(rows[0])


def test_a_deeply_nested_line_is_refused(tmp_path: Path) -> None:
    path = releases.put(tmp_path / "a.jsonl", "[" * 100_000 + "\n")
    (bad,) = files.jsonl_rows(path, "nowhere")
    assert isinstance(bad, DatasetError)


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    """The second would silently have taken the place of the first."""
    path = releases.put(tmp_path / "a.csv", "id,question,question\n1,a,b\n")
    with pytest.raises(DatasetError, match="same name"):
        list(files.csv_rows(path, ("id",), "nowhere"))


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        rows = [
            {
                "id": number,
                "jailbreak_query": "lantern " * 50,
                "redteam_query": "How is it lit?",
                "policy": "Fraud",
                "image_path": "a.png",
            }
            for number in range(count)
        ]
        root = tmp_path / str(count)
        releases.put_csv(root / "JailBreakV_28K.csv", rows)
        releases.put(root / "a.png", releases.png())
        dataset = build(ComponentKind.DATASET, "jailbreakv-28k", {"root": root})
        tracemalloc.start()
        assert sum(1 for _ in dataset.rows()) == count
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(10)
    small, large = peak(50), peak(800)
    # What grows is the table of ids that finds duplicates: some 200 bytes a row, of 1,000 and more.
    assert large - small < 750 * 300


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
CHANGES = st.dictionaries(
    st.sampled_from(
        ["id", "image", "question", "question_id", "category", "metadata", "safe", "instr-resp"]
    ),
    JSON,
    max_size=4,
)
Writer = Callable[[Path], releases.Options]


@pytest.mark.parametrize(
    ("name", "file"),
    [("siuo", "siuo_gen.json"), ("vlguard", "test.json"), ("holisafe", "holisafe_bench.json")],
)
@given(changes=st.lists(CHANGES, min_size=1, max_size=2))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_row_gives_items_or_errors_of_ours(
    name: str, file: str, changes: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("release")
    options = releases.WRITERS[name](root)
    rows = json.loads((root / file).read_text())
    for row, change in zip(rows, changes, strict=False):
        row.update(change)
    releases.put_json(root / file, rows)
    found = list(build(ComponentKind.DATASET, name, options).rows())
    assert all(isinstance(row, Item | DatasetError) for row in found)
    assert len(found) >= len(rows) - len(changes)


@given(st.binary(max_size=300))
@settings(max_examples=60, deadline=None)
def test_any_bytes_in_the_place_of_a_picture(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    root = tmp_path_factory.mktemp("release")
    options = releases.siuo(root)
    whole = releases.png(size=(16, 16))
    for spoilt in (content, b"\x89PNG\r\n\x1a\n" + content, whole[: len(content)] + content):
        releases.put(root / "images/S-01.png", spoilt)
        first, second = build(ComponentKind.DATASET, "siuo", options).rows()
        assert isinstance(second, Item)
        assert isinstance(first, Item | ImageError)


# The same damage every time: for some, seen once in thousands, polars' decoder aborts the process,
# which nothing in Python can catch.
@given(st.binary(max_size=200), st.integers(0, 600))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_damage_to_a_parquet_file(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, at: int
) -> None:
    root = tmp_path_factory.mktemp("release")
    options = releases.hades(root, steps=1) | {"step": 0}
    table = root / "data/test-00000-of-00001.parquet"
    whole = table.read_bytes()
    table.write_bytes(whole[:at] + content + whole[at + len(content) :])
    try:
        rows = list(build(ComponentKind.DATASET, "hades", options).rows())
    except SafeMLRMError:
        return
    assert all(isinstance(row, Item | DatasetError) for row in rows)
