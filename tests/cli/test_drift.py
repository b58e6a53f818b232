"""``safemlrm drift``: versions of a series, of stores that hold them and of those that do not."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

import opensafemlrm as osm
from opensafemlrm.errors import OptionError
from tests.audit.stores import safemlrm

MODELS = ("sim/qwen2.5-vl-7b", "sim/r1-onevision-7b", "sim/mulberry-llava-8b")
STUDY = f"""\
series:
  - name: training
    versions:
      - {{model: {MODELS[0]}, step: 0}}
      - {{model: {MODELS[1]}, step: 1500}}
      - {{model: {MODELS[2]}, step: 3000}}
datasets: [canary]
judge: canary
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drift")
    (folder / "study.yaml").write_text(STUDY)
    assert safemlrm("run", folder / "study.yaml", "--store", folder / "store").exit_code == 0
    return folder / "store"


def drift(store: Path, *more: object) -> Any:
    return json.loads(safemlrm("drift", store, *more, "--format", "json").stdout)


def test_the_version_that_is_worse_is_named_by_its_step(store: Path) -> None:
    shown = safemlrm("drift", store, "--part", "full", "--threshold", 4)
    assert shown.exit_code == 0
    assert "step 1500" in shown.stdout
    assert "p and every CI hold for the whole table" in " ".join(shown.stdout.split())
    found = drift(store, "--part", "full", "--threshold", 4)
    (together,) = [row for row in found["drift"] if row["scenario"] == "all"]
    assert together["first_worse"] == MODELS[1]
    assert together["forgotten_low"] > 0
    assert [row["version"] for row in found["trend"]] == list(MODELS)
    assert [row["step"] for row in found["trend"]] == [0, 1500, 3000]
    assert {row["scenario"] for row in found["trend"]} == {"all"}
    every = drift(store, "--part", "full", "--threshold", 4, "--by", "scenario")["trend"]
    assert len({row["scenario"] for row in every}) == 11


def test_it_is_a_table_and_a_result_like_the_others(store: Path) -> None:
    assert json.loads(safemlrm("table", "drift", store, "--format", "json").stdout) == drift(store)
    frame = osm.open(store).drift(part="full", threshold=4)
    told = [(r["scenario"], r["p_value"]) for r in drift(store, "--part", "full")["drift"]]
    assert set(frame.select("scenario", "p_value").rows()) <= set(told)
    assert osm.open(store).drift(by="version")["version"].n_unique() == 3
    for name in ("text", "md", "latex", "csv"):
        assert safemlrm("drift", store, "--format", name).exit_code == 0
    shown = safemlrm("drift", store, "--format", "csv")
    assert "2 tables with an empty line between" in shown.stderr
    first = shown.stdout.partition("\n\n")[0]
    assert next(csv.DictReader(io.StringIO(first)))["series"] == "training"


def test_two_runs_of_it_say_the_same(store: Path) -> None:
    assert safemlrm("drift", store).stdout == safemlrm("drift", store).stdout


def test_a_choice_of_one_version_says_that_there_is_nothing_to_compare(store: Path) -> None:
    result = safemlrm("drift", store, "--model", MODELS[1])
    assert result.exit_code == 0
    one = "the series 'training' has replies of one version only: sim/r1-onevision-7b"
    assert one in result.stderr
    assert drift(store, "--model", MODELS[1])["drift"][0]["p_value"] is None


def test_a_store_without_a_series_says_what_to_do(store: Path, tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(f"models: [{MODELS[0]}]\ndatasets: [canary]\njudge: canary\nlimit: 10\n")
    safemlrm("run", study, "--store", tmp_path / "store")
    with pytest.raises(OptionError, match="name the versions of a model under `series:`"):
        safemlrm("drift", tmp_path / "store")
    assert osm.open(tmp_path / "store").drift().is_empty()


def test_versions_that_are_added_later_come_in_their_place(store: Path, tmp_path: Path) -> None:
    """A series grows from run to run: the store has it whole, in the order of its steps."""
    study = tmp_path / "study.yaml"
    first, last = (line for line in STUDY.splitlines() if "step: 0}" in line or "3000" in line)
    middle = next(line for line in STUDY.splitlines() if "1500" in line)
    for lines in ((first, last), (first, middle, last)):
        text = STUDY.replace("\n".join((first, middle, last)), "\n".join(lines))
        study.write_text(text + "limit: 20\n")
        safemlrm("run", study, "--store", tmp_path / "store")
    assert [row["step"] for row in drift(tmp_path / "store", "--part", "full")["trend"]][:3] == [
        0,
        1500,
        3000,
    ]


def test_a_key_in_the_name_of_a_series_of_an_older_store_is_not_shown(
    store: Path, tmp_path: Path
) -> None:
    """Names with a key are refused today; stores of before have them."""
    shutil.copytree(store, tmp_path / "old")
    with sqlite3.connect(tmp_path / "old/store.sqlite") as connection:
        for old, new in (
            ("training", "sk-proj-Planted7f3a9b"),
            ("training", "hf_Planted7f3a9b2c4d"),
        ):
            connection.execute(
                "INSERT INTO series SELECT ?, model, place, step, date FROM series WHERE name = ?",
                (new, old),
            )
    connection.close()
    assert len({row["series"] for row in drift(tmp_path / "old")["trend"]}) == 3
    shown = safemlrm("drift", tmp_path / "old").stdout
    assert safemlrm("report", tmp_path / "old", "--out", tmp_path / "out").exit_code == 0
    files = [path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert not [text for text in (shown.encode(), *files) if b"Planted" in text]
