"""Your own tables and image folders: mappings, and the first mapping that is guessed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from opensafemlrm.datasets.guess import guess
from opensafemlrm.errors import (
    DatasetError,
    DuplicateError,
    EmptyTextError,
    ImageError,
    MissingImageError,
    OptionError,
)
from opensafemlrm.registry import ComponentKind, build
from opensafemlrm.types import Item
from tests.datasets import releases

ROWS = [
    {"id": 1, "prompt": "How is it lit?", "category": "fraud", "safety": "unsafe"},
    {"id": 2, "prompt": "What colour is it?", "category": "fraud", "safety": "safe"},
]
MAPPING = (
    "name: lanterns\nquestion: prompt\nid: id\nscenario: category\n"
    "kind: {column: safety, harmful: [unsafe], benign: [safe]}\n"
)


def put_table(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix in (".csv", ".tsv"):
        return releases.put_csv(path, rows, "," if path.suffix == ".csv" else "\t")
    if path.suffix == ".json":
        return releases.put_json(path, rows)
    if path.suffix == ".jsonl":
        return releases.put(path, "".join(json.dumps(row) + "\n" for row in rows))
    return releases.put_parquet(path, rows)


def table(path: Path, mapping: str = MAPPING, **options: Any) -> list[Item | DatasetError]:
    releases.put(path.with_name(f"{path.stem}.mapping.yaml"), mapping)
    return list(build(ComponentKind.DATASET, "table", {"path": path, **options}).rows())


@pytest.mark.parametrize("ending", ["csv", "tsv", "json", "jsonl", "parquet"])
def test_the_same_rows_are_the_same_items_in_every_format(ending: str, tmp_path: Path) -> None:
    first, second = table(put_table(tmp_path / f"lanterns.{ending}", ROWS))
    assert isinstance(first, Item)
    assert isinstance(second, Item)
    assert (first.id, first.kind, first.scenario) == ("1", "harmful", "fraud")
    assert (second.id, second.kind, second.question) == ("2", "benign", "What colour is it?")
    assert first.dataset == "table/lanterns"
    assert first.key == Item("table/lanterns", "1", "fraud", "How is it lit?").key


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_row_without_a_question_is_named(ending: str, tmp_path: Path) -> None:
    rows = [ROWS[0], {**ROWS[1], "prompt": ""}]
    good, bad = table(put_table(tmp_path / f"lanterns.{ending}", rows))
    assert isinstance(good, Item)
    assert isinstance(bad, EmptyTextError)
    assert f"lanterns.{ending}: row {3 if ending == 'csv' else 2}" in str(bad)


def test_ids_made_from_content_stay_when_rows_are_added(tmp_path: Path) -> None:
    """Ids by row number moved with every row that was put before: all replies were asked again."""
    mapping = MAPPING.replace("id: id\n", "")
    before = table(put_table(tmp_path / "a.csv", ROWS), mapping)
    third = {**ROWS[0], "id": 3, "prompt": "Who made it?"}
    after = table(put_table(tmp_path / "a.csv", [third, *ROWS]), mapping)
    assert {row.key for row in before if isinstance(row, Item)} < {
        row.key for row in after if isinstance(row, Item)
    }


def test_a_row_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    mapping = MAPPING.replace("id: id\n", "")
    rows = table(put_table(tmp_path / "a.csv", [ROWS[0], ROWS[0]]), mapping)
    assert isinstance(rows[1], DuplicateError)


def test_a_kind_that_the_mapping_does_not_list_is_refused(tmp_path: Path) -> None:
    """Taken for harmful or for benign, it would have moved one of the two figures."""
    rows = [{**ROWS[0], "safety": "perhaps"}]
    (bad,) = table(put_table(tmp_path / "a.csv", rows))
    assert isinstance(bad, DatasetError)
    assert "neither under 'harmful' nor under 'benign'" in str(bad)
    assert "perhaps" not in str(bad)


def test_pictures_by_name_and_in_the_table(tmp_path: Path) -> None:
    mapping = MAPPING + "images: [picture]\n"
    releases.put(tmp_path / "pictures/a.png", releases.png())
    by_name = put_table(tmp_path / "a.csv", [{**ROWS[0], "picture": "pictures/a.png"}])
    inside = put_table(tmp_path / "b.parquet", [{**ROWS[0], "picture": releases.cell("red")}])
    (first,), (second,) = table(by_name, mapping), table(inside, mapping)
    assert isinstance(first, Item)
    assert isinstance(second, Item)
    assert first.key == second.key


def test_an_empty_picture_cell_never_becomes_a_question_without_its_picture(
    tmp_path: Path,
) -> None:
    mapping = MAPPING + "images: [picture]\n"
    (bad,) = table(put_table(tmp_path / "a.csv", [{**ROWS[0], "picture": ""}]), mapping)
    assert isinstance(bad, MissingImageError)


def test_a_picture_outside_the_root_is_refused(tmp_path: Path) -> None:
    mapping = MAPPING + "images: [picture]\n"
    releases.put(tmp_path / "secret.png", releases.png())
    path = put_table(tmp_path / "set/a.csv", [{**ROWS[0], "picture": "../secret.png"}])
    (bad,) = table(path, mapping)
    assert isinstance(bad, ImageError)
    assert "outside" in str(bad)
    assert isinstance(table(path, mapping, root=tmp_path / "set")[0], ImageError)


def test_the_mapping_is_part_of_what_results_are_keyed_by(tmp_path: Path) -> None:
    path = put_table(tmp_path / "a.csv", ROWS)
    made = []
    for mapping in (MAPPING, MAPPING + "licence: CC0\n", MAPPING + "system: {value: Be kind.}\n"):
        other = releases.put(tmp_path / "other.yaml", mapping)
        made.append(build(ComponentKind.DATASET, "table", {"path": path, "mapping": other}))
    first, licensed, kind = (dataset.identity() for dataset in made)
    assert first == licensed != kind
    assert made[0].label == "table/lanterns"


@pytest.mark.parametrize(
    ("mapping", "reason"),
    [
        ("name: a\n", "question: this key is needed"),
        (
            "name: a\nquestion: prompt\nqestion: b\n",
            "qestion: there is no key .*; did you mean question",
        ),
        ("name: '../a'\nquestion: prompt\n", "name: "),
        ("name: a\nquestion: !!python/object/apply:os.getcwd []\n", "tags are not read"),
        ("name: a\nquestion: !lantern prompt\n", "tags are not read"),
        ("name: &a b\nquestion: *a\n", "anchors are not read"),
        ("name: [\n", "not valid YAML"),
        ("name: a\nquestion: prompt\nscenario: 2024-99-99\n", "month must be"),
        ("- a\n", "the file: "),
        ("", "the file: "),
        ("[" * 5000, "nested too deeply"),
        ("name: a\nquestion: " + "b" * 300_000, "at most"),
    ],
)
def test_a_mapping_that_is_wrong_is_named(mapping: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=reason) as caught:
        table(put_table(tmp_path / "a.csv", ROWS), mapping)
    assert "a.mapping.yaml" in str(caught.value)


def test_a_mapping_that_is_missing_or_not_text_is_named(tmp_path: Path) -> None:
    path = put_table(tmp_path / "a.csv", ROWS)
    with pytest.raises(DatasetError, match="datasets init"):
        build(ComponentKind.DATASET, "table", {"path": path})
    releases.put(tmp_path / "a.mapping.yaml", b"name: \xff\n")
    with pytest.raises(DatasetError, match="cannot be read"):
        build(ComponentKind.DATASET, "table", {"path": path})


def test_a_column_that_the_table_lacks_is_named(tmp_path: Path) -> None:
    mapping = MAPPING.replace("question: prompt", "question: query")
    for ending in ("csv", "parquet", "jsonl"):
        with pytest.raises(DatasetError, match=r"no column 'query' \(columns: id, prompt, "):
            table(put_table(tmp_path / f"a.{ending}", ROWS), mapping)


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"\.csv, \.tsv, \.json, \.jsonl, \.parquet"):
        build(ComponentKind.DATASET, "table", {"path": tmp_path / "a.xlsx"})


def test_a_folder_of_images_takes_its_scenarios_from_its_folders(tmp_path: Path) -> None:
    options = releases.own_images(tmp_path)
    releases.put(tmp_path / "top.webp", "not an image")
    rows = list(build(ComponentKind.DATASET, "images", options).rows())
    found = {row.id: row.scenario for row in rows if isinstance(row, Item)}
    assert found == {"day/b.png": "day", "night/a.png": "night"}
    (bad,) = [row for row in rows if isinstance(row, DatasetError)]
    assert isinstance(bad, ImageError)
    assert "top.webp" in str(bad)


def test_a_question_may_lie_beside_each_picture(tmp_path: Path) -> None:
    options = releases.own_images(tmp_path)
    releases.put(tmp_path / "mapping.yaml", "name: p\nquestion: {beside: .txt}\nkind: benign\n")
    releases.put(tmp_path / "night/a.txt", "Who lit it?\n")
    releases.put(tmp_path / "day/b.txt", b"\xff\xfe")
    bad, good = list(build(ComponentKind.DATASET, "images", options).rows())
    assert isinstance(good, Item)
    assert (good.question, good.kind) == ("Who lit it?", "benign")
    assert isinstance(bad, DatasetError)
    assert "not UTF-8" in str(bad)
    (tmp_path / "night/a.txt").unlink()
    rows = list(build(ComponentKind.DATASET, "images", options).rows())
    assert isinstance(rows[1], EmptyTextError)


def test_links_in_a_folder_of_images_lead_nowhere_else(tmp_path: Path) -> None:
    outside = releases.put(tmp_path / "outside/c.png", releases.png())
    options = releases.own_images(tmp_path / "set")
    (tmp_path / "set/day/c.png").symlink_to(outside)
    (tmp_path / "set/more").symlink_to(outside.parent)
    (tmp_path / "set/circle").symlink_to(tmp_path / "set")
    rows = list(build(ComponentKind.DATASET, "images", options).rows())
    assert [row.id for row in rows if isinstance(row, Item)] == ["day/b.png", "night/a.png"]
    assert ["outside" in str(row) for row in rows if isinstance(row, DatasetError)] == [True]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_guessed_mapping_reads_the_table(ending: str, tmp_path: Path) -> None:
    path = put_table(tmp_path / f"my lanterns.{ending}", ROWS)
    found = guess(path)
    assert found.path == tmp_path / "my lanterns.mapping.yaml"
    rows = table(path, found.text)
    assert [row.kind.value for row in rows if isinstance(row, Item)] == ["harmful", "benign"]
    assert build(ComponentKind.DATASET, "table", {"path": path}).label == "table/my-lanterns"
    assert found.doubts == ()


@pytest.mark.parametrize(
    ("column", "values", "harmful", "benign"),
    [
        ("is_safe", ("1", "0"), ["0"], ["1"]),
        ("harmful", ("true", "false"), ["true"], ["false"]),
        ("label", ("Safe", "Unsafe"), ["Unsafe"], ["Safe"]),
    ],
)
def test_a_kind_is_guessed_where_its_words_are_sure(
    column: str, values: tuple[str, str], harmful: list[str], benign: list[str], tmp_path: Path
) -> None:
    rows = [{"id": i, "question": "How?", column: value} for i, value in enumerate(values)]
    kind = yaml.safe_load(guess(put_table(tmp_path / "a.csv", rows)).text)["kind"]
    assert kind == {"column": column, "harmful": harmful, "benign": benign}


def test_a_bare_label_of_0_and_1_is_not_guessed(tmp_path: Path) -> None:
    """Half of the published tables write 1 for safe, half for harmful."""
    rows = [{"id": i, "question": "How?", "label": i} for i in (0, 1)]
    found = guess(put_table(tmp_path / "a.csv", rows))
    assert yaml.safe_load(found.text)["kind"] == "harmful"
    assert any("surely" in doubt for doubt in found.doubts)


def test_no_text_of_a_row_gets_into_a_mapping(tmp_path: Path) -> None:
    rows = [{"question": "A word nobody else says?", "label": "safe", "topic": "hidden topic"}]
    text = guess(put_table(tmp_path / "a.csv", rows)).text
    assert "nobody" not in text
    assert "hidden" not in text


def test_a_hostile_column_name_stays_a_name(tmp_path: Path) -> None:
    name = "image\n!!python/object"
    rows = [{"question": "How?", name: releases.cell("red")}]
    path = put_table(tmp_path / "a.parquet", rows)
    assert yaml.safe_load(guess(path).text)["images"] == [name]
    assert isinstance(table(path, guess(path).text)[0], Item)


def test_what_cannot_be_guessed_says_so(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="columns: a, b"):
        guess(put_table(tmp_path / "a.csv", [{"a": 1, "b": 2}]))
    with pytest.raises(DatasetError, match="neither a folder"):
        guess(tmp_path / "a.xlsx")
    with pytest.raises(DatasetError, match="no image"):
        guess(releases.put(tmp_path / "empty/notes.md", "").parent)


def test_a_guessed_mapping_reads_the_folder(tmp_path: Path) -> None:
    releases.own_images(tmp_path)
    found = guess(tmp_path)
    releases.put(found.path, found.text)
    rows = list(build(ComponentKind.DATASET, "images", {"root": tmp_path}).rows())
    assert [row.scenario for row in rows if isinstance(row, Item)] == ["day", "night"]
    assert any("described" in doubt for doubt in found.doubts)
    for name in ("night/a.txt", "day/b.txt"):
        releases.put(tmp_path / name, "Who lit it?")
    assert "beside: .txt" in guess(tmp_path).text
