"""Nothing of a data set is dropped without a word: pictures, cells, files, encodings."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from opensafemlrm.cli import app
from opensafemlrm.datasets.guess import guess
from opensafemlrm.errors import DatasetError, EmptyTextError, ImageError
from opensafemlrm.registry import ComponentKind, build
from opensafemlrm.types import Item
from tests.datasets import releases
from tests.datasets.test_own import put_table

MAPPING = "name: lanterns\nquestion: question\n"
ROW = {"id": 1, "question": "How is it lit?"}


def table(path: Path, mapping: str = MAPPING) -> list[Item | DatasetError]:
    releases.put(path.with_name(f"{path.stem}.mapping.yaml"), mapping)
    return list(build(ComponentKind.DATASET, "table", {"path": path}).rows())


def check(path: Path) -> tuple[int, str, str]:
    ran = CliRunner().invoke(app, ["datasets", "check", "table", "-o", f"path={path}"])
    return ran.exit_code, ran.stdout, ran.stderr


def test_a_list_of_pictures_is_found_and_read(tmp_path: Path) -> None:
    """The hub's layout of several images: `init` mapped none, and the text went alone."""
    cells = [releases.cell("red"), releases.cell("blue")]
    path = put_table(tmp_path / "a.parquet", [{**ROW, "images": cells}])
    found = guess(path)
    assert yaml.safe_load(found.text)["images"] == ["images"]
    (item,) = table(path, found.text)
    assert isinstance(item, Item)
    assert len(item.images) == 2


def test_file_names_of_pictures_are_found_whatever_the_column_is_called(tmp_path: Path) -> None:
    releases.put(tmp_path / "a.png", releases.png())
    releases.put(tmp_path / "b.png", releases.png("blue"))
    one = put_table(tmp_path / "one.csv", [{**ROW, "where": "a.png"}])
    many = put_table(tmp_path / "many.jsonl", [{**ROW, "where": ["a.png", "b.png"]}])
    for path, count in ((one, 1), (many, 2)):
        (item,) = table(path, guess(path).text)
        assert isinstance(item, Item)
        assert len(item.images) == count


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("https://example.org/a.png", "web address"),
        ("data:image/png;base64,AAAA", "base64"),
        ("a.png", "1 of 1 pictures"),
    ],
)
def test_pictures_that_cannot_be_read_are_doubted_when_the_mapping_is_made(
    cell: str, words: str, tmp_path: Path
) -> None:
    path = put_table(tmp_path / "a.csv", [{**ROW, "image": cell}])
    assert any(words in doubt for doubt in guess(path).doubts)
    (bad,) = table(path, MAPPING + "images: [image]\n")
    assert isinstance(bad, ImageError)


def test_check_says_that_no_pictures_are_mapped_and_never_complete_without_a_size(
    tmp_path: Path,
) -> None:
    path = put_table(tmp_path / "a.csv", [ROW])
    table(path)
    code, out, err = check(path)
    assert code == 0
    assert "complete" not in out
    assert "size is not known" in out
    assert "no pictures are mapped" in err


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_nan_and_infinities_are_empty_cells(value: float, ending: str, tmp_path: Path) -> None:
    """A model was asked "nan", and its reply was scored."""
    path = put_table(tmp_path / f"a.{ending}", [{"id": 1, "question": value}])
    (bad,) = table(path)
    assert isinstance(bad, EmptyTextError)


def test_marks_for_pictures_in_a_question_are_counted(tmp_path: Path) -> None:
    path = put_table(tmp_path / "a.csv", [{"id": 1, "question": "<image>\nHow is it lit?"}])
    assert any("<image>" in doubt for doubt in guess(path).doubts)
    table(path)
    assert "marks such as <image> are sent as text, in 1 question" in check(path)[2]


def test_a_folder_names_what_it_leaves_out_and_refuses_pictures_models_do_not_take(
    tmp_path: Path,
) -> None:
    options = releases.own_images(tmp_path)
    releases.put(tmp_path / "night/more.heic", b"x")
    releases.put(tmp_path / "notes.md", "x")
    dataset: Any = build(ComponentKind.DATASET, "images", options)
    (bad,) = [row for row in dataset.rows() if isinstance(row, DatasetError)]
    assert "convert it to PNG" in str(bad)
    assert list(dataset.left_out()) == ["notes.md"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("id,question\n1,How?\n".encode("utf-16"), "UTF-16"),
        (b"id;question\n1;How?\n", "semicolons"),
        (b"id\tquestion\n1\tHow?\n", "tabs"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        (b"id,question\n1,caf\xe9?\n", "save the file as UTF-8"),
    ],
)
def test_files_of_another_making_get_their_own_words(
    content: bytes, words: str, tmp_path: Path
) -> None:
    path = releases.put(tmp_path / "a.csv", content)
    try:
        said = str(table(path)[0])
    except DatasetError as error:
        said = str(error)
    assert words in said


def test_a_picture_that_is_an_lfs_pointer_says_so(tmp_path: Path) -> None:
    releases.put(tmp_path / "a.png", b"version https://git-lfs.github.com/spec/v1\nsize 9\n")
    path = put_table(tmp_path / "a.csv", [{**ROW, "image": "a.png"}])
    (bad,) = table(path, MAPPING + "images: [image]\n")
    assert "git lfs pull" in str(bad)
