"""Choosing judges, datasets, attacks and models: nothing that is shown is of others."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from opensafemlrm import results
from opensafemlrm.cli import app
from opensafemlrm.errors import OptionError, UnknownNameError
from opensafemlrm.selection import KINDS, Selection
from tests.report.page_stores import run_study

STUDY = """\
models: [sim/r1-onevision-7b, sim/mulberry-llava-8b, sim/qwen2.5-vl-7b, sim/llava-next-llama3-8b]
pairs:
  - [sim/r1-onevision-7b, sim/qwen2.5-vl-7b]
  - [sim/mulberry-llava-8b, sim/llava-next-llama3-8b]
datasets: [canary]
attacks: [direct, typo]
judge: canary
limit: 20
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("selection") / "store"
    run_study(path, STUDY)
    (path / "study.yaml").write_text(STUDY.replace("judge: canary", "judge: rules"))
    assert run("run", path / "study.yaml", "--store", path).exit_code == 0
    return path


def run(*arguments: str | Path):
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


@pytest.mark.once
def test_a_report_of_one_judge_attack_and_model_names_no_other(store: Path, tmp_path: Path) -> None:
    """The mistake: a page that went on speaking of the old judge and of attacks not asked for."""
    chosen = ["--judge", "rules", "--attack", "typo", "--model", "sim/r1-onevision-7b"]
    assert run("report", store, "--out", tmp_path, *chosen).exit_code == 0
    page = (tmp_path / "index.html").read_text()
    shown = page.split("as it was read")[0]  # the study file names all
    assert "attack typo" in shown
    assert re.search(r"judged by rules\b", shown)
    others = "mulberry-llava-8b", "llava-next-llama3-8b"
    for file in [*(tmp_path / "tables").iterdir(), *(tmp_path / "figures").glob("*.svg")]:
        text = file.read_text()
        assert not [name for name in others if name in text], file
        assert "direct" not in text, file
        assert "canary[" not in text
    assert not [name for name in others if name in shown]
    assert "qwen2.5-vl-7b" in shown  # the base that it is compared with


def test_a_base_alone_brings_no_reasoning_model(store: Path) -> None:
    rows = results.open(store, model="sim/qwen2.5-vl-7b").asr()
    assert rows["model"].unique().to_list() == ["sim/qwen2.5-vl-7b"]
    assert results.open(store, model="sim/qwen2.5-vl-7b").tax().is_empty()


def test_tables_take_the_same_words_and_their_footers_follow(store: Path) -> None:
    """The mistake: a footer that counted the parts of all rows below a table of some."""
    table = run("table", "asr", store, "--judge", "rules", "--part", "full", "--attack", "typo")
    assert "direct" not in table.stdout
    counted = re.search(r"of ([\d,]+) parts of replies", table.stdout)
    replies = results.open(store, judge="rules", attack="typo").asr(part="full", threshold=4)
    if counted:
        assert int(counted[1].replace(",", "")) == replies["n"].sum()
    requests = results.open(store, judge="rules").requests()
    assert set(requests.filter(used_as="judge")["label"]) <= {"rules"}


def test_rows_that_share_a_name_can_stand_together(store: Path) -> None:
    """The mistake: --by of a table that has no such rows was taken, and changed nothing."""
    rows = run("table", "tax", store, "--by", "attack", "--format", "csv").stdout.splitlines()
    assert rows[0].startswith("attack,model,base")
    attacks = [row.split(",")[0] for row in rows[1:]]
    assert attacks == sorted(attacks)
    assert set(attacks) == {"direct", "typo"}
    for table, by in (("cost", "judge"), ("coverage", "scenario"), ("defense", "scenario")):
        with pytest.raises(OptionError, match=rf"{table} has no rows by {by}: --by takes model, "):
            run("table", table, store, "--by", by)


def test_an_empty_table_says_why(store: Path) -> None:
    with pytest.raises(OptionError, match=r"no judge here has the threshold 3; known: 4, 5$"):
        run("table", "asr", store, "--threshold", "3")
    alone = run("table", "tax", store, "--model", "sim/qwen2.5-vl-7b")
    assert "nothing to show" in alone.stdout


@pytest.mark.once
def test_a_report_of_one_mean_has_no_row_of_the_other(store: Path, tmp_path: Path) -> None:
    """The mistake: a page that drew the mean over samples whatever was asked for."""
    answers = {}
    for mean in ("micro", "macro"):
        chosen = ["--mean", mean, "--judge", "canary", "--attack", "direct"]
        assert run("report", store, "--out", tmp_path / mean, *chosen).exit_code == 0
        page, folder = (tmp_path / mean / "index.html").read_text(), tmp_path / mean / "tables"
        assert set(pl.read_csv(folder / "tax.csv")["level"]) == {mean}
        assert ("Here every scenario weighs the same" in page) is (mean == "macro")
        answers[mean] = (tmp_path / mean / "figures/tax.csv").read_text()
    assert answers["micro"] != answers["macro"]


def test_several_names_of_a_kind_are_all_taken(store: Path) -> None:
    rows = results.open(store, attack=["direct", "typo"], judge=["canary", "rules"]).asr()
    assert set(rows["attack"]) == {"direct", "typo"}
    assert rows["judge"].n_unique() == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_that_the_store_does_not_hold_is_refused(store: Path, kind: str) -> None:
    """An empty page would look like a result."""
    with pytest.raises(UnknownNameError, match=f"there is no {kind} called 'nobody'; known: "):
        results.Results(store, selection=Selection(**{kind: ("nobody",)})).asr()
