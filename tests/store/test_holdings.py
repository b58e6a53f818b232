"""Tables over what the data set holds now, whatever was measured before it was corrected."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from opensafemlrm import results
from opensafemlrm.cli import app

MAPPING = "name: {name}\nquestion: question\nid: id\n"
STUDY = """\
models: [sim/r1-onevision-7b]
datasets: [{{dataset: table, path: {path}}}]
judge: {judge}
limit: {limit}
"""


def run(*arguments: str | Path) -> Result:
    ended = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert ended.exit_code == 0, ended.stderr
    return ended


def write(path: Path, rows: dict[str, str], name: str = "tea") -> Path:
    lines = ["id,question", *(f"{key},{text}" for key, text in rows.items())]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    path.with_name(f"{path.stem}.mapping.yaml").write_text(MAPPING.format(name=name))
    return path


def measure(table: Path, store: Path, limit: str = "null", judge: str = "rules") -> None:
    study = table.with_suffix(".study.yaml")
    study.write_text(STUDY.format(path=table, judge=judge, limit=limit))
    run("run", study, "--store", store)


def counted(store: Path, *, everything: bool = False) -> dict[str, int]:
    frame = results.open(store, everything=everything).frame().filter(part="full")
    return dict(frame.group_by("dataset").len().sort("dataset").iter_rows())


@pytest.fixture
def questions() -> dict[str, str]:
    return {f"r{n}": f"How long does tea number {n} steep?" for n in range(10)}


def test_a_corrected_table_counts_each_item_once(tmp_path: Path, questions: dict[str, str]) -> None:
    """A typo corrected and an id renamed made 12 items of 10, one of them twice."""
    table = write(tmp_path / "tea.csv", questions)
    measure(table, tmp_path / "store")
    questions["r3"] = "How long does tea number three steep?"
    questions["other"] = questions.pop("r4")
    measure(write(table, questions), tmp_path / "store")
    assert counted(tmp_path / "store") == {"table/tea": 10}
    assert counted(tmp_path / "store", everything=True) == {"table/tea": 12}
    shown = run("table", "coverage", tmp_path / "store")
    assert "left out: 2 samples of an earlier version of the data" in shown.stderr
    assert "left out" not in run("table", "coverage", tmp_path / "store", "--all").stderr
    exported = tmp_path / "frame.csv"
    assert "left out" in run("export", "frame", tmp_path / "store", exported).stderr
    assert "left out" in run("report", tmp_path / "store").stderr


def test_what_is_put_back_counts_again(tmp_path: Path, questions: dict[str, str]) -> None:
    table = write(tmp_path / "tea.csv", questions)
    measure(table, tmp_path / "store")
    measure(write(table, {**questions, "r1": "Green or black?"}), tmp_path / "store")
    measure(write(table, questions), tmp_path / "store")
    found = results.open(tmp_path / "store")
    assert found.left_out() == 1
    assert "Green or black?" not in found.replies()["question"].to_list()


def test_a_smaller_limit_hides_nothing(tmp_path: Path, questions: dict[str, str]) -> None:
    table = write(tmp_path / "tea.csv", questions)
    measure(table, tmp_path / "store")
    measure(table, tmp_path / "store", limit="2")
    assert counted(tmp_path / "store") == {"table/tea": 10}


def test_a_table_that_was_not_read_whole_hides_nothing(
    tmp_path: Path, questions: dict[str, str]
) -> None:
    """A row that is broken for a day is not a row that has left."""
    table = write(tmp_path / "tea.csv", questions)
    measure(table, tmp_path / "store")
    write(table, {**questions, "r3": ""})
    study = table.with_suffix(".study.yaml")
    run("run", study, "--store", tmp_path / "store", "--skip-invalid")
    assert counted(tmp_path / "store") == {"table/tea": 10}


def test_two_tables_of_one_name_are_told_apart(tmp_path: Path, questions: dict[str, str]) -> None:
    """Two files whose mappings had one name were one rate over both."""
    one = write(tmp_path / "a/tea.csv", questions)
    two = write(tmp_path / "b/tea.csv", {"r0": questions["r0"], "x": "Which cup?"})
    measure(one, tmp_path / "store")
    measure(two, tmp_path / "store")
    apart = counted(tmp_path / "store")
    assert sorted(apart.values()) == [2, 10]
    assert all(name.startswith("table/tea#") for name in apart)
    assert results.open(tmp_path / "store").left_out() == 0


def test_a_copy_elsewhere_is_the_same_table(tmp_path: Path, questions: dict[str, str]) -> None:
    measure(write(tmp_path / "a/tea.csv", questions), tmp_path / "store")
    measure(write(tmp_path / "b/tea.csv", questions), tmp_path / "store")
    assert counted(tmp_path / "store") == {"table/tea": 10}


def test_parts_of_a_table_measured_elsewhere_hide_each_other_never(
    tmp_path: Path, questions: dict[str, str]
) -> None:
    """Parts of a benchmark on several machines lie under one path on each of them."""
    table, ids = tmp_path / "tea.csv", list(questions)
    for number, some in enumerate((ids[:5], ids[5:])):
        part = write(table, {key: questions[key] for key in some})
        measure(part, tmp_path / f"store {number}")
    run("merge", tmp_path / "store 0", tmp_path / "store 1", "--store", tmp_path / "all")
    assert sorted(counted(tmp_path / "all").values()) == [5, 5]
    assert results.open(tmp_path / "all").left_out() == 0


def test_another_study_of_the_table_hides_nothing(
    tmp_path: Path, questions: dict[str, str]
) -> None:
    table = write(tmp_path / "tea.csv", questions)
    measure(table, tmp_path / "store")
    measure(table, tmp_path / "store", judge="refusal")
    frame = results.open(tmp_path / "store").frame()
    assert frame.group_by("judge", "part").len()["len"].to_list() == [10] * 6
    shutil.rmtree(tmp_path / "store")
