"""What a dry run says of costs before anything is spent."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from opensafemlrm.cli import app

STUDY = """\
models: [{models}]
datasets: [canary]
judge: {judge}
limit: 20
sampling: {{max_tokens: {max_tokens}}}
"""
HOSTED = "{model: openai/some-model, price: [2.0, 10.0]}"
RUBRIC = "{judge: policy-rubric, model: {model: openai/some-judge, price: [1.0, 4.0]}}"


def dry_run(
    tmp_path: Path, models: str, judge: str = "canary", max_tokens: int = 4096, *more: str
) -> str:
    study = tmp_path / "study.yaml"
    study.write_text(STUDY.format(models=models, judge=judge, max_tokens=max_tokens))
    arguments = ["run", str(study), "--store", str(tmp_path / "store"), "--dry-run", *more]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return re.sub(r"\s+", " ", result.stdout)


def test_it_is_requests_times_assumed_tokens_times_price(tmp_path):
    shown = dry_run(tmp_path, HOSTED, RUBRIC)
    # 20 × (1,500 × 2 + 1,000 × 10) and 60 × (2,000 × 1 + 300 × 4), by the million.
    assert "openai/some-model: 20 generations, about 0.26 US dollars" in shown
    assert "openai/some-judge: 60 verdicts, about 0.19 US dollars" in shown
    assert "Cost: about 0.45 US dollars, taking 1,500 tokens in and 1,000 out" in shown


def test_a_token_limit_below_the_assumption_is_the_assumption(tmp_path):
    shown = dry_run(tmp_path, HOSTED, max_tokens=100)
    assert "1,500 tokens in and 100 out for a generation" in shown
    assert "about 0.08 US dollars" in shown


def test_a_chosen_cell_leaves_out_the_models_that_it_has_not(tmp_path):
    """It ended in a KeyError."""
    both = f"sim/r1-onevision-7b, {HOSTED}"
    (cell,) = re.findall(r"([0-9A-F]{6}) openai/some-model", dry_run(tmp_path, both))
    shown = dry_run(tmp_path, both, "canary", 4096, "--only", cell)
    assert "openai/some-model: 20 generations" in shown
    assert "sim/r1-onevision-7b" not in shown


def test_no_price_is_told_and_not_taken_for_free(tmp_path):
    shown = dry_run(tmp_path, f"{HOSTED}, openai/other")
    assert "about 0.26 US dollars, for what has a price" in shown
    assert "openai/other: 20 generations, no price known" in shown


@pytest.mark.parametrize("more", [(), ("--max-requests", "5")])
def test_nothing_is_said_where_nothing_is_billed(tmp_path, more):
    assert "Cost" not in dry_run(tmp_path, "sim/r1-onevision-7b, vllm/a", "canary", 4096, *more)


def test_it_says_the_same_under_a_budget(tmp_path):
    assert "about 0.26 US dollars" in dry_run(tmp_path, HOSTED, "canary", 4096, "--max-cost", "9")


STAGED = "{model: openai/some-model, price: [2.0, 10.0], stages: [Look., Think., Answer.]}"


def test_each_stage_is_counted(tmp_path):
    shown = dry_run(tmp_path, STAGED)
    assert "]: 60 generations in 3 stages, about 0.78 US dollars" in shown
    assert "Cost: about 0.78 US dollars" in shown


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("defenses: [reflect]", "How often reflect ask is not known"),
        (
            "defenses: [{defense: guard-output, guard: {judge: policy-rubric, model: openai/g}}]",
            "openai/g: asked by guard-output",
        ),
    ],
)
def test_what_may_be_asked_more_often_makes_it_the_least(tmp_path, more, told):
    """An estimate that leaves requests out without a word is believed."""
    shown = dry_run(tmp_path, HOSTED, f"canary\n{more}")
    assert "Cost: at least about 0.26 US dollars" in shown
    assert told in shown


def test_one_line_is_estimated_with_the_prices_of_a_file(tmp_path):
    (tmp_path / "prices.toml").write_text('"openai/some-model" = [2.0, 10.0]\n')
    command = ["eval", "canary", "--model", "openai/some-model", "--limit", "20", "--dry-run"]
    store = ["--store", str(tmp_path / "store")]
    for prices, told in (
        ([], "no price is known"),
        (["--prices", str(tmp_path / "prices.toml")], "Cost: about 0.26 US dollars"),
    ):
        result = CliRunner().invoke(app, [*command, *store, *prices], catch_exceptions=False)
        assert told in re.sub(r"\s+", " ", result.stdout)
