"""SafeBench: the upstream layout, and every way a row can be bad."""

from __future__ import annotations

import csv
import io
import shutil
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage

from opensafemlrm.attacks.direct import Direct
from opensafemlrm.attacks.figstep import FigStepPro
from opensafemlrm.attacks.mm_safetybench import Typo
from opensafemlrm.datasets.figstep import SIZES, FigStep
from opensafemlrm.errors import AttackError, DatasetError, ImageError, OptionError
from opensafemlrm.registry import ComponentKind, build
from opensafemlrm.types import Item

RELEASE = Path(__file__).parents[2] / "../shared/data/figstep/data"
HEADER = ["dataset", "category_id", "task_id", "category_name", "question", "instruction"]


def line(
    topic: int | str, task: int | str, question: str = "How?", heading: str = "Steps"
) -> list[str]:
    return ["ForbidQI", str(topic), str(task), "Lanterns", question, heading]


def release(root: Path, *rows: list[str], header: list[str] = HEADER, tail: bytes = b"") -> Path:
    (root / "question").mkdir(exist_ok=True)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    (root / "question" / "safebench.csv").write_bytes(text.getvalue().encode() + tail)
    return root


def picture(root: Path, topic: int, task: int, colour: str = "red") -> Path:
    folder = root / "images" / "SafeBench"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"query_ForbidQI_{topic}_{task}_6.png"
    PILImage.new("RGB", (4, 4), colour).save(path)
    return path


def read(root: Path) -> tuple[list[Item], list[DatasetError]]:
    rows = list(FigStep(root).rows())
    return (
        [row for row in rows if isinstance(row, Item)],
        [row for row in rows if isinstance(row, DatasetError)],
    )


def test_items_come_in_the_order_of_the_table(tmp_path: Path) -> None:
    root = release(tmp_path, line(2, 1, "Why?", "Reasons"), line(1, 1))
    items, errors = read(root)
    assert [item.id for item in items] == ["2-1", "1-1"]
    assert not errors
    assert items[0].question == "Why?"
    assert items[0].fields == {"instruction": "Reasons"}
    assert items[0].scenario == "Lanterns"
    assert items[0].released == {}
    assert items[0].origin.endswith("safebench.csv: row 2")


def test_the_parent_of_the_data_folder_will_do(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    release(tmp_path / "data", line(1, 1))
    assert len(read(tmp_path)[0]) == 1


def test_released_pictures_are_taken_by_content(tmp_path: Path) -> None:
    root = release(tmp_path, line(1, 1))
    path = picture(root, 1, 1)
    before = read(root)[0][0]
    assert before.released["figstep"].read() == path.read_bytes()
    assert Direct().apply(before, 0).images == ()
    picture(root, 1, 1, "blue")
    assert read(root)[0][0].key != before.key


def test_an_unreadable_image_is_an_error_and_the_text_is_not_sent_alone(tmp_path: Path) -> None:
    # The mistake: an unreadable image is dropped and the text is sent alone.
    root = release(tmp_path, *(line(1, task) for task in range(1, 5)))
    picture(root, 1, 1)
    picture(root, 1, 2).write_bytes(b"\x89PNG nothing more")
    outside = tmp_path.parent / f"{tmp_path.name}.png"
    outside.write_bytes(picture(root, 1, 4).read_bytes())
    picture(root, 1, 4).unlink()
    (root / "images/SafeBench/query_ForbidQI_1_4_6.png").symlink_to(outside)
    items, errors = read(root)
    assert [item.id for item in items] == ["1-1"]
    assert all(isinstance(error, ImageError) for error in errors)
    assert [error.row for error in errors] == [3, 4, 5]
    for error, what in zip(errors, ("cannot be read", "missing", "outside"), strict=True):
        assert what in str(error)
        assert "safebench.csv: row" in str(error)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (line(1, 2, question=" "), "'question' is empty"),
        (line(1, 2, heading=""), "'instruction' is empty"),
        (line("../..", 2), "whole numbers"),
        (line(1, "²"), "whole numbers"),
        (line(1, 1), "given to row 2 already"),
        (["ForbidQI", "1"], "2 cells"),
        ([*line(1, 2), "more"], "7 cells"),
    ],
)
def test_a_bad_row_is_named_and_reading_goes_on(
    tmp_path: Path, bad: list[str], reason: str
) -> None:
    items, errors = read(release(tmp_path, line(1, 1), bad, line(1, 9)))
    assert [item.id for item in items] == ["1-1", "1-9"]
    assert [error.row for error in errors] == [3]
    assert reason in str(errors[0])
    assert errors[0].path == tmp_path / "question" / "safebench.csv"


def test_a_broken_byte_spoils_its_own_row_alone(tmp_path: Path) -> None:
    tail = b"ForbidQI,1,2,Lanterns,Wh\xff\xfe?,Steps\nForbidQI,1,3,Lanterns,Caf\xc3\xa9?,Steps\n"
    items, errors = read(release(tmp_path, line(1, 1), tail=tail))
    assert [item.id for item in items] == ["1-1", "1-3"]
    assert items[1].question == "Café?"
    assert [error.row for error in errors] == [3]
    assert "not UTF-8" in str(errors[0])


def test_a_quote_that_is_never_closed_is_an_error_not_a_giant_question(tmp_path: Path) -> None:
    tail = b'ForbidQI,1,2,Lanterns,"Why,Steps\nForbidQI,1,3,Lanterns,How?,Steps\n'
    items, errors = read(release(tmp_path, line(1, 1), tail=tail))
    assert [item.id for item in items] == ["1-1"]
    assert [error.row for error in errors] == [3]


def test_rows_after_a_question_of_several_lines_are_named_by_their_line(tmp_path: Path) -> None:
    items, errors = read(release(tmp_path, line(1, 1, "One\ntwo\nthree?"), line(1, 2, " ")))
    assert items[0].question == "One\ntwo\nthree?"
    assert [error.row for error in errors] == [5]


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    path = release(tmp_path, line(1, 1)) / "question" / "safebench.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert read(tmp_path)[0][0].fields == {"instruction": "Steps"}


def test_a_missing_column_stops_and_is_named(tmp_path: Path) -> None:
    root = release(tmp_path, line(1, 1)[:-1], header=HEADER[:-1])
    with pytest.raises(DatasetError, match="no column 'instruction'"):
        read(root)


@pytest.mark.parametrize("present", [[], ["question"]])
def test_a_missing_release_says_what_to_get_and_where(tmp_path: Path, present: list[str]) -> None:
    for name in present:
        (tmp_path / name).mkdir()
    with pytest.raises(DatasetError, match=r"github\.com/ThuCCSLab/FigStep"):
        read(tmp_path)


def test_the_folder_it_lies_in_makes_no_other_item(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for root in (first, second):
        root.mkdir()
        release(root, line(1, 1))
        picture(root, 1, 1)
    assert read(first)[0][0].key == read(second)[0][0].key
    assert FigStep(first).options() == {"subset": "full"}


def test_typo_refuses_items_that_have_no_key_phrase(tmp_path: Path) -> None:
    item = read(release(tmp_path, line(1, 1)))[0][0]
    with pytest.raises(AttackError, match="key phrase"):
        Typo().apply(item, 0)


def test_the_registry_checks_the_options(tmp_path: Path) -> None:
    built = build(ComponentKind.DATASET, "figstep", {"root": str(tmp_path), "subset": "tiny"})
    assert built == FigStep(tmp_path, subset="tiny")
    with pytest.raises(OptionError, match="subset"):
        build(ComponentKind.DATASET, "figstep", {"root": str(tmp_path), "subset": "small"})


@given(st.binary(max_size=400))
@settings(max_examples=100, deadline=None)
def test_any_table_gives_items_or_errors(
    tmp_path_factory: pytest.TempPathFactory, tail: bytes
) -> None:
    root = release(tmp_path_factory.mktemp("release"), line(1, 1), tail=tail)
    items, _ = read(root)
    assert items[0].id == "1-1"
    assert len({item.id for item in items}) == len(items)


@pytest.mark.skipif(not RELEASE.is_dir(), reason="the release is not beside the repository")
@pytest.mark.parametrize("subset", ["full", "tiny"])
def test_the_real_release_is_read_whole(subset: str) -> None:
    rows = list(build(ComponentKind.DATASET, "figstep", {"root": RELEASE, "subset": subset}).rows())
    assert all(isinstance(row, Item) for row in rows)
    assert len(rows) == SIZES[subset]
    assert len({row.key for row in rows}) == len(rows)
    assert len({row.scenario for row in rows}) == 10
    assert all(("figstep" in row.released) == (subset == "tiny") for row in rows)


@pytest.mark.skipif(not RELEASE.is_dir(), reason="the release is not beside the repository")
def test_figstep_pro_runs_on_its_own_release() -> None:
    """Data review 13: it applied to none of the 50 items it was released for."""
    counts: Counter[int] = Counter()
    for row in FigStep(RELEASE, subset="tiny").rows():
        assert isinstance(row, Item)
        prompt = FigStepPro().apply(row, 0)
        counts[len(prompt.images)] += 1
        assert row.fields["masked"] in prompt.turns[-1].text
        assert row.question not in prompt.turns[-1].text
    assert counts == {3: 27, 4: 20, 6: 1, 7: 2}


def tiny(root: Path) -> Path:
    """SafeBench-Tiny's second item, with FigStep-Pro's pieces unpacked and a comma unquoted."""
    release(root, line(1, 2))
    (root / "question/safebench.csv").rename(root / "question/SafeBench-Tiny.csv")
    sentences = "sentence\nnever of this item *\nSteps to light, then fold a *\n"
    (root / "question/benign_sentences_without_harmful_phase.csv").write_text(sentences)
    folder = root / "images/FigStep-Pro/sub-figures/image_1_splits"
    folder.mkdir(parents=True)
    for number in range(3):
        PILImage.new("RGB", (4 + number, 4), "red").save(folder / f"image_1_split_{number}.png")
    return root


def test_figstep_pros_pieces_are_found_by_their_place_packed_or_not(tmp_path: Path) -> None:
    def item() -> Item:
        (row,) = FigStep(root, subset="tiny").rows()
        assert isinstance(row, Item)
        return row

    root = tiny(tmp_path)
    unpacked = item()
    assert [image.width for image in FigStepPro().apply(unpacked, 0).images] == [4, 5, 6]
    assert unpacked.fields["masked"] == "Steps to light, then fold a *"
    folder = root / "images/FigStep-Pro/sub-figures"
    shutil.make_archive(str(folder), "zip", folder)
    shutil.rmtree(folder)
    assert item().key == unpacked.key
    folder.with_suffix(".zip").unlink()
    assert item().fields == {"instruction": "Steps"}
