"""``safemlrm datasets``: list, show, check, init, as a person meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from opensafemlrm.cli import app
from opensafemlrm.errors import DatasetError, OptionError, UnknownNameError
from opensafemlrm.registry import ComponentKind, build, names
from tests.datasets import releases


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["datasets", *map(str, arguments)])


def test_list_names_all_there_are() -> None:
    listed = json.loads(run("list", "--format", "json").stdout)
    assert [row["name"] for row in listed] == names(ComponentKind.DATASET)
    assert all(row["licence"] and row["size"] for row in listed)
    text = run("list").stdout
    assert "mossbench" in text
    assert "CC-BY-SA-4.0" in text


@pytest.mark.parametrize("name", names(ComponentKind.DATASET))
def test_show_says_what_a_person_should_know(name: str) -> None:
    text = run("show", name).stdout
    for heading in ("paper", "licence", "source", "size", "harmful or benign", "version"):
        assert f"\n{heading}: " in f"\n{text}"


def test_show_gives_the_shared_ids_of_scenarios() -> None:
    found = json.loads(run("show", "figstep", "--format", "json").stdout)
    assert {row["scenario"]: row["taxonomy"] for row in found["scenarios"]}["Fraud"] == "fraud"
    assert {row["scenario"]: row["hazard"] for row in found["scenarios"]}["Hate Speech"] == "hate"
    assert {row["key"] for row in found["card"]} >= {"title", "options"}


def test_show_of_a_name_that_is_not_there_offers_the_nearest() -> None:
    result = run("show", "mosbench")
    assert isinstance(result.exception, UnknownNameError)
    assert "mossbench" in str(result.exception)


def test_check_of_a_whole_release(tmp_path: Path) -> None:
    options = releases.vlguard(tmp_path)
    result = run("check", "vlguard", "--root", options["root"], "--option", "split=unsafes")
    assert result.exit_code == 2  # three of 1,558 items
    assert "1 of 442 expected items, incomplete" in result.stdout
    path = releases.own_table(tmp_path / "own")["path"]
    result = run("check", "table", "-o", f"path={path}")
    assert result.exit_code == 0, result.output
    assert "table/lanterns: 2 items, nothing bad; its size is not known" in result.stdout


def test_check_counts_each_kind_of_fault_in_its_scenario(tmp_path: Path) -> None:
    options = releases.siuo(tmp_path)
    table = tmp_path / "siuo_gen.json"
    first, second = json.loads(table.read_text())
    repeat = {**first, "question_id": 3}
    empty = {**first, "question_id": 4, "question": ""}
    lost = {**first, "question_id": 5, "image": "S-99.png"}
    broken = {**second, "question_id": 6, "image": "S-06.png", "category": "morality"}
    releases.put(tmp_path / "images/S-06.png", releases.png()[:30])
    releases.put_json(table, [first, second, first, repeat, empty, lost, broken, 7])
    result = run("check", "siuo", "--root", options["root"], "--format", "json")
    assert result.exit_code == 2
    found = {row["scenario"]: row for row in json.loads(result.stdout)}
    danger = found["dangerous behavior"]
    assert danger["taxonomy"] == "physical-harm"
    assert (danger["found"], danger["images"]) == (3, 3)
    assert (danger["missing_images"], danger["duplicates"], danger["repeats"]) == (1, 1, 1)
    assert found["morality"]["broken_images"] == 1
    assert danger["empty_texts"] == 1
    assert found["(not readable)"]["other"] == 1
    text = run("check", "siuo", "--root", options["root"])
    assert "Licence: CC-BY-NC-4.0" in text.stdout
    assert "S-99.png" in text.stderr
    assert "incomplete: 3 of 167 items can be used, 1 images missing" in text.stderr


def test_check_counts_pictures_that_a_release_should_have(tmp_path: Path) -> None:
    options = releases.figstep(tmp_path)
    for path in (tmp_path / "images/SafeBench").iterdir():
        path.unlink()
    result = run("check", "figstep", "--root", options["root"], "--format", "json")
    found = {row["scenario"]: row for row in json.loads(result.stdout)}
    assert found["Fraud"]["missing_images"] == 2
    assert found["Hate Speech"] | {"expected": 50, "found": 0} == found["Hate Speech"]
    assert result.exit_code == 2


def test_check_calls_nothing_complete_whose_size_it_does_not_know(tmp_path: Path) -> None:
    """Data review 3: MSSBench cut to one record of 376 was complete."""
    options = releases.mssbench(tmp_path)
    result = run("check", "mssbench", "--root", options["root"])
    assert result.exit_code == 0, result.output
    assert "8 items, nothing bad; its size is not known" in result.stdout
    tiny = {"root": tmp_path, "tiny": True}
    for scenarios, size in (("study", 126), ("all", 168), ("07-Sex", None)):
        dataset = build(ComponentKind.DATASET, "mm-safetybench", tiny | {"scenarios": scenarios})
        assert dataset.expected().items == size


def test_check_names_scenarios_that_are_in_no_shared_list(tmp_path: Path) -> None:
    """Data review 10: what the map did not know fell out of comparisons without a word."""
    options = releases.siuo(tmp_path)
    first, second = json.loads((tmp_path / "siuo_gen.json").read_text())
    releases.put_json(tmp_path / "siuo_gen.json", [first, {**second, "category": "lanterns"}])
    said = run("check", "siuo", "--root", options["root"]).stderr
    assert "so left out of comparisons by it: 'lanterns'" in said


def test_check_writes_no_escape_sequence_of_the_data(tmp_path: Path) -> None:
    path = releases.own_table(tmp_path)["path"]
    rows = [{"prompt": "How?", "topic": "a\x1b[2Jb", "safety": "safe", "image": "a.png"}]
    releases.put_csv(path, rows)
    result = run("check", "table", "-o", f"path={path}")
    assert result.exit_code == 2
    assert "\x1b" not in result.output


def test_check_of_nothing_says_what_is_needed(tmp_path: Path) -> None:
    for arguments in (["siuo"], ["siuo", "-o", "root"], ["siuo", "-o", "root=[a"]):
        assert isinstance(run("check", *arguments).exception, OptionError)
    result = run("check", "siuo", "--root", tmp_path / "nowhere")
    assert isinstance(result.exception, DatasetError)
    assert "huggingface.co/datasets/sinwang/SIUO" in str(result.exception)


def test_init_then_check(tmp_path: Path) -> None:
    rows = [{"id": 1, "prompt": "How is it lit?", "category": "fraud", "label": "unsafe"}]
    path = releases.put_csv(tmp_path / "lanterns.csv", rows)
    result = run("init", path)
    assert result.exit_code == 0, result.output
    assert "check every line" in (tmp_path / "lanterns.mapping.yaml").read_text()
    assert run("check", "table", "-o", f"path={path}").exit_code == 0
    again = run("init", path)
    assert isinstance(again.exception, OptionError)
    assert "--force" in str(again.exception)
    assert run("init", path, "--force").exit_code == 0


def test_init_of_a_folder_of_images(tmp_path: Path) -> None:
    releases.own_images(tmp_path)
    (tmp_path / "mapping.yaml").unlink()
    result = run("init", tmp_path)
    assert "look at this" in result.stderr
    assert run("check", "images", "--root", tmp_path).exit_code == 0
