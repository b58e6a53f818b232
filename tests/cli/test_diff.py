"""``safemlrm diff``: what changed between two stores, or two studies."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from opensafemlrm.text import Format
from tests.audit.stores import edited, safemlrm

STUDY = """\
models: [sim/r1-onevision-7b, sim/qwen2.5-vl-7b]
datasets: [canary]
attacks: [direct]
judge: canary
limit: 100
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two studies, of which the second has another model and one attack more, and their stores."""
    path = tmp_path_factory.mktemp("diff")
    (path / "a.yaml").write_text(STUDY)
    other = STUDY.replace("r1-onevision-7b", "mm-eureka-qwen-7b").replace(
        "direct]", "direct, typo]"
    )
    (path / "b.yaml").write_text(other)
    for name in ("a", "b"):
        assert safemlrm("run", path / f"{name}.yaml", "--store", path / name).exit_code == 0
    return path


def tables(*arguments: object) -> dict[str, list[dict[str, Any]]]:
    result = safemlrm("diff", *arguments, "--format", "json")
    assert result.exit_code == 0
    printed = json.loads(result.stdout)
    return printed if isinstance(printed, dict) else {"diff_cells": printed}


def changes(rows: list[dict[str, Any]]) -> dict[tuple[str, str], str]:
    return {(row["model"], row["attack"]): row["change"] for row in rows}


CELLS = {
    ("sim/r1-onevision-7b", "direct"): "only in A",
    ("sim/mm-eureka-qwen-7b", "direct"): "only in B",
    ("sim/mm-eureka-qwen-7b", "typo"): "only in B",
    ("sim/qwen2.5-vl-7b", "typo"): "only in B",
    ("sim/qwen2.5-vl-7b", "direct"): "same",
}


def test_cells_of_two_stores_and_of_two_studies_are_told_apart(folder: Path) -> None:
    assert changes(tables(folder / "a", folder / "b")["diff_cells"]) == CELLS
    assert changes(tables(folder / "a.yaml", folder / "b.yaml")["diff_cells"]) == CELLS


def test_a_store_and_itself_differ_in_nothing(folder: Path) -> None:
    printed = tables(folder / "a", folder / "a")
    assert {row["change"] for row in printed["diff_cells"]} == {"same"}
    assert printed["diff_verdicts"] == []
    measured = [row for row in printed["diff_figures"] if row["method"] != "none"]
    assert {row["difference"] for row in measured} == {0.0}


def test_one_changed_verdict_is_found_with_its_item(folder: Path, tmp_path: Path) -> None:
    statement = (
        "UPDATE verdicts SET score = 5, label = 'unsafe' WHERE key = (SELECT answer FROM "
        "judgements j JOIN verdicts v ON v.key = j.answer WHERE v.score = 3 LIMIT 1)"
    )
    other = edited(folder / "a", tmp_path / "other", statement)
    printed = tables(folder / "a", other, "--part", "answer")
    flips = printed["diff_verdicts"]
    assert flips
    assert {(row["label_a"], row["label_b"], row["score_b"]) for row in flips} == {
        ("safe", "unsafe", 5)
    }
    assert all(row["same_reply"] for row in flips)
    up = sum(row["up"] for row in printed["diff_figures"] if row["threshold"] == 4)
    assert up == len(flips)


def test_a_model_is_compared_with_what_came_after_it(folder: Path) -> None:
    import opensafemlrm as osm

    rename = "sim/r1-onevision-7b=sim/mm-eureka-qwen-7b"
    printed = tables(folder / "a", folder / "b", "--rename", rename, "--part", "answer")
    rows = {
        (row["figure"], row["threshold"]): row
        for row in printed["diff_figures"]
        if row["model"] == "sim/mm-eureka-qwen-7b"
    }
    row = rows["asr", 4]
    for end, name in (("a", "r1-onevision-7b"), ("b", "mm-eureka-qwen-7b")):
        rates = osm.open(folder / end).asr(part="answer", threshold=4)
        rates = rates.filter(model=f"sim/{name}", attack="direct")
        assert row[f"rate_{end}"] == pytest.approx(rates["asr"][0])
    assert row["method"] == "paired"
    assert row["low"] < row["difference"] < row["high"]
    assert row["difference"] == pytest.approx(row["rate_b"] - row["rate_a"])
    flips = [row for row in printed["diff_verdicts"] if row["model"] == "sim/mm-eureka-qwen-7b"]
    assert len(flips) == row["up"] + row["down"]
    assert row["p_holm"] >= row["p_value"]


def test_two_studies_of_one_store_are_compared_by_their_cells(folder: Path) -> None:
    store = folder / "both"
    for name in ("a", "b"):
        safemlrm("run", folder / f"{name}.yaml", "--store", store)
    printed = tables(folder / "a.yaml", folder / "b.yaml", "--store", store, "--by", "scenario")
    assert {row["model"] for row in printed["diff_figures"]} == {"sim/qwen2.5-vl-7b"}
    assert len({row["scenario"] for row in printed["diff_figures"]}) == 10
    shutil.rmtree(store)


@pytest.mark.parametrize("to", Format)
def test_it_is_printed_in_every_format(folder: Path, to: Format) -> None:
    result = safemlrm("diff", folder / "a", folder / "b", "--no-flips", "--format", to.value)
    assert result.exit_code == 0
    words = {Format.LATEX: r"\toprule", Format.CSV: "model,dataset,attack", Format.JSON: '"change"'}
    assert words.get(to, "only in B") in result.stdout
    if to is Format.CSV:
        first = result.stdout.split("\n\n")[0]
        assert len(list(csv.DictReader(io.StringIO(first)))) == len(CELLS)


@pytest.mark.parametrize(
    ("rename", "words"), [("one", "is not such as OLD=NEW"), ("one=two", "nothing called 'one'")]
)
def test_a_name_that_cannot_be_is_refused(folder: Path, rename: str, words: str) -> None:
    result = safemlrm("diff", folder / "a", folder / "b", "--rename", rename)
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.replace("│", " ").split())
