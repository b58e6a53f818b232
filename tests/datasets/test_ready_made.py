"""Attacks made elsewhere, in a table of one's own: pictures and text beside the judged question."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from opensafemlrm.attacks.direct import Direct
from opensafemlrm.attacks.ready_made import Shipped
from opensafemlrm.datasets.guess import guess
from opensafemlrm.errors import AttackError, DatasetError, ImageError, MissingImageError
from opensafemlrm.registry import ComponentKind, build
from opensafemlrm.types import Item
from tests.datasets import releases

PLAIN = "How is a lantern folded?"
MAPPING = (
    "name: made\nquestion: plain\nid: id\nfields: {prompt: sent}\nreleased: {shipped: picture}\n"
)
ROW = {"id": "1", "plain": PLAIN, "sent": "Fill in the list.", "picture": "red.png"}


def write(path: Path, rows: Any, mapping: str = MAPPING) -> Path:
    releases.put(path.with_name(f"{path.stem}.mapping.yaml"), mapping)
    releases.put(path.with_name("red.png"), releases.png("red"))
    releases.put(path.with_name("blue.png"), releases.png("blue"))
    if path.suffix == ".json":
        return releases.put_json(path, rows)
    return releases.put_csv(path, rows, "\t" if path.suffix == ".tsv" else ",")


def table(path: Path) -> list[Item | DatasetError]:
    return list(build(ComponentKind.DATASET, "table", {"path": path}).rows())


def single(path: Path) -> Item:
    (row,) = table(path)
    assert isinstance(row, Item), row
    return row


def test_picture_and_text_are_sent_and_the_question_is_judged(tmp_path: Path) -> None:
    """Data review 8: there was no way to bring an attack that differs from its question."""
    item = single(write(tmp_path / "made.csv", [ROW]))
    assert item.question == PLAIN
    prompt = Shipped().apply(item, 0)
    assert [image.read() for image in prompt.images] == [releases.png("red")]
    assert prompt.turns[-1].text == "Fill in the list."
    assert Direct().apply(item, 0).images == ()


def test_several_pictures_of_a_row_are_sent_in_order(tmp_path: Path) -> None:
    """Data review 9: MIR-SafetyBench's layout, a list of pictures in a cell."""
    row = {"original_question": PLAIN, "revised_prompt": "Look.", "images": ["red.png", "blue.png"]}
    mapping = (
        "name: mir\nquestion: original_question\nfields: {prompt: revised_prompt}\n"
        "released: {shipped: images}\n"
    )
    both = [releases.png("red"), releases.png("blue")]
    item = single(write(tmp_path / "a.json", [row], mapping))
    assert [image.read() for image in Shipped().apply(item, 0).images] == both
    listed = single(
        write(tmp_path / "b.csv", [row | {"images": json.dumps(row["images"])}], mapping)
    )
    assert [image.read() for image in Shipped().apply(listed, 0).images] == both
    columns = mapping.replace("images}", "[one, two]}")
    split = {**row, "one": "red.png", "two": "blue.png"}
    apart = single(write(tmp_path / "c.json", [split], columns))
    assert [image.read() for image in Shipped().apply(apart, 0).images] == both


def test_a_column_may_lie_inside_another(tmp_path: Path) -> None:
    """OmniSafeBench-MM's test cases keep the plain question in their metadata."""
    row = {
        "test_case_id": "7",
        "image_path": "red.png",
        "prompt": "Look.",
        "metadata": {"original_prompt": PLAIN},
    }
    mapping = (
        "name: omni\nquestion: metadata.original_prompt\nid: test_case_id\n"
        "fields: {prompt: prompt}\nreleased: {shipped: image_path}\n"
    )
    assert single(write(tmp_path / "cases.json", [row], mapping)).question == PLAIN
    path = write(tmp_path / "cases.json", [row], mapping).with_suffix(".parquet")
    releases.put_parquet(path, [row])
    assert single(path).question == PLAIN


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
def test_base64_in_a_table_with_tabs(prefix: str, tmp_path: Path) -> None:
    """Data review 9: VLMEvalKit's tables were refused; a cell is longer than csv's own limit."""
    noise = releases.png("red") + bytes(200_000)
    cell = prefix + base64.b64encode(noise).decode()
    item = single(write(tmp_path / "made.tsv", [{**ROW, "picture": cell}]))
    assert item.released["shipped"].read() == noise


@pytest.mark.parametrize(
    ("cell", "error"),
    [
        ("", MissingImageError),
        ("[]", MissingImageError),
        ("green.png", MissingImageError),
        ("../red.png", ImageError),
        (base64.b64encode(releases.png()).decode()[:-3], ImageError),
        ("data:text/html;base64,AAAA", ImageError),
    ],
)
def test_a_picture_that_is_not_there_is_never_left_out(
    cell: str, error: type[DatasetError], tmp_path: Path
) -> None:
    (bad,) = table(write(tmp_path / "made.csv", [{**ROW, "picture": cell}]))
    assert isinstance(bad, error)


def test_a_mapping_without_the_key_is_what_it_was(tmp_path: Path) -> None:
    """Its results are keyed by it: a new key in it would have asked everything again."""
    path = write(tmp_path / "made.csv", [ROW], "name: made\nquestion: plain\nid: id\n")
    identity = build(ComponentKind.DATASET, "table", {"path": path}).identity()
    assert "released" not in str(identity)
    with pytest.raises(AttackError, match="shipped"):
        Shipped().apply(single(path), 0)


def test_init_maps_vlsbenchs_list(tmp_path: Path) -> None:
    """Data review 9: its .json list was refused, and its id was not seen."""
    row = {
        "instruction_id": 0,
        "instruction": PLAIN,
        "image_path": "red.png",
        "category": "Privacy",
        "sub_category": "Identity",
        "source": "generation",
    }
    path = write(tmp_path / "data.json", [row])
    made = guess(path)
    for line in ('id: "instruction_id"', 'scenario: "category"', 'images: ["image_path"]'):
        assert line in made.text
    made.path.write_text(made.text)
    assert single(path).id == "0"
