"""The first command that a newcomer runs: from nothing to tables and a page."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from opensafemlrm.cli import app

LIMIT = "20"


def run_demo(store: Path) -> str:
    result = CliRunner().invoke(app, ["demo", "--store", str(store), "--limit", LIMIT])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.once
def test_without_what_runs_the_organisms_the_demo_is_simulated_and_says_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mistake: the first command of the README is tried by nobody but newcomers."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    store = tmp_path / "demo.safemlrm"
    told = run_demo(store)
    assert "Simulated models" in told
    assert "pip install '.[demo]'" in told
    # The end is what stays on the screen: answers in words, one small table, and the page.
    page = (store / "report" / "index.html").resolve().as_uri()
    end = told.split("Which is safer?")[1].split(page)[0]
    for question in ("How large is the reasoning tax?", "How much harmless is refused?"):
        assert question in end
    assert "Reasoning tax\n" in end
    assert page in told
    assert len(end.splitlines()) < 40
    assert (store / "report" / "index.html").is_file()


@pytest.mark.once
def test_the_demo_evaluates_real_models_where_they_can_run(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    told = run_demo(tmp_path / "demo.safemlrm")
    assert "organism/reasoner" in told
    assert "imulated" not in told
