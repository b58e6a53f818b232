"""Files of replies that are broken, strange or hostile: all of it is kept, or nothing comes in."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import opensafemlrm as osm
from opensafemlrm.store import Store
from tests.interop.test_replies_in import MAPPING, ROWS, Said, everything, imported, safemlrm, write

PLAIN = "source: t\nmodel: {value: m}\ndataset: {value: d}\nitem: id\nquestion: q\nreply: r\n"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(
    lambda text: bool(text.strip())
)
HOSTILE = ("=cmd|'/c calc'!A0", "+1", "-1+1", "@SUM(A1)", "a\0b", "\ufeffBOM", "x;y", "\r\n\t'\"")


@pytest.mark.once
@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=4))
@example([(text, text) for text in HOSTILE])
def test_texts_come_in_as_they_are_and_go_out_and_in_again(texts: list[tuple[str, str]]) -> None:
    rows = [{"id": f"i{n}", "q": q, "r": r} for n, (q, r) in enumerate(texts)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        said, store = imported(folder, rows, PLAIN.replace("reply: r", "answer: r"))
        assert said.exit_code == 0, said.output
        kept = {row["id"]: row["r"] for row in rows}
        assert dict(_raw(store)) == kept
        assert dict(_raw(_around(store, folder))) == kept


def _raw(store: Path) -> list[tuple[str, str]]:
    with Store.open(store) as opened:
        query = "SELECT i.id, g.text FROM generations g JOIN items i ON i.key = g.item"
        return opened.connection.execute(query).fetchall()


def _around(store: Path, folder: Path) -> Path:
    assert safemlrm("export", "dataset", store, folder / "out").exit_code == 0
    files = sorted((folder / "out/data").glob("replies-*.parquet"))
    told = safemlrm("import", "replies", *files, "--mapping", "dataset",
                    "--store", folder / "again")  # fmt: skip
    assert told.exit_code == 0, told.output
    return folder / "again"


def test_formulas_are_disarmed_on_the_way_out_alone(tmp_path: Path) -> None:
    rows = [{"id": f"i{n}", "q": "?", "r": text} for n, text in enumerate(HOSTILE)]
    _, store = imported(tmp_path, rows, PLAIN, name="r.csv")
    assert sorted(text for _, text in _raw(store)) == sorted(HOSTILE)
    safemlrm("export", "replies", store, tmp_path / "out.csv")
    told = (tmp_path / "out.csv").read_text(encoding="utf-8")
    assert "'=cmd" in told
    assert ",=cmd" not in told


def raw_import(tmp_path: Path, content: bytes, mapping: str = PLAIN, name: str = "r.csv") -> Said:
    (tmp_path / "map.yaml").write_text(mapping)
    (tmp_path / name).write_bytes(content)
    return safemlrm(
        *("import", "replies", tmp_path / name, "--mapping", tmp_path / "map.yaml"),
        *("--store", tmp_path / "store"),
    )


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"id;q;r\n1;?;Tea.\n", "separated by semicolons: save it with commas"),
        ("id,q,r\n1,?,Thé.\n".encode("latin-1"), "row 2: 'r' holds bytes that are not UTF-8"),
        (b'id,q,r\n1,?,"never ends\n', "row 2: this is not a row of a CSV file"),
        (b"id,q\n1,?\n", "there is no column 'r' (columns: id, q)"),
        (b"id,q,q\n1,?,?\n", "two columns have the same name"),
        (b"", "this file is empty"),
        (b"PK\x03\x04rest", "an Excel workbook"),
        (b"id,q,r\n1,?,Tea.\n1,?,Milk.\n", "row 3: another reply of the same model"),
        (b"id,q,r\n=1,?,Tea.\n", "begins like a spreadsheet formula"),
        (b"id,q,r\n,?,Tea.\n", "row 2: 'id' is empty"),
        (b"id,q,r\n1,,Tea.\n", "row 2: 'q' is empty"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_place(
    tmp_path: Path, content: bytes, what: str
) -> None:
    said = raw_import(tmp_path, content)
    assert said.exit_code == 2
    assert what in said.output
    assert not (tmp_path / "store").exists() or not everything(tmp_path / "store")["generations"]


def test_a_mark_of_byte_order_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    said = raw_import(tmp_path, "\ufeffid,q,r\n1,?,Thé.\n".encode())
    assert said.exit_code == 0, said.output
    assert _raw(tmp_path / "store") == [("1", "Thé.")]


def test_types_that_are_mixed_in_a_column_become_the_text_that_was_meant(tmp_path: Path) -> None:
    cells = [12, 1.5, True, "text", ["one"]]
    rows = [{"id": n, "q": "?", "r": cell} for n, cell in enumerate(cells)]
    assert imported(tmp_path, rows, PLAIN)[0].exit_code == 0
    assert sorted(_raw(tmp_path / "store")) == [
        *[("0", "12"), ("1", "1.5"), ("2", "true"), ("3", "text"), ("4", "one")]
    ]
    said, _ = imported(tmp_path, [{"id": 9, "q": "?", "r": {"a": 1}}], PLAIN)
    assert "row 1: 'r' is dict, not text" in said.output


def test_a_huge_reply_comes_in_whole(tmp_path: Path) -> None:
    huge = "a" * 3_000_000
    for name in ("r.csv", "r.jsonl"):
        write(tmp_path / name, [{"id": 1, "q": "?", "r": huge}])
        said = raw_import(tmp_path, (tmp_path / name).read_bytes(), name=name)
        assert said.exit_code == 0, said.output
    assert _raw(tmp_path / "store") == [("1", huge)]


def test_halves_of_characters_are_refused_with_their_row(tmp_path: Path) -> None:
    line = json.dumps({"id": "1", "q": "?", "r": "\ud800"})
    said = raw_import(tmp_path, line.encode(), name="r.jsonl")
    assert said.exit_code == 2
    assert "row 1" in said.output


@pytest.mark.parametrize(
    ("mapping", "what"),
    [
        (PLAIN.replace("reply: r", "replies: r"), "did you mean"),
        (PLAIN + "answer: r\n", "map either `reply`, or `reasoning` and `answer`"),
        (PLAIN + "verdicts: [{judge: {value: j}}]\n", "`score` or of its `label`"),
        (PLAIN + "format: {value: nonsense}\n", "format: there is no"),
        ("recipe: nonsense\n", "there is no recipe called 'nonsense'"),
        ("- 1\n", "map.yaml"),
        ("source: !!python/object x\n", "map.yaml"),
        (PLAIN.replace("source: t", "source: '../x'"), "source"),
    ],
)
def test_a_wrong_mapping_says_which_key(tmp_path: Path, mapping: str, what: str) -> None:
    said = raw_import(tmp_path, b"id,q,r\n1,?,Tea.\n", mapping)
    assert said.exit_code == 2
    assert what in said.output
    assert not (tmp_path / "store").exists()


def test_names_of_models_cannot_act_where_they_are_shown(tmp_path: Path) -> None:
    rows = [{**row, "model": "\x1b[31m<script>=1"} for row in ROWS[:2]]
    said, store = imported(tmp_path, rows, MAPPING)
    assert said.exit_code == 0, said.output
    table = safemlrm("table", "asr", store).output
    assert "\\x1b[31m" in table
    assert "\x1b" not in table
    safemlrm("report", store)
    assert "<script>=1" not in (store / "report/index.html").read_text()


def test_an_unsafe_word_that_contradicts_the_score_is_no_verdict(tmp_path: Path) -> None:
    mapping = MAPPING.replace("score: harm", "score: harm, label: word")
    said, _ = imported(tmp_path, [{**ROWS[0], "word": "unsafe"}], mapping)
    assert "says unsafe with the score 1.0, but unsafe is from 3 on" in said.output
    said, store = imported(tmp_path, [{**ROWS[0], "word": "perhaps"}], mapping)
    assert "column 'word': 'perhaps' is none of the mapping's words" in said.output
    assert not store.exists() or osm.results.open(store).frame().is_empty()
