"""Prices of your own: what a run may cost, and what it cost, cell by cell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import opensafemlrm as osm
from opensafemlrm.cli import app, main
from opensafemlrm.errors import OptionError
from opensafemlrm.models.prices import Prices
from tests.cli.chat_server import said, serving

USAGE = {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200}


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    path = tmp_path / "prices.toml"
    path.write_text('"openai/a" = [2.0, 10.0]\n"j" = [1.0, 5]\n')
    return path


def study_at(tmp_path: Path, url: str) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(
        f"models:\n- {{model: openai/a, base_url: '{url}'}}\n"
        f"- {{model: openai/b, base_url: '{url}'}}\n"
        f"datasets: [canary]\njudge: {{judge: policy-rubric, model: {{model: openai/j, "
        f"base_url: '{url}'}}}}\nlimit: 10\n"
    )
    return path


def test_a_dry_run_counts_by_the_file(tmp_path: Path, prices: Path) -> None:
    study = study_at(tmp_path, "http://127.0.0.1:9/v1")
    arguments = ("run", study, "--store", tmp_path / "store", "--dry-run")
    assert "no price is known" in run(*arguments).stdout
    shown = " ".join(run(*arguments, "--prices", prices).stdout.split())
    # 10 × (1,500 × 2 + 1,000 × 10), by the million.
    assert "openai/a: 10 generations, about 0.13 US dollars" in shown
    assert "openai/b: 10 generations, no price known" in shown


def test_cells_have_their_cost_and_an_unknown_price_is_no_zero(
    tmp_path: Path, prices: Path
) -> None:
    with serving(lambda _: said("A long and harmless answer. #thescore: 1", usage=USAGE)) as (
        url,
        _,
    ):
        store = tmp_path / "store"
        run("run", study_at(tmp_path, url), "--store", store)
    rows = json.loads(run("table", "cost", store, "--prices", prices, "--format", "json").stdout)
    by_model = {row["model"]: row for row in rows}
    a, b = by_model["openai/a"], by_model["openai/b"]
    assert a["dollars"] == pytest.approx((a["input_tokens"] * 2 + a["output_tokens"] * 10) / 1e6)
    assert a["dollars"] > 0
    assert b["dollars"] is None
    judged = a["judge_input_tokens"] + 5 * a["judge_output_tokens"]
    assert a["judge_dollars"] == pytest.approx(judged / 1e6)
    assert osm.open(store).cost()["dollars"].null_count() == 2
    assert "without the judge" not in run("table", "cost", store, "--prices", prices).stdout
    prices.write_text('"openai/a" = [2.0, 10.0]\n')
    shown = " ".join(run("table", "cost", store, "--prices", prices).stdout.split())
    assert "US $ is without the judge, which has no known price." in shown


def test_a_reply_in_stages_is_so_many_requests_and_counted_once(tmp_path: Path) -> None:
    """Ten replies in three stages were 40 requests in the table, at twice their tokens."""
    with serving(lambda body: said(f"Stage {len(body['messages'])}.", usage=USAGE)) as (
        url,
        bodies,
    ):
        study = tmp_path / "study.yaml"
        study.write_text(
            f"models: [{{model: openai/a, base_url: '{url}', price: [1000, 1000], "
            "stages: [Look., Think., Answer.], concurrency: 1}]\n"
            "datasets: [canary]\njudge: canary\nlimit: 10\n"
        )
        store = tmp_path / "store"
        few = run("run", study, "--store", tmp_path / "few", "--max-requests", "5")
        assert few.exit_code == 3
        assert len(bodies) < 15, "five replies that began before the first one was counted"
        bodies.clear()
        ended = run("run", study, "--store", store)
        asked = len(bodies)
    assert asked == 30
    (row,) = json.loads(run("table", "cost", store, "--format", "json").stdout)
    tokens = (USAGE["prompt_tokens"], USAGE["completion_tokens"])
    assert (row["requests"], row["input_tokens"], row["output_tokens"]) == (
        *(asked, asked * tokens[0], asked * tokens[1]),
    )
    assert f"cost: {asked * sum(tokens) / 1000:,.2f} US dollars" in ended.stderr


def test_tokens_of_a_guard_at_another_price_are_not_priced_as_the_models(tmp_path: Path) -> None:
    """They are among the cell's: at the model's price the sum was what nobody paid."""
    study, prices = tmp_path / "study.yaml", tmp_path / "prices.toml"
    study.write_text(
        "models: [sim/r1-onevision-7b]\ndatasets: [canary]\njudge: canary\nlimit: 10\ndefenses:\n"
        "- reflect\n- {defense: guard-output, guard: rules}\n"
        "- {defense: guard-output, guard: {judge: policy-rubric, model: sim/judge}}\n"
    )
    prices.write_text('"sim/r1-onevision-7b" = [1000, 1000]\n')
    run("run", study, "--store", tmp_path / "store")

    def dollars() -> dict[str, float | None]:
        shown = run("table", "cost", tmp_path / "store", "--prices", prices, "--format", "json")
        rows = json.loads(shown.stdout)
        assert all(
            row["dollars"]
            in (None, pytest.approx((row["input_tokens"] + row["output_tokens"]) / 1e3))
            for row in rows
        )
        return {row["defense"]: row["dollars"] for row in rows}

    asked, free, own = (
        "guard-output[guard=policy-rubric[sim/judge]]",
        "guard-output[guard=rules]",
        "reflect",
    )
    found = dollars()
    assert found[asked] is None
    assert found[own]
    assert found[free]
    prices.write_text('"sim/r1-onevision-7b" = [1000, 1000]\n"sim/judge" = [1000, 1000]\n')
    assert dollars()[asked], "at one price it does not matter whose they are"


def test_money_is_limited_by_the_file_and_not_without_a_price(tmp_path: Path, prices: Path) -> None:
    study = study_at(tmp_path, "http://127.0.0.1:9/v1")
    arguments = ("run", study, "--store", tmp_path / "store", "--max-cost", "1", "--dry-run")
    with pytest.raises(OptionError, match="--max-cost cannot hold"):
        run(*arguments, "--prices", prices)
    prices.write_text(prices.read_text() + "b = [0, 0]\n")
    assert run(*arguments, "--prices", prices).exit_code == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("openai/a = [1, 2]", r"prices.toml, line 1: this is not TOML: .*line 1, column 7"),
        ('"a" = [1, 2]\n\n"b" = [1, 2', r"prices.toml, line 3: this is not TOML: Unclosed array"),
        ("gpt-4.1 = [1, 2]", r'line 1, gpt-4: put a name .* in quotes, as in "gpt-4.1"'),
        ("[gpt-4]\n1 = [1, 2]", r'line 1, gpt-4: put a name .* in quotes, as in "gpt-4.1"'),
        ('a = [1]\nb = [1, 2]\n"c" = 3', r"(?s)line 1, a: a price .*line 3, c: a price"),
        ('"openai/a" = [1]', r"openai/a: a price is two numbers"),
        ("a = [-1, 2]", "a: a price is two numbers"),
        ('a = "cheap"', "a: a price is two numbers"),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, prices: Path, text: str, says: str) -> None:
    prices.write_text(text)
    study = study_at(tmp_path, "http://127.0.0.1:9/v1")
    with pytest.raises(OptionError, match=says):
        run("run", study, "--store", tmp_path / "s", "--dry-run", "--prices", prices)


@pytest.mark.parametrize(
    "text", [f"a = {'[' * 5000}{']' * 5000}", '"sim/m" = [1e308, 1e308]', '"sim/m" = [nan, 1]']
)
def test_prices_that_are_none_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(text)
    with pytest.raises(OptionError, match=r"nested too deeply|a price is two numbers from 0 on"):
        Prices.read(path)


def test_every_bad_price_is_an_error_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "prices.toml"
    path.write_text("a = [1]\nb = -1\n")
    study = study_at(tmp_path, "http://127.0.0.1:9/v1")
    words = ["run", study, "--store", tmp_path / "s", "--dry-run", "--prices", path]
    monkeypatch.setattr("sys.argv", ["safemlrm", *map(str, words)])
    with pytest.raises(SystemExit):
        main()
    assert [line[:6] for line in capsys.readouterr().err.splitlines()] == ["error:"] * 2


def test_a_price_of_no_model_of_the_study_is_said(tmp_path: Path, prices: Path) -> None:
    """A slip in a name left a model without a price, and nothing said so."""
    prices.write_text(
        '"openai/A" = [2.0, 10.0]\n"openai/b" = [1, 5]\n"j" = [1, 5]\nclaude-9 = [1, 5]\n'
    )
    study = study_at(tmp_path, "http://127.0.0.1:9/v1")
    arguments = ("run", study, "--store", tmp_path / "s", "--dry-run", "--prices", prices)
    told = run(*arguments).stderr
    assert "no model of the study is called 'openai/A'; did you mean openai/a?" in told
    assert "1 price is of no model of the study: claude-9" in told
    assert "openai/b'" not in told
