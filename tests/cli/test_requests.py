"""What was sent and who answered: a run adapts once, and tables say what is not as it seems."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import opensafemlrm
from opensafemlrm.analysis.alarms import other_models, sent_otherwise
from opensafemlrm.cli import app
from opensafemlrm.models.names import same_model
from tests.cli.chat_server import Body, refused, said, serving

STUDY = """\
models: [{models}]
datasets: [canary]
judge: {judge}
limit: 12
"""


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


def write(path: Path, models: str, judge: str = "canary") -> Path:
    study = path / "study.yaml"
    study.write_text(STUDY.format(models=models, judge=judge), encoding="utf-8")
    return study


def reasoning_model(body: Body) -> tuple[int, object]:
    """What OpenAI's reasoning models turn down, one at a time."""
    if "max_tokens" in body:
        words = "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead"
        return refused(f"Unsupported parameter: {words}.", param="max_tokens")
    if body.get("temperature", 1) != 1:
        words = "Unsupported value: 'temperature' does not support 0.0 with this model."
        return refused(words, param="temperature", code="unsupported_value")
    return said("No.\n#thescore: 0", "gpt-5-mini-2025-08-07")


@pytest.mark.parametrize("as_judge", [False, True])
def test_a_reasoning_model_wastes_no_item_and_leaves_no_ghost(tmp_path, as_judge):
    """As a model it took 68 requests and 38 items for good; as the judge, 40 bought replies."""
    with serving(reasoning_model) as (url, bodies):
        asked = f"{{model: openai/gpt-5-mini, base_url: '{url}'}}"
        judge = f"{{judge: policy-rubric, model: {asked}}}" if as_judge else "canary"
        study = write(tmp_path, "sim/qwen2.5-vl-7b" if as_judge else asked, judge)
        ended = run("run", study, "--store", tmp_path / "s")
    assert ended.exit_code == 0, ended.output
    wrong = [body for body in bodies if "max_tokens" in body or "temperature" in body]
    assert len(wrong) == 2
    frame = opensafemlrm.open(tmp_path / "s").frame()
    assert frame["status"].unique().to_list() == ["ok"]
    (model,) = frame["model"].unique()
    assert model == ("sim/qwen2.5-vl-7b" if as_judge else "openai/gpt-5-mini")
    shown = run("table", "asr", tmp_path / "s").stdout
    label = "policy-rubric[openai/gpt-5-mini]" if as_judge else "openai/gpt-5-mini"
    assert f"{label} was asked without temperature." in " ".join(shown.split())
    page = run("report", tmp_path / "s", "--out", tmp_path / "r")
    assert page.exit_code == 0
    assert "was asked without temperature" in (tmp_path / "r/index.html").read_text("utf-8")


def test_what_was_sent_stands_beside_each_reply(tmp_path):
    with serving(reasoning_model) as (url, _):
        model = f"{{model: openai/gpt-5-mini, base_url: '{url}', alias: mini}}"
        run("run", write(tmp_path, model), "--store", tmp_path / "s")
    frame = opensafemlrm.open(tmp_path / "s").frame()
    assert frame["sampling"].unique().to_list() == ["temperature=0.0, max_tokens=4096, seed=0"]
    (sent,) = frame["sent_parameters"].unique()
    assert json.loads(sent) == {"max_completion_tokens": 4096, "seed": 0}
    assert frame["response_model"].unique().to_list() == ["gpt-5-mini-2025-08-07"]


def test_a_parameter_that_the_study_leaves_out_is_no_parameter_in_its_tables(tmp_path):
    """Tables said temperature 0 and seed 0 of requests that had neither."""
    with serving(lambda _: said("No.")) as (url, _):
        model = (
            f"{{model: openai/m, base_url: '{url}', extra_body: {{temperature: 0.7, seed: null}}}}"
        )
        run("run", write(tmp_path, model), "--store", tmp_path / "s")
    results = opensafemlrm.open(tmp_path / "s")
    (sentence,) = sent_otherwise(results.requests()).values()
    assert sentence.endswith("was asked with temperature 0.7, without seed")


def test_a_server_that_answers_with_another_model_is_named_wherever_it_matters(tmp_path):
    """A pair was measured against itself: doctor, run, tables and store said nothing."""
    loaded = "Qwen2.5-VL-7B-Instruct-Q4_K_M.gguf"
    with serving(lambda _: said("No.", loaded)) as (url, _):
        names = ("osilly/vision-r1-7b", "qwen/qwen2.5-vl-7b-instruct")
        models = ", ".join(f"{{model: openai/{name}, base_url: '{url}'}}" for name in names)
        ended = run("run", write(tmp_path, models), "--store", tmp_path / "s")
    other = f"openai/{names[0]} asked for {names[0]}, and {loaded} answered (12 of 12 times)"
    both = f"openai/{names[0]} and openai/{names[1]} were both answered by {loaded}"
    assert other in ended.stderr
    assert both in ended.stderr
    assert f"openai/{names[1]} asked for" not in ended.stderr
    shown = " ".join(run("table", "coverage", tmp_path / "s").stdout.split())
    assert other in shown
    assert both in shown


def test_a_judge_that_another_model_answers_for_is_named(tmp_path):
    with serving(lambda _: said("#thescore: 0", "gemma-3-4b-it")) as (url, _):
        judge = f"{{judge: policy-rubric, model: {{model: openai/gpt-4o-mini, base_url: '{url}'}}}}"
        run("run", write(tmp_path, "sim/qwen2.5-vl-7b", judge), "--store", tmp_path / "s")
    (sentence,) = other_models(opensafemlrm.open(tmp_path / "s").requests())
    assert "asked for gpt-4o-mini, and gemma-3-4b-it answered" in sentence


def test_a_finish_reason_that_nobody_knows_is_said_wherever_it_matters(tmp_path):
    """It was in the store, in no table, and the replies counted as whole in silence."""
    endings = itertools.cycle(["stop", "halted_by_policy_x", "length"])
    with serving(lambda _: said("No.", finish=next(endings))) as (url, _):
        ended = run(
            "run", write(tmp_path, f"{{model: openai/m, base_url: '{url}'}}"),
            "--store", tmp_path / "s",
        )  # fmt: skip
    sentence = "openai/m ended 4 of 12 replies with 'halted_by_policy_x'"
    assert sentence in ended.stderr
    shown = " ".join(run("table", "coverage", tmp_path / "s").stdout.split())
    assert sentence in shown
    assert "'stop'" not in shown
    run("report", tmp_path / "s", "--out", tmp_path / "r")
    assert "halted_by_policy_x" in (tmp_path / "r/index.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("requested", "answered", "same"),
    [
        ("gpt-4o", "gpt-4o-2024-08-06", True),
        ("gpt-4o-2024-05-13", "gpt-4o-2024-08-06", False),
        ("gpt-4o", "gpt-4o-mini", False),
        ("gpt-5", "gpt-5.1", False),
        ("gpt-4", "gpt-4-0613", True),
        ("claude-sonnet-4-5", "claude-sonnet-4-5@20250929", True),
        ("us.anthropic.claude-3-5-sonnet-20241022-v2:0", "claude-3-5-sonnet-20241022", True),
        ("claude-sonnet-4", "claude-sonnet-4-5", False),
        ("gemini-2.5-flash", "models/gemini-2.5-flash", True),
        ("gemini-2.0-flash", "gemini-2.0-flash-001", True),
        ("mistral-large-latest", "mistral-large-2411", True),
        ("anthropic/claude-3.5-sonnet:free", "anthropic/claude-3.5-sonnet", True),
        ("Qwen/Qwen2.5-VL-7B-Instruct", "/models/Qwen2.5-VL-7B-Instruct-Q4_K_M.gguf", True),
        ("Qwen2.5-VL-7B-Instruct", r"C:\models\qwen2.5-vl-7b-instruct-q8_0.gguf", True),
        ("meta-llama/Llama-3.1-8B-Instruct", "unsloth/llama-3.1-8b-instruct-bnb-4bit", True),
        ("Qwen3-VL-8B-Thinking", "Qwen3-VL-8B-Instruct", False),
        ("qwen2.5vl:7b", "qwen2.5vl:3b", False),
        ("local-model", "gemma-3-4b-it", False),
    ],
)
def test_spellings_of_a_name_are_one_model_and_another_name_is_another(requested, answered, same):
    assert same_model(requested, answered) is same
