"""The tables of findings: every format, JSON without infinities, and what is said."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from opensafemlrm.cli import app
from opensafemlrm.cli.tables import Name
from tests.report.page_stores import as_in_a_paper, with_people

STUDY = """\
models: [sim/r1-onevision-7b, sim/mulberry-llava-8b, sim/qwen2.5-vl-7b, sim/llava-next-llama3-8b]
pairs:
  - [sim/r1-onevision-7b, sim/qwen2.5-vl-7b]
  - [sim/mulberry-llava-8b, sim/llava-next-llama3-8b]
series:
  - {name: releases, versions: [{model: sim/qwen2.5-vl-7b}, {model: sim/r1-onevision-7b}]}
datasets: [canary]
judge: canary
limit: 60
"""
FINDINGS = [name for name in Name if name not in (Name.ASR, Name.COVERAGE, Name.STOPPING)]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("findings")
    (folder / "study.yaml").write_text(STUDY)
    assert run("run", folder / "study.yaml", "--store", folder / "store").exit_code == 0
    return folder / "store"


@pytest.fixture(scope="module")
def calibrated(store: Path) -> Path:
    return with_people(store)


@pytest.mark.parametrize("to", ["text", "md", "csv", "json", "latex"])
@pytest.mark.parametrize("name", FINDINGS)
def test_every_finding_comes_in_every_format_and_says_simulated(
    calibrated: Path, name: Name, to: str
) -> None:
    shown = run("table", name.value, calibrated, "--format", to)
    assert shown.exit_code == 0
    assert "simulated" in shown.stdout
    assert not re.search(r"\b(nan|inf|Infinity)\b", shown.stdout, re.IGNORECASE)


def test_a_ratio_without_an_upper_end_is_null_for_programs_and_a_lower_end_for_people(
    store: Path,
) -> None:
    """Infinity is no JSON, and 0 would be a lie."""
    found = json.loads(run("table", "blindspots", store, "--format", "json").stdout)
    without = [row for row in found["blindspots"] if row["asr_base"] == 0 and row["asr_model"]]
    assert without
    assert {(row["ratio"], row["ratio_high"]) for row in without} == {(None, None)}
    shown = run("table", "blindspots", store).stdout
    assert "≥ " in shown
    assert "the base has no unsafe reply" in shown


def test_threshold_and_part_leave_only_their_rows(store: Path) -> None:
    options = ["--threshold", "5", "--part", "answer", "--format", "json"]
    rows = json.loads(run("table", "tax", store, *options).stdout)
    assert {(row["threshold"], row["part"]) for row in rows} == {(5, "answer")}
    assert len(rows) == 2 * 2  # pairs, averages


def test_by_scenario_puts_the_scenarios_before_their_averages(store: Path) -> None:
    rows = json.loads(
        run(
            "table", "tax", store, "--by", "scenario", "--threshold", "4", "--format", "json"
        ).stdout
    )
    first = [row["level"] for row in rows if row["part"] == "full"][:12]
    assert first == ["scenario"] * 10 + ["micro", "macro"]


def test_groups_are_named_by_comma_and_only_for_the_blind_spots(store: Path) -> None:
    groups = [
        "--group-models",
        "sim/r1-onevision-7b, sim/mulberry-llava-8b",
        "--group-bases",
        "sim/qwen2.5-vl-7b,sim/llava-next-llama3-8b",
    ]
    rows = json.loads(run("table", "blindspots", store, "--format", "json", *groups).stdout)
    assert {row["method"] for row in rows} == {"by item"}
    assert rows[0]["models"] == "sim/r1-onevision-7b, sim/mulberry-llava-8b"
    refused = CliRunner().invoke(app, ["table", "tax", str(store), *groups])
    assert refused.exit_code == 2
    assert "go together" in refused.stderr


def test_without_a_calibration_nothing_is_corrected_and_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(STUDY.replace("limit: 60", "limit: 10"))
    run("run", tmp_path / "study.yaml", "--store", tmp_path / "store")
    assert (
        "no judge here was compared with labels of people"
        in run("table", "calibrated", tmp_path / "store").stderr
    )


def test_tables_keep_within_a_hundred_columns(calibrated: Path) -> None:
    """In the form people ask for first: one threshold, one part."""
    for name in FINDINGS:
        shown = run("table", name.value, calibrated, *as_in_a_paper(name)).stdout
        assert max(map(len, shown.splitlines())) <= 103, name


def test_where_a_rule_ended_rates_they_are_no_differences_and_have_no_base(tmp_path: Path) -> None:
    """The base read "– (simulated)", and the interval of a rate "+44.8 to +85.2"."""
    text = STUDY.replace("limit: 60\n", "stop: {half_width: 0.3}\n")
    (tmp_path / "study.yaml").write_text(text)
    run("run", tmp_path / "study.yaml", "--store", tmp_path / "store")
    shown = run("table", "stopping", tmp_path / "store").stdout
    assert "holds at any time" in shown
    assert "Base" not in shown
    assert "–" not in re.sub(r"[\d.]+–[\d.]+", "", shown)
    assert not re.search(r"\+\d", shown)
