"""``safemlrm models`` and ``safemlrm doctor``, as a newcomer meets them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from opensafemlrm.cli import app, main
from opensafemlrm.cli._doctor import findings
from opensafemlrm.reasoning import FORMATS
from opensafemlrm.store import Store
from opensafemlrm.types import Response, ResponseStatus
from tests.support import Scripted, ok, study


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


def test_the_list_as_json_is_rows_with_null_for_what_is_not_known():
    rows = json.loads(run("models", "list", "--format", "json").stdout)
    by_id = {row["id"]: row for row in rows}
    assert len(rows) >= 30
    assert by_id["Skywork/Skywork-R1V-38B"]["base"] is None
    assert by_id["zai-org/GLM-4.5V"]["thinking"] == "on"


def test_show_tells_all_of_one_model_by_any_of_its_names():
    shown = json.loads(run("models", "show", "mulberry-llava-8b", "--format", "json").stdout)
    assert shown["base"] == "llava-hf/llama3-llava-next-8b-hf"
    assert shown["input_price"] is None
    assert "arXiv 2412.18319" in run("models", "show", "mulberry-llava-8b").stdout


def test_show_tells_what_a_reply_looks_like_and_where_that_was_seen():
    shown = run("models", "show", "R1-Onevision-7B-FP8").stdout
    assert "lone </think> counts" in shown
    assert "R1-Onevision README" in shown
    rows = json.loads(run("models", "list", "--format", "json").stdout)
    (row,) = [row for row in rows if row["id"] == "XiaomiMiMo/MiMo-VL-7B-RL"]
    assert "the base reasons too" in row["base_note"]


def test_formats_lists_each_with_what_auto_detects():
    rows = json.loads(run("models", "formats", "--format", "json").stdout)
    detected = {row["name"]: row["detected"] for row in rows}
    assert detected.keys() == FORMATS.keys()
    assert detected["harmony"]
    assert not detected["boxed"]
    assert "[THINK]" in run("models", "formats").stdout


def test_an_unknown_model_is_answered_with_the_nearest(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["safemlrm", "models", "show", "zai-org/GLM-4.7V"])
    with pytest.raises(SystemExit):
        main()
    assert "did you mean zai-org/GLM-4.6V" in capsys.readouterr().err


def test_pairs_as_json():
    rows = json.loads(run("models", "pairs", "--format", "json").stdout)
    (row,) = [row for row in rows if row["reasoner"] == "zai-org/GLM-4.5V"]
    assert (row["base"], row["switch"]) == ("zai-org/GLM-4.5V", True)


STUDY = "models: [sim/r1-onevision-7b]\ndatasets: [canary]\njudge: {judge}\n"


def write(tmp_path: Path, judge: str) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY.replace("{judge}", judge))
    return path


def test_doctor_asks_models_and_the_judges_model_and_writes_nothing(tmp_path):
    study = write(tmp_path, "{judge: policy-rubric, model: sim/judge}")
    result = run("doctor", study)
    assert result.exit_code == 0
    assert "2 models asked, 0 cannot be used" in result.stdout
    assert "closed (think, given)" in result.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["study.yaml"]


def test_doctor_ends_with_one_where_a_model_cannot_be_used(tmp_path, monkeypatch):
    """A wrong key is found before the run, not in its thousandth request."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    study = write(tmp_path, "{judge: policy-rubric, model: openai/gpt-4o-mini}")
    result = run("doctor", study)
    assert result.exit_code == 2
    assert "1 cannot be used" in result.stdout
    assert "OPENAI_API_KEY" in result.stdout


NO_IMAGES = Response.failed("http_400", "this model takes no images", transient=False)


@pytest.mark.parametrize(
    ("reply", "outcome", "takes_images"),
    [
        (lambda p: ok("blue"), "ok", True),
        (lambda p: Response(ResponseStatus.TRUNCATED, "bl"), "truncated", True),
        (lambda p: NO_IMAGES if p.images else ok("blue"), "takes text, but not images", False),
        (lambda p: NO_IMAGES, "failed", None),
        (lambda p: Response(ResponseStatus.BLOCKED, code="filter"), "blocked", None),
        (lambda p: Response.failed("timeout", "slow", transient=True), "failed", None),
    ],
)
async def test_doctor_tells_what_is_wrong(reply, outcome, takes_images):
    model = Scripted(lambda prompt, seed: reply(prompt))
    (finding,) = await findings(study(model))
    assert outcome in finding.outcome
    assert finding.images is takes_images
    assert finding.well is (takes_images is True)
    assert model.closed == [True]


BUDGETED = """\
models: [sim/r1-onevision-7b]
datasets: [canary]
judge: {judge: policy-rubric, model: sim/judge}
limit: 30
"""


def test_a_budget_ends_the_run_and_the_next_run_goes_on(tmp_path):
    """What was paid for is in the store, but for a sample cut off between its verdicts."""
    path = tmp_path / "study.yaml"
    path.write_text(BUDGETED)
    command = ("run", path, "--store", tmp_path / "store")
    first = run(*command, "--max-requests", "25")
    assert first.exit_code == 3
    assert "the budget of 25 requests is spent" in first.stderr
    with Store.open(tmp_path / "store") as store:
        (replies,) = store.connection.execute("SELECT count(*) FROM generations").fetchone()
        (asked,) = store.connection.execute("SELECT total(requests) FROM verdicts").fetchone()
    # The texts of one sample are judged together: two may be answered when the third is refused.
    assert 23 <= replies + asked <= 25
    second = run(*command)
    assert second.exit_code == 0
    again = run(*command, "--max-requests", "1")
    assert again.exit_code == 0, "nothing was missing, so nothing was asked"


def test_a_cost_without_prices_is_said_before_the_run(tmp_path, monkeypatch, capsys):
    path = tmp_path / "study.yaml"
    path.write_text(BUDGETED.replace("sim/judge", "openai/gpt-4o-mini"))
    arguments = ["safemlrm", "run", str(path), "--store", str(tmp_path / "s"), "--max-cost", "5"]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit):
        main()
    assert "openai/gpt-4o-mini has no price" in capsys.readouterr().err


def test_doctor_finds_a_dead_port_behind_a_panel_and_behind_a_guard(tmp_path):
    """It looked one level deep, and said of such a study that no model "cannot be used"."""
    path = write(
        tmp_path,
        "{judge: panel, judges: [canary, {judge: policy-rubric, model: DEAD#j'}}]}\n"
        "defenses:\n  - defense: self-reminder+guard-output\n    guard-output:"
        " {guard: {judge: llama-guard, model: DEAD#g'}}}".replace(
            "DEAD", "{max_retries: 0, model: 'http://127.0.0.1:9/v1"
        ),
    )
    result = run("doctor", path)
    assert result.exit_code == 2
    assert "3 models asked, 2 cannot be used" in result.stdout
    assert "openai/j" in result.stdout
    assert "openai/g" in result.stdout


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        ("soup", "should reason"),
        ("<think>moon", "there is no answer"),
        ("<think>moon</think>soup", ""),
    ],
)
async def test_doctor_names_a_model_that_should_reason_and_does_not(reply, says):
    """Gemma's thought was judged as its answer, and doctor said "ok"."""
    mine, base = (Scripted(lambda _, __: ok(reply), model=name) for name in ("mine", "base"))
    paired = dataclasses.replace(study(mine), models=(mine, base), pairs=((mine, base),))
    reasoner, other = await findings(paired)
    assert says in reasoner.detail
    assert says or "should reason" not in reasoner.detail
    assert "should reason" not in other.detail
