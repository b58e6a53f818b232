"""One table in every format: exact for programs, readable and harmless for people."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import polars as pl
import pytest

from opensafemlrm.analysis.asr import COLUMNS
from opensafemlrm.analysis.coverage import REPLY_COLUMNS, VERDICT_COLUMNS
from opensafemlrm.report import (
    Column,
    Form,
    Format,
    Table,
    render,
    render_all,
)
from opensafemlrm.report.outcomes import REPLIES as REPLIES_TABLE
from opensafemlrm.report.outcomes import coverage_tables
from opensafemlrm.report.rates import asr_table

ROW: dict[str, Any] = {
    "model": "sim/r1-onevision-7b",
    "dataset": "canary",
    "attack": "direct",
    "defense": "none",
    "scenario": "all",
    "part": "answer",
    "threshold": 4,
    "n": 1200,
    "scored": 1000,
    "unsafe": 160,
    "asr": 0.16,
    "low": 0.1234,
    "high": 0.2011,
    "asr_if_unscored_safe": 160 / 1200,
    "asr_if_unscored_unsafe": 360 / 1200,
    "hr": 2.5,
    "judge": "canary",
    "sampling": "temperature=0.0",
    "simulated": False,
    "cell": "ab12",
}
STRICT = ROW | {"threshold": 5, "unsafe": 0, "asr": 0.0, "low": 0.0, "high": 0.0038}
STRICT |= {"attack": "typo"}
ABSENT = ROW | {"part": "reasoning", "scored": 0, "unsafe": 0, "asr": None, "low": None}
ABSENT |= {"high": None, "hr": None}
DOCUMENTED = [
    "model",
    "dataset",
    "attack",
    "defense",
    "scenario",
    "part",
    "threshold",
    "n",
    "scored",
    "unsafe",
    "asr",
    "low",
    "high",
    "asr_if_unscored_safe",
    "asr_if_unscored_unsafe",
    "hr",
]
HUMAN = [Format.TEXT, Format.MD, Format.LATEX]


def table_of(rows: list[dict[str, Any]]) -> Table:
    return asr_table(pl.DataFrame(rows, schema=list(COLUMNS), infer_schema_length=None))


def test_json_has_exactly_the_documented_keys_and_unrounded_fractions() -> None:
    (record,) = json.loads(render(table_of([ROW]), Format.JSON))
    assert list(record) == DOCUMENTED
    assert record["asr_if_unscored_safe"] == 160 / 1200
    assert record["threshold"] == 4


def test_one_table_is_the_same_alone_or_in_a_list_of_one() -> None:
    """Programs read a list of rows, whichever way the command got at its table."""
    for to in Format:
        assert render_all([table_of([ROW])], to) == render(table_of([ROW]), to)


def test_what_was_not_measured_is_null_a_dash_or_empty_and_never_zero() -> None:
    table = table_of([ABSENT])
    (record,) = json.loads(render(table, Format.JSON))
    assert record["asr"] is None
    (row,) = csv.DictReader(io.StringIO(render(table, Format.CSV)))
    assert row["asr"] == ""
    line = next(line for line in render(table, Format.TEXT).splitlines() if "reasoning" in line)
    assert line.split()[-3:] == ["–", "–", "13.3–30.0"]


def test_people_see_per_cent_with_one_decimal_and_the_interval_in_one_cell() -> None:
    for to in HUMAN:
        shown = render(table_of([ROW, STRICT]), to)
        assert "16.0" in shown
        assert "12.3–20.1" in shown
        assert "1,200" in shown


@pytest.mark.parametrize("column", ["judge", "sampling", "cell"])
def test_rows_of_different_origin_are_told_apart_in_every_format(column: str) -> None:
    changed: dict[str, Any] = {column: "another"}
    table = table_of([ROW, {**ROW, **changed}])
    assert list(json.loads(render(table, Format.JSON))[0]) == [*DOCUMENTED, column]
    assert column in render(table, Format.CSV).splitlines()[0]
    for to in HUMAN:
        shown = render(table, to)
        assert column.title() in shown
        assert "another" in shown


@pytest.mark.parametrize("to", HUMAN)
def test_a_simulated_model_is_marked_wherever_it_is_shown(to: Format) -> None:
    shown = render(table_of([ROW | {"simulated": True}, STRICT]), to)
    # A paper has room for less, and says below what it means.
    mark = "(sim.)" if to is Format.LATEX else "(simulated)"
    assert shown.replace(r"\allowbreak{}", "").count(f"r1-onevision-7b {mark}") == 1
    assert "not written by the model" in shown


def test_programs_get_a_column_for_simulated() -> None:
    rows = [ROW | {"simulated": True}, STRICT]
    assert [r["simulated"] for r in json.loads(render(table_of(rows), Format.JSON))] == [
        True,
        False,
    ]
    assert render(table_of(rows), Format.CSV).splitlines()[1].endswith(",true")


@pytest.mark.parametrize("to", HUMAN)
def test_thresholds_are_explained_and_missing_scores_counted(to: Format) -> None:
    shown = render(table_of([ROW, STRICT | {"attack": "direct"}]), to)
    assert "canary: 4 = lenient, 5 = strict" in shown
    # The two thresholds are the same 1,200 samples.
    assert "200 of 1,200" in shown


def test_what_is_the_same_in_every_row_is_told_once_above() -> None:
    shown = render(table_of([ROW, STRICT]), Format.TEXT)
    assert "Dataset: canary; Defense: none; Judge: canary" in shown
    assert shown.count("canary;") == 2


def test_a_hundred_columns_hold_the_table_and_long_names_are_kept() -> None:
    name = "openai/https-proxy.example/some-organisation/a-model-with-a-long-name-72b-preview"
    shown = render(
        table_of([ROW | {"model": name, "scenario": s} for s in ("01-A", "02-B")]), Format.TEXT
    )
    assert name in shown
    assert max(map(len, shown.splitlines())) <= 100


HOSTILE = "=cmd|'x'!A1 \x1b[31m\u202e`<b>` | \\input{x} %\n# h [link](http://e)"


def test_hostile_names_are_escaped_in_every_format() -> None:
    table = table_of([ROW | {"model": HOSTILE}, STRICT])
    for to in Format:
        shown = render(table, to)
        assert "\x1b" not in shown
        assert "\u202e" not in shown
    assert "<b>" not in render(table, Format.MD)
    assert r"\input" not in render(table, Format.LATEX)
    rows = list(csv.DictReader(io.StringIO(render(table, Format.CSV))))
    assert rows[0]["model"].startswith("'=cmd")
    assert json.loads(render(table, Format.JSON))[0]["model"] == HOSTILE
    widths = {
        line.count("|") - line.count("\\|")
        for line in render(table, Format.MD).splitlines()
        if line.startswith("|")
    }
    assert len(widths) == 1


def test_latex_is_a_booktabs_table_with_a_cell_for_each_column() -> None:
    shown = render(table_of([ROW, STRICT]), Format.LATEX)
    for command in (r"\toprule", r"\midrule", r"\bottomrule", r"\end{table}"):
        assert shown.count(command) == 1
    lines = [line for line in shown.splitlines() if line.endswith(r"\\")]
    heads = [line for line in lines if line.startswith(r"\multicolumn")]
    assert len(lines) - len(heads) == 3
    assert len({line.count(" & ") for line in lines if line not in heads}) == 1


@pytest.mark.parametrize("to", list(Format))
def test_a_table_without_rows_says_so(to: Format) -> None:
    shown = render(table_of([]), to)
    if to is Format.JSON:
        assert json.loads(shown) == []
    elif to is Format.JSONL:
        assert not shown  # no row is no line
    elif to is Format.TEXT:
        assert "nothing to show" in shown
    else:
        assert shown.strip()


REPLIES: dict[str, Any] = {
    **dict.fromkeys(REPLY_COLUMNS, 0),
    **{"model": "m", "dataset": "d", "attack": "direct", "defense": "none", "cell": "c"},
    **{"sampling": "s", "simulated": False, "n": 10, "ok": 6, "blocked": 1, "failed": 3},
    "codes": [{"name": "timeout", "n": 3}, {"name": "content\x1bfilter", "n": 1}],
}
VERDICTS: dict[str, Any] = {
    **dict.fromkeys(VERDICT_COLUMNS, 0),
    **{"model": "m", "dataset": "d", "attack": "direct", "defense": "none", "cell": "c"},
    **{"sampling": "s", "simulated": False, "judge": "j", "part": "full", "n": 10, "safe": 4},
}


def test_coverage_shows_outcomes_that_happened_and_gives_programs_all_of_them() -> None:
    tables = coverage_tables(pl.DataFrame([REPLIES]), pl.DataFrame([VERDICTS]))
    shown = render_all(tables, Format.TEXT)
    assert r"timeout 3, content\x1bfilter 1" in shown
    assert "truncated" not in shown
    assert "unparsed" not in shown
    data = json.loads(render_all(tables, Format.JSON))
    assert data["replies"][0]["codes"] == {"timeout": 3, "content\x1bfilter": 1}
    assert data["verdicts"][0]["unparsed"] == 0


def test_an_outcome_of_zero_is_shown_where_another_row_has_it() -> None:
    other = {**REPLIES, "attack": "typo", "truncated": 2, "ok": 4}
    shown = render(REPLIES_TABLE.of(pl.DataFrame([REPLIES, other])), Format.MD)
    assert "truncated" in shown


def test_any_frame_can_be_a_table() -> None:
    table = Table(
        name="plain",
        title="A table",
        columns=[Column("name", "Name"), Column("rate", "Rate %", Form.PERCENT)],
        frame=pl.DataFrame({"name": ["a", "b"], "rate": [0.12345, None]}),
        notes=["A note."],
    )
    assert render(table, Format.TEXT) == (
        "A table\n\nName  Rate %\n────────────\na       12.3\nb          –\n\nA note.\n"
    )
    assert render(table, Format.MD) == (
        "**A table**\n\n| Name | Rate % |\n| :-- | --: |\n| a | 12.3 |\n| b | – |\n\nA note.\n"
    )
