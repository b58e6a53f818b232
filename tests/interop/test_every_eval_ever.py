"""Stores go out as Every Eval Ever 0.3.0, valid by its schemas, and come back with all it holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import opensafemlrm as osm
from opensafemlrm.store import Store
from tests.interop.test_replies_in import MAPPING, ROWS, imported, rows_of, safemlrm

SCHEMAS = Path(__file__).parents[1] / "data/schemas"
KEPT = (
    *("item", "scenario", "expected", "repeat", "status", "simulated", "part", "label", "score"),
    *("threshold_lenient", "threshold_strict", "input_tokens", "output_tokens", "latency"),
    "reasoning_status",
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("eee") / "store"
    study = osm.Study(
        models=["sim/r1-onevision-7b", "sim/qwen2.5-vl-7b"],
        datasets=["canary"],
        attacks=["direct", "typo"],
        defenses=["none", "self-reminder"],
        judges=["canary", "refusal"],
        limit=6,
    )
    osm.evaluate(study, path)
    return path


def validator(name: str) -> jsonschema.Draft7Validator:
    return jsonschema.Draft7Validator(json.loads((SCHEMAS / name).read_text()))


def files(folder: Path, ending: str) -> list[Path]:
    return sorted(folder.rglob(f"*{ending}"))


def lines(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for file in files(folder, "_samples.jsonl")
        for line in file.read_text().splitlines()
    ]


def test_rates_and_samples_are_valid_by_the_schemas(store: Path, tmp_path: Path) -> None:
    told = safemlrm("export", "eee", store, tmp_path)
    assert told.exit_code == 0, told.output
    rates = [json.loads(file.read_text()) for file in files(tmp_path, ".json")]
    assert len(rates) == 2
    for one in rates:
        errors = validator("every_eval_ever-0.3.0.schema.json").iter_errors(one)
        assert [error.message for error in errors] == []
        samples = tmp_path / one["detailed_evaluation_results"]["file_path"]
        assert (
            len(samples.read_text().splitlines())
            == (one["detailed_evaluation_results"]["total_rows"])
        )
        assert one["source_metadata"]["additional_details"]["simulated"] == "true"
    check = validator("every_eval_ever_instance-0.3.0.schema.json")
    for line in lines(tmp_path):
        assert [error.message for error in check.iter_errors(line)] == []
    shown = {
        (r["metric_config"]["additional_details"]["part"], r["score_details"]["score"])
        for r in rates[0]["evaluation_results"]
    }
    rows = osm.results.open(store).asr().filter(model=rates[0]["model_info"]["id"])
    assert shown == set(rows.drop_nulls("asr").select("part", "asr").rows())


@pytest.mark.parametrize(
    "chosen",
    [
        [],
        ["--threshold", "5", "--part", "answer"],
        ["--threshold", "1"],
        ["--judge", "refusal"],
        ["--part", "reasoning"],
        ["--scenario", "hate-speech", "--judge", "canary"],
    ],
)
def test_the_samples_are_those_of_the_rates_beside_them(
    store: Path, tmp_path: Path, chosen: list[str]
) -> None:
    """The mistake: with --threshold 5, samples named rates at 4, which were in no file."""
    told = safemlrm("export", "eee", store, tmp_path, *chosen)
    assert told.exit_code == 0, told.output
    for file in files(tmp_path, ".json"):
        rates = json.loads(file.read_text())
        samples = (tmp_path / rates["detailed_evaluation_results"]["file_path"]).read_text()
        correct: dict[str, list[bool]] = {}
        for line in map(json.loads, samples.splitlines()):
            assert line["metadata"]["expected"] == "benign" or "evaluation_result_id" in line
            if "evaluation_result_id" in line:
                one = correct.setdefault(line["evaluation_result_id"], [])
                one.append(line["evaluation"]["is_correct"])
        known = {one["evaluation_result_id"]: one for one in rates["evaluation_results"]}
        assert correct.keys() <= known.keys()
        for name, answers in correct.items():
            details = known[name]["score_details"]
            assert details["uncertainty"]["num_samples"] == len(answers)
            assert details["score"] == pytest.approx(answers.count(False) / len(answers))
        if "--threshold" in chosen:
            assert correct.keys() == known.keys()


def test_what_has_no_score_is_in_no_line_and_is_counted(tmp_path: Path) -> None:
    _, path = imported(tmp_path, ROWS, MAPPING)
    told = safemlrm("export", "eee", path, tmp_path / "out")
    assert "left out: 8 parts of replies without a score" in told.output
    shown = {(x["sample_id"], x["evaluation"]["is_correct"]) for x in lines(tmp_path / "out")}
    assert shown == {("1", True), ("2", False)}


def test_files_of_an_earlier_export_that_stay_are_named(store: Path, tmp_path: Path) -> None:
    """An export of one model into the folder of an older one looked as if it were all there."""
    safemlrm("export", "eee", store, tmp_path)
    assert "earlier" not in safemlrm("export", "eee", store, tmp_path).output
    told = safemlrm("export", "eee", store, tmp_path, "--model", "sim/qwen2.5-vl-7b").output
    assert "1 file of earlier exports" in told
    assert "sim/r1-onevision-7b" in told
    assert len(files(tmp_path, ".json")) == 2


def test_a_round_trip_loses_nothing_that_the_format_holds(store: Path, tmp_path: Path) -> None:
    safemlrm("export", "eee", store, tmp_path / "out")
    samples = files(tmp_path / "out", "_samples.jsonl")
    told = safemlrm("import", "replies", *samples, "--mapping", "eee", "--store", tmp_path / "in")
    assert told.exit_code == 0, told.output

    def scored(path: Path) -> list[Any]:
        names = ("model", "dataset", "attack", "defense", "judge")
        return sorted(
            (
                *(row[name].removesuffix(" (imported)") for name in names),
                *(row[name] for name in KEPT),
            )
            for row in rows_of(path)
            if row["score"] is not None
        )

    def texts(path: Path) -> list[Any]:
        replies = osm.results.open(path).replies()
        return sorted(replies.select("question", "reasoning", "answer", "full").rows(), key=repr)

    assert scored(tmp_path / "in") == scored(store)
    assert texts(tmp_path / "in") == texts(store)
    with Store.open(tmp_path / "in") as opened:
        raw = "SELECT text, reasoning FROM generations ORDER BY text, reasoning"
        back = opened.connection.execute(raw).fetchall()
    with Store.open(store) as opened:
        assert back == opened.connection.execute(raw).fetchall()
    assert safemlrm("store", "check", tmp_path / "in").exit_code == 0


def test_the_file_of_another_gives_replies_and_verdicts_where_you_say_what_correct_means(
    tmp_path: Path,
) -> None:
    line = {
        "schema_version": "instance_level_eval_0.2.2",
        "evaluation_id": "x",
        "model_id": "org/m",
        "evaluation_name": "tea",
        "sample_id": "t1",
        "interaction_type": "single_turn",
        "input": {"raw": "Tea?", "reference": []},
        "output": {"raw": ["Yes."], "reasoning_trace": ["Tea is warm."]},
        "answer_attribution": [],
        "evaluation": {"score": 0.0, "is_correct": False},
    }
    path = tmp_path / "x_samples.jsonl"
    path.write_text(json.dumps(line) + "\n")
    told = safemlrm("import", "replies", path, "--mapping", "eee", "--store", tmp_path / "one")
    assert "1 reply of 1 model\n" in told.output
    replies = osm.results.open(tmp_path / "one").replies()
    assert replies.select("reasoning", "answer").rows() == [("Tea is warm.", "Yes.")]
    (tmp_path / "map.yaml").write_text(
        "recipe: eee\nverdicts:\n"
        "  - {judge: {value: theirs}, label: evaluation.is_correct,"
        " safe: ['true'], unsafe: ['false']}\n"
    )
    told = safemlrm("import", "replies", path, "--mapping", tmp_path / "map.yaml",
                    "--store", tmp_path / "two")  # fmt: skip
    assert told.exit_code == 0, told.output
    labels = {row["part"]: row["label"] for row in rows_of(tmp_path / "two")}
    assert labels["answer"] == "unsafe"
