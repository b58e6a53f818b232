"""What an import says of columns that are not there, and of what it brought.

A column name with a slip in it once made every row of a JSON file "empty", or every reply failed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from opensafemlrm.store import Store
from tests.interop.test_replies_in import Said, safemlrm, write

ROWS: list[dict[str, Any]] = [
    {"who": "a", "id": "1", "q": "hello", "r": "hi", "harm": "1", "usage": {"out": 3}},
    {"who": "a", "id": "2", "q": "bye", "r": "ciao", "harm": "0", "usage": {"out": 4}},
]
MAPPING: dict[str, Any] = {
    "source": "mine",
    "model": "who",
    "dataset": {"value": "d"},
    "item": "id",
    "question": "q",
    "answer": "r",
    "kind": {"column": "harm", "harmful": ["1"], "benign": ["0"]},
}
ENDINGS = ("csv", "tsv", "json", "jsonl", "parquet")


def read(path: Path, **changes: Any) -> Said:
    mapping = path.parent / "mapping.yaml"
    mapping.write_text(json.dumps({**MAPPING, **changes}), encoding="utf-8")
    return safemlrm(
        *("import", "replies", path, "--mapping", mapping, "--store", path.parent / "store")
    )


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"item": "idd"}, "there is no column 'idd'; did you mean id?"),
        ({"answer": "R_"}, "there is no column 'R_'; did you mean r?"),
        ({"item": ["id", "zz"]}, "there is no column 'zz' (columns: who, id, q, r, harm"),
        ({"reply": ["a", "b"], "answer": None}, "there is no column 'a' or 'b' (columns: who, "),
        ({"answer": "r.text"}, "there is no column 'r.text'"),
        ({"latency_ms": "ms", "system": "sys"}, "there is no column 'sys' and no 'ms' (columns: "),
        ({"kind": {"column": "harmful", "harmful": ["1"]}}, "'harmful'; did you mean harm?"),
        ({"fields": {"key_phrase": "phrase"}}, "there is no column 'phrase'"),
        ({"verdicts": [{"judge": {"value": "j"}, "score": "scor"}]}, "there is no column 'scor'"),
        ({"labels": [{"labeller": "by", "label": "q"}]}, "there is no column 'by'"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "-".join(value),
)
def test_a_column_that_is_not_there_is_said_once_with_what_it_may_be_called(
    tmp_path: Path, ending: str, changes: dict[str, Any], said: str
) -> None:
    told = read(write(tmp_path / f"a.{ending}", ROWS), **changes)
    assert told.exit_code == 2
    assert said in told.output
    assert "\n" not in told.output
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("ending", ["json", "jsonl", "parquet"])
def test_a_part_of_a_column_is_looked_for_in_it(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / f"a.{ending}", ROWS)
    told = read(path, output_tokens="usage.outs")
    assert "there is no column 'usage.outs'; did you mean usage.out?" in told.output
    assert read(path, output_tokens="usage.out").exit_code == 0


def test_a_column_that_some_rows_lack_is_said_of_these_rows(tmp_path: Path) -> None:
    rows = [*ROWS, {k: v for k, v in ROWS[0].items() if k != "id"}, {**ROWS[0], "id": ""}]
    told = read(write(tmp_path / "a.jsonl", rows))
    assert "row 3: 'id' is not there" in told.output
    assert "row 4: 'id' is empty" in told.output
    assert "row 1" not in told.output


def test_a_part_whose_column_is_always_null_is_no_slip(tmp_path: Path) -> None:
    """Tools write null for the usage of a request that failed."""
    rows = [{**row, "usage": None} for row in ROWS]
    path = write(tmp_path / "a.jsonl", rows)
    assert read(path, output_tokens="usage.out").exit_code == 0


def test_two_columns_of_one_name_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("who,id,q,q,,\na,1,b,c,d,e\n", encoding="utf-8")
    assert "two columns have the same name: 'q', ''" in read(tmp_path / "a.csv").output


def test_a_name_with_a_space_is_shown_with_it(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("who, id,q,r,harm\na,1,b,c,1\n", encoding="utf-8")
    told = read(tmp_path / "a.csv").output
    assert "there is no column 'id'; did you mean ' id'? (columns: who, ' id', q" in told


@pytest.mark.parametrize(
    ("name", "text"), [("a.csv", "who,id,q,r,harm\n"), ("a.json", "[]"), ("a.jsonl", "\n\n")]
)
def test_a_file_without_replies_is_no_success(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    told = read(tmp_path / name)
    assert told.exit_code == 2
    assert "there are no replies" in told.output
    assert not (tmp_path / "store").exists()


def test_what_came_and_what_was_there_is_said(tmp_path: Path) -> None:
    verdicts = {"verdicts": [{"judge": {"value": "j"}, "label": "harm"}]}
    first = read(write(tmp_path / "a.jsonl", ROWS[:1]), **verdicts)
    assert "1 reply of 1 model, 1 verdict\nnew in the store: 1 reply, 1 verdict\n" in first.output
    more = read(write(tmp_path / "a.jsonl", [*ROWS, {**ROWS[0], "id": "3", "r": ""}]), **verdicts)
    assert "3 replies of 1 model, 1 of them failed, 2 verdicts\n" in more.output
    assert "new in the store: 2 replies, 1 verdict; 1 reply was there already\n" in more.output
    again = read(tmp_path / "a.jsonl", **verdicts)
    assert "nothing is new: the store had all of it\n" in again.output


def test_both_names_that_lack_are_asked_for_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("index\tprediction\n1\tyes\n", encoding="utf-8")
    file, store = tmp_path / "a.tsv", tmp_path / "store"
    told = safemlrm("import", "replies", file, "--mapping", "vlmevalkit", "--store", store)
    assert "give --model NAME --dataset NAME, or map their columns" in told.output


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Failed to obtain answer via API.", "no_answer"),
        ("Failed to obtain answer: your credit balance is too low", "insufficient_quota"),
        ("", "not_recorded"),
    ],
)
def test_a_failure_has_the_code_that_its_text_gives(tmp_path: Path, text: str, code: str) -> None:
    rows = [ROWS[0], {**ROWS[1], "r": text}]
    told = read(write(tmp_path / "a.jsonl", rows), failures=["Failed to obtain answer*"])
    assert "1 of them failed" in told.output
    shown = safemlrm("table", "coverage", tmp_path / "store").output
    assert f"{code} 1" in shown


@pytest.mark.parametrize("what", ["labels", "validation"])
def test_labels_that_are_not_there_are_no_empty_file(tmp_path: Path, what: str) -> None:
    read(write(tmp_path / "a.jsonl", ROWS))
    out = tmp_path / "labels.csv"
    told = safemlrm("export", what, tmp_path / "store", out)
    assert told.exit_code == 2
    assert "nobody has labelled a reply yet" in told.output
    assert not out.exists()


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({"why": "x" * 10_001}, "column 'why': it has 10,001 characters"),
        ({"by": "x" * 200_000}, "column 'by': it has 200,000 characters"),
        ({"by": "a\0b"}, "column 'by': it holds the sign NUL"),
        ({"class": "x" * 10_001}, "column 'class': it has 10,001 characters"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_text_of_a_label_has_a_bound(tmp_path: Path, cells: dict[str, str], said: str) -> None:
    row = {**ROWS[0], "by": "ann", "why": "plain", "class": "1.6", **cells}
    label = {"labeller": "by", "label": "harm", "note": "why", "response_class": "class"}
    told = read(write(tmp_path / "l.json", [row]), labels=[{**label, "part": "answer"}])
    assert f"l.json: row 1: {said}" in " ".join(told.output.split())
    assert len(told.output) < 1000


def test_labels_of_another_part_are_counted(tmp_path: Path) -> None:
    labels = [{"labeller": {"value": "ada"}, "label": "harm"}]
    read(write(tmp_path / "a.jsonl", ROWS), labels=labels)
    arguments = ("export", "validation", tmp_path / "store", tmp_path / "v.csv")
    told = safemlrm(*arguments, "--part", "reasoning")
    assert "no label of the reasoning" in told.output
    assert "there are 2 of the answer" in told.output
    assert "2 rows in" in safemlrm(*arguments).output


def test_a_sheet_is_refused_with_the_command_that_makes_a_table_of_it(tmp_path: Path) -> None:
    """VLMEvalKit writes .xlsx by default."""
    told = read(write(tmp_path / "a.csv", ROWS).rename(tmp_path / "Qwen_MMBench.xlsx"))
    assert told.exit_code == 2
    assert "read_excel('Qwen_MMBench.xlsx').to_csv('Qwen_MMBench.csv', index=False)" in told.output


def test_a_reply_as_long_as_a_cell_of_a_sheet_can_be_counts_as_cut(tmp_path: Path) -> None:
    """What is written as .xlsx loses the end of long replies, often their answer, in silence."""
    replies = {"1": "a" * 32_766, "2": "a" * 32_767, "3": "a" * 32_768}
    read(write(tmp_path / "a.csv", [{**ROWS[0], "id": n, "r": r} for n, r in replies.items()]))
    with Store.open(tmp_path / "store") as store:
        found = store.connection.execute("SELECT length(text), status FROM generations").fetchall()
    assert sorted(found) == [(32_766, "ok"), (32_767, "truncated"), (32_768, "ok")]
