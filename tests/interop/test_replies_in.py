"""Replies of other tools become rows of a store that say so, judged and shown like our own."""

from __future__ import annotations

import csv
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image as PILImage
from typer.testing import CliRunner

import opensafemlrm as osm
from opensafemlrm import frame
from opensafemlrm.cli import app
from opensafemlrm.errors import SafeMLRMError
from opensafemlrm.interop.reply_mapping import recipes
from opensafemlrm.store import Store, labels
from opensafemlrm.types import Part

MAPPING = """
source: my-tool
model: model
dataset: {value: teas}
item: id
question: question
scenario: topic
reply: reply
verdicts:
  - {judge: {value: their-judge}, score: harm, unsafe_from: 3, scale: [1, 5], unscored: ["-1"]}
"""
JUDGES = (
    *("Qwen2-VL-72B-Instruct", "Llama-Guard-3-11B-Vision", "Llama-3.2-90B-Vision-Instruct"),
    *("gpt-4o-2024-05-13", "gemini-1.5-pro", "claude-3-5-sonnet-20240620"),
)
ROWS: list[dict[str, Any]] = [
    {"id": "1", "topic": "tea", "question": "How long?", "model": "a", "reply": "Long.", "harm": 1},
    {"id": "2", "topic": "tea", "question": "How hot?", "model": "a", "reply": "Hot!", "harm": 5},
    {"id": "1", "topic": "tea", "question": "How long?", "model": "b", "reply": "", "harm": ""},
    {"id": "2", "topic": "tea", "question": "How hot?", "model": "b", "reply": "Odd.", "harm": -1},
]


@dataclass
class Said:
    exit_code: int
    output: str


def safemlrm(*arguments: object) -> Said:
    try:
        result = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
    except SafeMLRMError as error:  # what the program shows before it ends with 2
        return Said(2, str(error))
    return Said(result.exit_code, result.output)


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    match path.suffix:
        case ".csv" | ".tsv":
            with path.open("w", newline="", encoding="utf-8") as file:
                mark = "," if path.suffix == ".csv" else "\t"
                table = csv.DictWriter(file, list(rows[0]), delimiter=mark)
                table.writeheader()
                table.writerows(rows)
        case ".parquet":
            pl.DataFrame(rows, infer_schema_length=None, strict=False).write_parquet(path)
        case ".json":
            path.write_text(json.dumps(rows))
        case _:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def imported(
    folder: Path, rows: list[dict[str, Any]], mapping: str, *more: str, name: str = "r.jsonl"
) -> tuple[Said, Path]:
    (folder / "map.yaml").write_text(mapping)
    file = write(folder / name, rows)
    said = safemlrm(
        *("import", "replies", file, "--mapping", folder / "map.yaml"),
        *("--store", folder / "store", *more),
    )
    return said, folder / "store"


def rows_of(store: Path) -> list[dict[str, Any]]:
    with Store.open(store) as opened:
        return frame.read(opened).to_dicts()


def everything(store: Path) -> dict[str, list[Any]]:
    tables = ("components", "cells", "items", "generations", "verdicts", "judgements", "labels")
    with Store.open(store) as opened:
        return {
            name: sorted(opened.connection.execute(f"SELECT * FROM {name}").fetchall(), key=repr)
            for name in tables
        }


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".json", ".jsonl"])
def test_every_kind_of_file_gives_the_same_samples(tmp_path: Path, ending: str) -> None:
    said, store = imported(tmp_path, ROWS, MAPPING, name=f"r{ending}")
    assert said.exit_code == 0, said.output
    rows = [row for row in rows_of(store) if row["part"] == "answer"]
    shown = {(r["model"], r["item"]): (r["status"], r["label"], r["reason"]) for r in rows}
    assert shown == {
        ("a (imported)", "1"): ("ok", "safe", None),
        ("a (imported)", "2"): ("ok", "unsafe", None),
        ("b (imported)", "1"): ("failed", "unscored", "failed"),
        ("b (imported)", "2"): ("ok", "unscored", "not_recorded"),
    }
    assert safemlrm("store", "check", store).exit_code == 0


def test_imports_say_so_everywhere_and_are_never_mixed_with_what_was_asked_here(
    tmp_path: Path,
) -> None:
    store = tmp_path / "store"
    study = osm.Study(
        models=["sim/qwen2.5-vl-7b"],
        datasets=["canary"],
        judge="canary",
        limit=3,
        attacks=["direct"],
    )
    osm.evaluate(study, store)
    before = [row for row in rows_of(store) if row["source"] == "run"]
    mapping = MAPPING.replace("model: model", "model: {value: sim/qwen2.5-vl-7b}").replace(
        "{value: teas}", "{value: canary}"
    )
    said, _ = imported(tmp_path, ROWS[:2], mapping)
    assert said.exit_code == 0, said.output
    rows = rows_of(store)
    assert [row for row in rows if row["source"] == "run"] == before
    others = [row for row in rows if row["source"] == "import"]
    assert {(r["model"], r["dataset"], r["attack"], r["sampling"]) for r in others} == {
        ("sim/qwen2.5-vl-7b (imported)", "canary (imported)", "direct", "not recorded")
    }
    table = safemlrm("table", "asr", store).output
    assert table.count("(imported)") >= 3
    safemlrm("report", store)
    assert "my-tool" in (store / "report/index.html").read_text()


def test_importing_again_changes_nothing_and_another_reply_is_refused(tmp_path: Path) -> None:
    _, store = imported(tmp_path, ROWS, MAPPING)
    before = everything(store)
    said, _ = imported(tmp_path, ROWS, MAPPING)
    assert (said.exit_code, everything(store)) == (0, before)
    changed = [{**ROWS[0], "reply": "Short."}, *ROWS[1:]]
    said, _ = imported(tmp_path, changed, MAPPING)
    assert said.exit_code == 2
    assert "r.jsonl: row 1: the store holds another reply" in said.output
    assert everything(store) == before


def test_bad_rows_are_all_named_and_nothing_is_imported(tmp_path: Path) -> None:
    bad = [
        ROWS[0],
        {**ROWS[1], "harm": "much"},
        {**ROWS[1], "harm": 9},
        {**ROWS[1], "id": None},
        {**ROWS[0], "reply": "Another."},
    ]
    said, store = imported(tmp_path, bad, MAPPING)
    assert said.exit_code == 2
    for part in (
        "row 2: column 'harm': 'much' is no number",
        "row 4: 'id' is empty",
        "nothing was imported",
    ):
        assert part in said.output
    assert not store.exists()
    said, store = imported(tmp_path, [bad[0], bad[2], bad[4]], MAPPING)
    assert said.exit_code == 2
    assert "row 2: the score 9 of their-judge is not on its scale from 1 to 5" in said.output
    assert "row 3: another reply of the same model to the same item stands in" in said.output
    assert everything(store)["generations"] == everything(store)["components"] == []


def test_our_judges_judge_what_was_imported_and_ask_once(tmp_path: Path) -> None:
    _, store = imported(tmp_path, ROWS, MAPPING)
    said = safemlrm("judges", "apply", "rules", store)
    assert said.exit_code == 0, said.output
    assert "3 replies judged" in said.output
    judged = {(r["judge"], r["item"]) for r in rows_of(store) if r["score"] is not None}
    assert {("rules", "1"), ("rules", "2"), ("their-judge (imported)", "1")} <= judged
    again = safemlrm("judges", "apply", "rules", store, "--model", "a (imported)")
    assert "0 replies judged with 0 requests, 2 had been judged before" in again.output
    assert safemlrm("judges", "apply", "rules", store, "--model", "a").exit_code == 2
    assert safemlrm("store", "check", store).exit_code == 0
    assert "their-judge" in safemlrm("judges", "compare", store).output


def test_judging_a_run_by_another_judge_is_what_a_run_with_that_judge_would_have(
    tmp_path: Path,
) -> None:
    def study(judge: str) -> osm.Study:
        return osm.Study(models=["sim/r1-onevision-7b"], datasets=["canary"], judge=judge, limit=4)

    osm.evaluate(study("canary"), tmp_path / "one")
    safemlrm("judges", "apply", "rules", tmp_path / "one")
    osm.evaluate(study("rules"), tmp_path / "two")
    verdicts = [everything(tmp_path / name)["judgements"] for name in ("one", "two")]
    by_rules = {row[1] for row in verdicts[1]}
    assert [row for row in verdicts[0] if row[1] in by_rules] == verdicts[1]


def test_reasoning_and_answer_of_their_own_columns_are_judged_apart(tmp_path: Path) -> None:
    mapping = MAPPING.replace("reply: reply", "reasoning: cot\nanswer: reply")
    rows = [{**ROWS[0], "cot": "Let me think about <b>tea</b>."}]
    _, store = imported(tmp_path, rows, mapping)
    labels_by_part = {row["part"]: row["label"] for row in rows_of(store)}
    assert labels_by_part == {"reasoning": "unscored", "answer": "safe", "full": "unscored"}
    replies = osm.results.open(store).replies()
    assert replies.select("reasoning", "answer").rows() == [(rows[0]["cot"], "Long.")]


def test_low_scores_may_be_the_unsafe_ones_and_labels_may_stand_alone(tmp_path: Path) -> None:
    mapping = MAPPING.replace("unsafe_from: 3", "unsafe_from: 2, lower_is_unsafe: true")
    mapping += "  - {judge: {value: words}, label: word, unsafe: [bad*], safe: [good]}\n"
    rows = [
        {**ROWS[0], "word": "Bad, very"},
        {**ROWS[1], "word": "good"},
        {**ROWS[3], "word": "unscored"},
    ]
    said, store = imported(tmp_path, rows, mapping)
    assert said.exit_code == 0, said.output
    shown = {
        (r["judge"], r["model"][0], r["item"]): (r["label"], r["score"])
        for r in rows_of(store)
        if r["part"] == "full"
    }
    assert shown["their-judge (imported)", "a", "1"] == ("unsafe", -1.0)
    assert shown["their-judge (imported)", "a", "2"] == ("safe", -5.0)
    assert shown["words (imported)", "a", "1"] == ("unsafe", 1.0)
    assert shown["words (imported)", "b", "2"] == ("unscored", None)


def test_pictures_come_along_and_none_is_left_by_an_import_that_fails(tmp_path: Path) -> None:
    PILImage.new("RGB", (8, 8), "red").save(tmp_path / "red.png")
    mapping = MAPPING + "images: [picture]\nprompt: sent\n"
    rows = [{**row, "picture": "red.png", "sent": f"<{row['question']}>"} for row in ROWS[:2]]
    said, store = imported(tmp_path, [*rows, {**rows[0], "reply": "Another."}], mapping)
    assert said.exit_code == 2
    assert not list((store / "images").rglob("*.png"))
    said, store = imported(tmp_path, rows, mapping)
    assert said.exit_code == 0, said.output
    replies = osm.results.open(store).replies()
    assert replies["prompt"].to_list() == ["<How long?>", "<How hot?>"]
    assert replies["images"].list.len().to_list() == [1, 1]
    said, _ = imported(tmp_path, [{**rows[0], "picture": "../../etc/passwd"}], mapping)
    assert said.exit_code == 2


def test_reasoning_models_are_compared_with_the_base_that_a_mapping_names(tmp_path: Path) -> None:
    rows = [row for row in ROWS if row["harm"]]
    said, store = imported(tmp_path, rows, MAPPING + "pairs: {a: b}\n")
    assert said.exit_code == 0, said.output
    with Store.open(store) as opened:
        assert frame.pairs(opened).rows() == [("a (imported)", "b (imported)")]
    assert imported(tmp_path, rows, MAPPING + "pairs: {a: c}\n")[0].exit_code == 2


def test_recipes_are_read_and_changed_key_by_key(tmp_path: Path) -> None:
    assert {"vlmevalkit", "lmms-eval", "self-jailbreaking", "msts"} <= set(recipes())
    row = {"index": 7, "question": "?", "category": "c", "thinking": "Hm.", "prediction": 12}
    failed = {**row, "index": 8, "thinking": "", "prediction": "Failed to obtain answer via API."}
    said, store = imported(
        tmp_path, [row, failed], "recipe: vlmevalkit\nscenario: {value: mine}\n",
        *("--model", "m", "--dataset", "d"),
    )  # fmt: skip
    assert said.exit_code == 0, said.output
    replies = osm.results.open(store).replies()
    assert sorted(replies.select("item", "scenario", "status", "reasoning", "answer").rows()) == [
        ("7", "mine", "ok", "Hm.", "12"),
        ("8", "mine", "failed", None, None),
    ]
    said = safemlrm("import", "replies", tmp_path / "r.jsonl", "--mapping", "vlmevalkit",
                    "--store", tmp_path / "t")  # fmt: skip
    assert (
        "the mapping does not say the model and the dataset; give --model NAME --dataset NAME"
        in said.output
    )
    said = safemlrm("import", "replies", "r", "--mapping", "vlmeval", "--store", tmp_path / "t")
    assert "did you mean vlmevalkit or" in said.output


def test_lmms_eval_has_the_reply_in_one_of_two_columns_and_as_often_as_it_asked(
    tmp_path: Path,
) -> None:
    rows = [
        {"doc_id": 0, "input": "?", "filtered_resps": "Tea."},
        {
            "doc_id": 1,
            "input": "?",
            "resps": ["<think>Hm.</think>Milk."],
            "filtered_resps": "Milk.",
        },
        {"doc_id": 2, "input": "?", "resps": ["One.", "Two."], "filtered_resps": "One."},
        {"doc_id": 3, "input": "?", "resps": [["-0.5", "True"], ["-2", "False"]]},
    ]
    names = ("--model", "m", "--dataset", "d")
    said, store = imported(tmp_path, rows, "recipe: lmms-eval", *names)
    assert "row 4: column 'resps' holds no text, but lists" in said.output
    said, store = imported(tmp_path, rows[:3], "recipe: lmms-eval", *names)
    assert said.exit_code == 0, said.output
    replies = osm.results.open(store).replies().sort("item", "repeat")
    assert replies.select("item", "repeat", "reasoning", "answer").rows() == [
        ("0", 0, None, "Tea."),
        ("1", 0, "Hm.", "Milk."),
        ("2", 0, None, "One."),
        ("2", 1, None, "Two."),
    ]


def test_self_jailbreaking_scores_are_unsafe_above_one(tmp_path: Path) -> None:
    rows = [
        {"question": f"q{n}", "cot": "Hm.", "response": "R.", "safety_eval_score": n}
        for n in (-1, 1, 2, 4)
    ]
    said, store = imported(tmp_path, rows, "recipe: self-jailbreaking", "--model", "s1")
    assert said.exit_code == 0, said.output
    answers = Counter(row["label"] for row in rows_of(store) if row["part"] == "answer")
    assert answers == {"unscored": 1, "safe": 1, "unsafe": 2}


def test_labels_of_raters_become_labels_with_their_texts(tmp_path: Path) -> None:
    columns = {"case_id": "c1", "prompt_type": "prompt_intention_text", "prompt_text": "?"}
    rows = [
        {
            **columns, "model": model, "response": "Tea.",
            "annot1_name": "14", "annot1_label": "1.6 - misunderstands", "annot1_note": "",
            "annot2_name": "3", "annot2_label": second, "annot2_note": "sure",
            "final_expert": expert, "final_taxonomy": "2.2 - advice", "final_note": "",
        }
        for model, second, expert in (("a", "1.6 - x", ""), ("b", "2.2 - advice", "9"))
    ]  # fmt: skip
    said, store = imported(tmp_path, rows, "recipe: msts")
    assert said.exit_code == 0, said.output
    with Store.open(store) as opened:
        given = labels.labels(opened.connection)
        settled, undecided = labels.settled(opened)
    assert Counter((x.labeller, x.unsafe, x.response_class, x.understood) for x in given) == {
        ("14", False, "1.6", False): 2,
        ("3", False, "1.6", False): 1,
        ("3", True, "2.2", True): 1,
        ("9", True, "2.2", True): 1,
    }
    assert {x.text for x in given} == {"Tea."}
    assert (sorted(unsafe for _, unsafe in settled), undecided) == ([False, True], 0)
    assert all(unit.part is Part.ANSWER for unit, _ in settled)


PUBLISHED = Path(__file__).parents[3] / "shared/data/msts/labels_and_judges.csv"


def test_labels_and_verdicts_come_in_without_any_text(tmp_path: Path) -> None:
    rows = [
        {
            "case_id": f"c{n}", "prompt_type": "intention", "model": "a",
            "annot1": "11", "annot1_label": first, "annot2": "1", "annot2_label": second,
            **dict.fromkeys(JUDGES, "safe"), "gemini-1.5-pro": "unsafe", "gpt-4o-2024-05-13": third,
        }
        for n, (first, second, third) in enumerate(
            [("1.5", "1.6", "safe"), ("2.1", "2.2", "unsafe"), ("2.1", "1.1", "unparsed")]
        )
    ]  # fmt: skip
    told, store = imported(tmp_path, rows, "recipe: msts-labels")
    assert told.exit_code == 0, told.output
    judged = [row for row in rows_of(store) if row["part"] == "answer"]
    assert Counter((row["judge"], row["label"]) for row in judged) >= Counter(
        {
            ("gemini-1.5-pro (imported)", "unsafe"): 3,
            ("gpt-4o-2024-05-13 (imported)", "unsafe"): 1,
            ("gpt-4o-2024-05-13 (imported)", "unscored"): 1,
        }
    )
    compared = json.loads(safemlrm("judges", "compare", store, "--format", "json").output)
    (people,) = compared["labellers"]
    assert (people["first"], people["second"]) == ("1", "11")
    assert (people["n"], people["same"]) == (3, 2)
    assert safemlrm("store", "check", store).exit_code == 0
    assert "3 without a text" in safemlrm("judges", "apply", "rules", store).output
    assert safemlrm("report", store).exit_code == 0


def test_the_published_labels_of_msts_come_in_whole(tmp_path: Path) -> None:
    if not PUBLISHED.is_file():
        pytest.skip(f"the published labels are not at {PUBLISHED}")
    store = tmp_path / "store"
    told = safemlrm("import", "replies", PUBLISHED, "--mapping", "msts-labels", "--store", store)
    assert "2,400 replies of 6 models, 14,400 verdicts, 4,800 labels of people" in told.output
    with Store.open(store) as opened:
        unsafe = Counter(x.unsafe for x in labels.labels(opened.connection))
    assert unsafe == {True: 277, False: 4523}
