"""A page and its charts show bounds in place of rates that their outcome selected."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from opensafemlrm import results
from opensafemlrm.cli import app
from opensafemlrm.errors import OptionError
from opensafemlrm.report.figures.drawing import SIZES
from opensafemlrm.report.page.charts import overview, scenarios, taxes
from opensafemlrm.report.page.findings import Findings
from opensafemlrm.report.page.key_results import answers
from opensafemlrm.results import Results
from tests.report.page_stores import SIMULATED, run_study


@pytest.fixture(scope="module")
def dying(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store in which two fifths of all texts were left without a score by their judge."""
    store = run_study(tmp_path_factory.mktemp("dying") / "store", SIMULATED)
    with sqlite3.connect(store / "store.sqlite") as connection:
        connection.execute(
            "UPDATE verdicts SET score = NULL, label = 'unscored', refusal = NULL, "
            "reason = 'judge_failed' WHERE key IN (SELECT key FROM verdicts ORDER BY key "
            "LIMIT (SELECT count(*) * 2 / 5 FROM verdicts))"
        )
    connection.close()
    return store


def findings_of(path: Path, max_unscored: float) -> Findings:
    return Findings(Results(path, max_unscored=max_unscored))


def test_the_first_screen_has_no_rate_of_what_was_selected(dying: Path) -> None:
    """The page's headline was a tax of a judge that had died."""
    said = {answer.question: answer for answer in answers(findings_of(dying, 0.2))}
    tax = said["How large is the reasoning tax?"]
    assert " to " in tax.figure
    assert tax.figure.endswith("†")
    assert "bounds alone" in tax.unit
    assert said["Which is safer?"].figure == "Not known"
    assert said["How much is self-corrected?"].figure.endswith("†")
    assert (
        "For 2 of 2 rates they leave nothing but these bounds (†)"
        in said["What was not measured?"].text
    )


def test_who_lets_more_be_missing_gets_the_rates(dying: Path) -> None:
    found = findings_of(dying, 1.0)
    assert found.withheld.is_empty()
    assert len(found.compared) == 1
    assert not any("†" in answer.figure + answer.text for answer in answers(found))


def test_charts_draw_bounds_and_mark_them(dying: Path) -> None:
    found = findings_of(dying, 0.2)
    taxed = list(taxes(found))
    assert taxed
    for drawn in (*overview(found), *taxed, *scenarios(found)):
        assert "†" in drawn.note
        assert "†" in drawn.draw(SIZES[0]).to_json(ensure_ascii=False)


def test_python_and_files_have_null_for_the_rates(dying: Path, tmp_path: Path) -> None:
    opened = results.open(dying)
    assert opened.asr()["asr"].null_count() == len(opened.asr())
    assert results.open(dying, max_unscored=1).asr(part="full")["asr"].null_count() == 0
    opened.report(tmp_path)
    table = pl.read_csv(tmp_path / "tables" / "asr.csv")
    assert table.filter(pl.col("scored") > 0)["withheld"].unique().to_list() == ["unscored"]
    assert "†" in (tmp_path / "index.html").read_text("utf-8")


def test_a_share_that_is_none_is_refused() -> None:
    with pytest.raises(OptionError, match="max_unscored is a share from 0 to 1, not 20"):
        results.Results("results", max_unscored=20)


def test_the_share_is_an_option_of_table_and_report(dying: Path, tmp_path: Path) -> None:
    def table(*more: str) -> Result:
        return CliRunner().invoke(app, ["table", "asr", str(dying), "--part", "full", *more])

    assert "†" in table().stdout
    assert "†" not in table("--max-unscored", "1").stdout
    assert table("--max-unscored", "1.5").exit_code == 2
    made = CliRunner().invoke(
        app, ["report", str(dying), "--out", str(tmp_path), "--max-unscored", "1"]
    )
    assert made.exit_code == 0
    assert "†" not in (tmp_path / "index.html").read_text("utf-8")
