"""Data sets with several pictures a question, and MSTS in its languages and two layouts."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from opensafemlrm.attacks.direct import Direct
from opensafemlrm.attacks.ready_made import Shipped
from opensafemlrm.datasets.situations import Language
from opensafemlrm.errors import AttackError, DatasetError, ImageError, MissingImageError
from opensafemlrm.registry import ComponentKind, build
from tests.datasets import newer_releases, releases
from tests.datasets.test_loaders import items, read

BOTH = [releases.png("red"), releases.png("blue")]


def test_mis_sends_its_two_pictures_in_order(tmp_path: Path) -> None:
    options = newer_releases.mis(tmp_path)
    found = items("mis", options)
    assert list(found) == [f"{subset}/{n}" for subset in ("easy", "hard", "real") for n in (0, 1)]
    prompt = Direct().apply(found["hard/1"], 0)
    assert [image.read() for image in prompt.images] == BOTH
    assert list(items("mis", options | {"subset": "real"})) == ["real/0", "real/1"]


@pytest.mark.parametrize("place", ["", "zip_files/"])
def test_mis_reads_its_pictures_from_archives(place: str, tmp_path: Path) -> None:
    options = newer_releases.mis(tmp_path)
    keys = [item.key for item in items("mis", options).values()]
    for subset in ("easy", "hard", "real"):
        archive = tmp_path / f"{place}{subset}_image.zip"
        archive.parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(archive, "w") as packed:
            for path in sorted((tmp_path / f"{subset}_image").rglob("*.png")):
                packed.write(path, path.relative_to(tmp_path))
        shutil.rmtree(tmp_path / f"{subset}_image")
    assert [item.key for item in items("mis", options).values()] == keys


def test_mis_without_one_of_two_pictures_is_an_error_of_its_row(tmp_path: Path) -> None:
    """One picture of two alone would have been another question, and a safe one."""
    options = newer_releases.mis(tmp_path) | {"subset": "easy"}
    (tmp_path / "easy_image/1/object2.png").unlink()
    bad, good = read("mis", options)
    assert isinstance(bad, MissingImageError)
    assert not isinstance(good, DatasetError)


@pytest.mark.parametrize(
    "write", [newer_releases.mir_safetybench, newer_releases.mir_safetybench_hub]
)
def test_mir_safetybench_is_judged_by_the_question_its_pictures_hide(
    write: Callable[[Path], releases.Options], tmp_path: Path
) -> None:
    found = items("mir-safetybench", write(tmp_path))
    assert len(found) == 4
    item = found["Privacy/Analogy/1"]
    assert (item.question, item.scenario) == ("How is lantern 1 lit?", "Privacy")
    prompt = Shipped().apply(item, 0)
    assert [image.read() for image in prompt.images] == BOTH
    assert prompt.turns[-1].text.startswith("Do with the first")
    assert Direct().apply(item, 0).images == ()


def test_mir_safetybenchs_two_layouts_are_the_same_items(tmp_path: Path) -> None:
    unpacked = items("mir-safetybench", newer_releases.mir_safetybench(tmp_path / "one"))
    packed = items("mir-safetybench", newer_releases.mir_safetybench_hub(tmp_path / "two"))
    assert {i: item.key for i, item in packed.items()} == {i: x.key for i, x in unpacked.items()}


@pytest.mark.parametrize("language", get_args(Language))
def test_msts_is_read_in_each_language_from_either_layout(language: str, tmp_path: Path) -> None:
    table = items("msts", newer_releases.msts(tmp_path / "one", language))
    packed = items("msts", newer_releases.msts_hub(tmp_path / "two", language))
    kinds = ["assistance", "intention"] if language == "english" else ["assistance"]
    assert list(table) == list(packed) == [f"case_0001/{kind}" for kind in kinds]
    first = packed["case_0001/assistance"]
    assert first.key == table["case_0001/assistance"].key
    assert first.question == f"Should I light this? ({language})"
    assert first.images[0].read() == releases.png()


def test_msts_knows_the_size_of_what_it_reads(tmp_path: Path) -> None:
    """The repository has 400 prompts in English and 200 in another language; the hub is open."""
    english = build(ComponentKind.DATASET, "msts", newer_releases.msts(tmp_path / "one"))
    assert (english.expected().items, english.expected().scenarios["Other"]) == (400, 50)
    options = newer_releases.msts(tmp_path / "two", "german")
    assert build(ComponentKind.DATASET, "msts", options).expected().items == 200
    options = newer_releases.msts_hub(tmp_path / "three", "german")
    assert build(ComponentKind.DATASET, "msts", options).expected().items is None


def test_msts_without_its_pictures_sends_no_text_alone(tmp_path: Path) -> None:
    """The pictures are web addresses in the repository: the words alone ask nothing unsafe."""
    options = newer_releases.msts(tmp_path)
    (tmp_path / "data/unsafe_images/unsafe_image_0001.png").unlink()
    assert [type(row) for row in read("msts", options)] == [MissingImageError] * 2


def test_vlsbenchs_pictures_are_read_from_its_tar(tmp_path: Path) -> None:
    """On the hub they are one file, ``imgs.tar``, beside the list."""
    options = releases.vlsbench(tmp_path / "data")
    root = tmp_path / "data/data"
    keys = [item.key for item in items("vlsbench", options | {"root": root}).values()]
    with tarfile.open(root / "images.tar", "w") as packed:
        packed.add(root / "images", "./images")
    shutil.rmtree(root / "images")
    assert [item.key for item in items("vlsbench", {"root": root}).values()] == keys
    whole = (root / "images.tar").read_bytes()
    (root / "images.tar").write_bytes(whole[:700])
    rows = read("vlsbench", {"root": root})
    assert all(isinstance(row, ImageError) for row in rows)


def test_a_tar_that_links_out_of_the_release_gives_nothing(tmp_path: Path) -> None:
    options = releases.vlsbench(tmp_path)
    shutil.rmtree(tmp_path / "data/images")
    with tarfile.open(tmp_path / "data/images.tar", "w") as packed:
        for number in (0, 1):
            link = tarfile.TarInfo(f"images/{number}.png")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            packed.addfile(link)
    assert [type(row) for row in read("vlsbench", options)] == [MissingImageError] * 2


def test_a_data_set_of_plain_text_has_nothing_to_ship(tmp_path: Path) -> None:
    item = items("bsa", newer_releases.bsa(tmp_path))[f"{0:032x}"]
    with pytest.raises(AttackError, match="shipped"):
        Shipped().apply(item, 0)
