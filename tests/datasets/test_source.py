"""Where releases lie: a folder, a snapshot of the hub, an archive. Nothing here uses a network."""

from __future__ import annotations

import os
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from opensafemlrm import images
from opensafemlrm.datasets import hub as hub_client
from opensafemlrm.errors import DatasetError, ImageError, MissingExtraError
from opensafemlrm.registry import ComponentKind, build
from opensafemlrm.types import Item
from tests.datasets import releases

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def nothing_is_remembered() -> Iterator[None]:
    hub_client.snapshot.cache_clear()
    yield
    hub_client.snapshot.cache_clear()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], list[dict[str, Any]]]:
    """Put a client in place of ``huggingface_hub`` that answers with what it is given."""

    def install(answer: Any, size: int | None = 0, missing: int = 0) -> list[dict[str, Any]]:
        asked: list[dict[str, Any]] = []

        def snapshot_download(repo: str, **options: Any) -> Any:
            asked.append({"repo": repo, **options})
            if isinstance(answer, Exception):
                raise answer
            if options.get("dry_run"):
                here = SimpleNamespace(file_size=size, will_download=False)
                return [here, SimpleNamespace(file_size=missing, will_download=True)]
            return str(answer)

        siblings = [SimpleNamespace(rfilename="images/S-01.png", size=size)]

        class HfApi:
            def dataset_info(self, repo: str, **options: Any) -> Any:
                if isinstance(answer, Exception):
                    raise answer
                return SimpleNamespace(sha=COMMIT, gated=False, siblings=siblings, card_data=None)

        module = ModuleType("huggingface_hub")
        vars(module).update(snapshot_download=snapshot_download, HfApi=HfApi)
        monkeypatch.setitem(sys.modules, "huggingface_hub", module)
        return asked

    return install


def cached(root: Path) -> Path:
    """Turn a release into what a cache of the hub holds: a snapshot of links to blobs."""
    repo = root / "datasets--sinwang--SIUO"
    snapshot, blobs = repo / "snapshots" / COMMIT, repo / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    releases.siuo(snapshot)
    files = [path for path in sorted(snapshot.rglob("*")) if path.is_file()]
    for number, path in enumerate(files):
        path.rename(blobs / str(number))
        path.symlink_to(os.path.relpath(blobs / str(number), path.parent))
    return snapshot


def read(**options: Any) -> list[Item | DatasetError]:
    return list(build(ComponentKind.DATASET, "siuo", options).rows())


def test_a_snapshot_of_links_is_read_whole(tmp_path: Path, hub: Any) -> None:
    """The cache links each picture to a blob outside of the snapshot: all looked like escapes."""
    asked = hub(cached(tmp_path))
    rows = read(revision=COMMIT)
    assert [row.id for row in rows if isinstance(row, Item)] == ["1", "2"]
    assert asked[0]["repo"] == "sinwang/SIUO"
    assert asked[0]["revision"] == COMMIT
    assert asked[0]["repo_type"] == "dataset"
    assert "siuo_gen.json" in asked[0]["allow_patterns"]


def test_a_snapshot_whose_blobs_all_data_sets_share_is_read_whole(tmp_path: Path, hub: Any) -> None:
    """Since huggingface_hub 1.32 they lie beside the repositories: 0 of 3 pictures loaded."""
    cache = tmp_path / "hub"
    snapshot = cached(cache)
    (cache / "blobs").mkdir()
    for path in snapshot.rglob("*"):
        if path.is_symlink():
            shared = cache / "blobs" / path.resolve().name
            path.resolve().rename(shared)
            path.unlink()
            path.symlink_to(os.path.relpath(shared, path.parent))
    hub(snapshot)
    assert [row.id for row in read(revision=COMMIT) if isinstance(row, Item)] == ["1", "2"]
    outside = releases.put(tmp_path / "outside.png", releases.png())
    (snapshot / "images/S-01.png").unlink()
    (snapshot / "images/S-01.png").symlink_to(outside)
    assert "outside" in str(read(revision=COMMIT)[0])


def test_a_link_out_of_the_cache_is_refused(tmp_path: Path, hub: Any) -> None:
    snapshot = cached(tmp_path)
    outside = releases.put(tmp_path / "outside.png", releases.png())
    (snapshot / "images/S-01.png").unlink()
    (snapshot / "images/S-01.png").symlink_to(outside)
    hub(snapshot)
    bad, good = read(revision=COMMIT)
    assert isinstance(bad, ImageError)
    assert "outside" in str(bad)
    assert isinstance(good, Item)


def test_the_hub_is_asked_once_however_often_the_rows_are_read(tmp_path: Path, hub: Any) -> None:
    asked = hub(cached(tmp_path))
    read(revision=COMMIT)
    read(revision=COMMIT)
    assert len(asked) == 1


def test_what_a_revision_would_fetch_is_bounded(tmp_path: Path, hub: Any) -> None:
    """It took as many gigabytes as the repository had, onto a disk of any size."""
    asked = hub(cached(tmp_path), size=90 * 10**9, missing=21 * 10**9)
    with pytest.raises(DatasetError, match=r"21\.00 GB, more than 20 GB; .* --max-gb 21, "):
        read(revision=COMMIT)
    assert [options["dry_run"] for options in asked] == [True]


def test_what_was_fetched_before_is_not_counted(tmp_path: Path, hub: Any) -> None:
    hub(cached(tmp_path), size=90 * 10**9, missing=10**9)
    assert len(read(revision=COMMIT)) == 2


def test_the_cache_is_enough_where_the_hub_does_not_answer(tmp_path: Path, hub: Any) -> None:
    asked = hub(cached(tmp_path), size=None)
    assert len(read(revision=COMMIT)) == 2
    assert [options["local_files_only"] for options in asked] == [True]


def test_the_revision_is_part_of_what_results_are_keyed_by(tmp_path: Path) -> None:
    pinned = build(ComponentKind.DATASET, "siuo", {"revision": COMMIT})
    assert pinned.identity()["revision"] == COMMIT
    local = build(ComponentKind.DATASET, "siuo", {"root": tmp_path})
    assert local.identity()["revision"] == ""


@pytest.mark.parametrize(
    "failure", [OSError("401 Client Error\nmore"), FileNotFoundError("offline"), ValueError("odd")]
)
def test_what_the_hub_does_not_give_is_an_error_and_no_empty_dataset(
    failure: Exception, hub: Any
) -> None:
    hub(failure)
    with pytest.raises(DatasetError, match="HF_HUB_OFFLINE") as caught:
        read(revision=COMMIT)
    assert str(failure).splitlines()[0] in str(caught.value)
    assert COMMIT in str(caught.value)


def test_without_the_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"'\.\[hub\]'"):
        read(revision=COMMIT)


def pack(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def unpacked(root: Path) -> dict[str, bytes]:
    """Take the pictures of the release away and return them."""
    members = {}
    for path in sorted((root / "images").iterdir()):
        members[path.name] = path.read_bytes()
        path.unlink()
    (root / "images").rmdir()
    return members


@pytest.mark.parametrize("folder", ["", "images/"])
def test_pictures_are_read_from_the_releases_archive(folder: str, tmp_path: Path) -> None:
    options = releases.siuo(tmp_path)
    before = read(**options)
    members = {folder + name: content for name, content in unpacked(tmp_path).items()}
    pack(tmp_path / "images.zip", members)
    after = read(**options)
    keys = [row.key for row in before if isinstance(row, Item)]
    assert [row.key for row in after if isinstance(row, Item)] == keys
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images.zip", "siuo_gen.json"]


def test_a_bomb_in_an_archive_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = releases.siuo(tmp_path)
    unpacked(tmp_path)
    monkeypatch.setattr(images, "MAX_BYTES", 1000)
    pack(tmp_path / "images.zip", {"S-01.png": bytes(2000), "S-02.png": releases.png()})
    bad, good = read(**options)
    assert isinstance(bad, ImageError)
    assert "2,000 bytes" in str(bad)
    assert isinstance(good, Item)


def test_an_archive_that_lies_about_its_sizes_is_refused(tmp_path: Path) -> None:
    options = releases.siuo(tmp_path)
    unpacked(tmp_path)
    path = pack(tmp_path / "images.zip", {"S-01.png": bytes(5000), "S-02.png": releases.png()})
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02") + 24  # the unpacked size of the first entry, in the directory
    data[at : at + 4] = (10).to_bytes(4, "little")
    path.write_bytes(data)
    bad, good = read(**options)
    assert isinstance(bad, ImageError)
    assert isinstance(good, Item)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nothing more"])
def test_a_broken_archive_is_an_error_of_every_row(content: bytes, tmp_path: Path) -> None:
    options = releases.siuo(tmp_path)
    unpacked(tmp_path)
    releases.put(tmp_path / "images.zip", content)
    rows = read(**options)
    assert all(isinstance(row, ImageError) for row in rows)
    assert "archive cannot be read" in str(rows[0])


def test_an_archive_linked_from_elsewhere_is_refused(tmp_path: Path) -> None:
    options = releases.siuo(tmp_path / "release")
    members = unpacked(tmp_path / "release")
    (tmp_path / "release/images.zip").symlink_to(pack(tmp_path / "elsewhere.zip", members))
    rows = read(**options)
    assert all(isinstance(row, ImageError) for row in rows)
    assert "outside" in str(rows[0])
