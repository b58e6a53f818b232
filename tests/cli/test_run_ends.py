"""How ``safemlrm run`` ends where a server or a judge is of no use: words and exit codes."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from opensafemlrm.cli import app
from tests.cli import chat_server

Reply = tuple[int, str, str]
"""HTTP status, text and finish reason."""


@contextmanager
def serving(reply: Callable[[str, int], Reply]) -> Iterator[tuple[str, Counter[str]]]:
    """Serve Chat Completions by ``reply(model, number of the request to it)``."""
    asked: Counter[str] = Counter()
    lock = threading.Lock()

    def answer(body: chat_server.Body) -> tuple[int, Any]:
        model = body["model"]
        with lock:
            asked[model] += 1
            number = asked[model]
        status, text, finish = reply(model, number)
        if status != 200:
            return chat_server.refused(text, status)
        return chat_server.said(text, model, finish)

    with chat_server.serving(answer) as (url, _):
        yield url, asked


def write_study(path: Path, url: str, models: str = "ab", judge: str = "canary") -> Path:
    options = f"base_url: '{url}', concurrency: 4, max_retries: 0, give_up_after: 5"
    listed = ", ".join(f"{{model: openai/{name}, {options}}}" for name in models)
    judge = judge.replace("OPTIONS", options)
    study = path / "study.yaml"
    study.write_text(
        f"models: [{listed}]\ndatasets: [canary]\njudge: {judge}\nlimit: 40\n", encoding="utf-8"
    )
    return study


LLM_JUDGE = "{judge: policy-rubric, model: {model: openai/judge, OPTIONS}}"


def run(study: Path, *more: str) -> Result:
    arguments = ["run", str(study), "--store", str(study.parent / "store"), *more]
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def fine(model: str, number: int) -> Reply:
    text = "It helps.\n#thescore: 2" if model == "judge" else f"Reply {number} of {model}."
    return 200, text, "stop"


def test_a_server_that_is_down_for_one_model_ends_with_2_and_names_it(tmp_path: Path) -> None:
    """Rest of the night lost over one endpoint."""

    def reply(model: str, number: int) -> Reply:
        return (500, "out of order", "") if model == "b" and number > 10 else fine(model, number)

    with serving(reply) as (url, asked):
        result = run(write_study(tmp_path, url))
        assert result.exit_code == 2
        assert asked["a"] == 40
    assert "the model openai/b was stopped: " in result.stderr
    assert "out of order" in result.stderr
    assert "openai/a was stopped" not in result.stderr
    assert "everything that came is kept" in result.stderr
    assert "50 ok" in result.stderr
    with serving(fine) as (url, asked):
        again = run(write_study(tmp_path, url))
    assert again.exit_code == 0
    assert asked == {"b": 30}


def test_a_key_that_is_refused_stops_its_model_alone(tmp_path: Path) -> None:
    def reply(model: str, number: int) -> Reply:
        return (401, "this key is not known", "") if model == "b" else fine(model, number)

    with serving(reply) as (url, asked):
        result = run(write_study(tmp_path, url))
    assert (result.exit_code, asked["a"]) == (2, 40)
    assert "the model openai/b was stopped: " in result.stderr
    assert "this key is not known" in result.stderr


def test_a_judge_that_dies_after_50_texts_ends_with_2_and_loses_nothing(tmp_path: Path) -> None:
    def reply(model: str, number: int) -> Reply:
        dead = model == "judge" and number > 50
        return (503, "gone for the night", "") if dead else fine(model, number)

    with serving(reply) as (url, asked):
        result = run(write_study(tmp_path, url, judge=LLM_JUDGE))
        replies = asked["a"] + asked["b"]
    assert result.exit_code == 2
    assert "the judge policy-rubric" in result.stderr
    assert "gone for the night" in result.stderr
    assert replies < 80
    with serving(fine) as (url, asked):
        assert run(write_study(tmp_path, url, judge=LLM_JUDGE)).exit_code == 0
    assert asked["a"] + asked["b"] == 80 - replies
    assert asked["judge"] == 80 - 50


def test_a_judge_whose_replies_are_cut_is_stopped_and_says_what_to_raise(tmp_path: Path) -> None:
    """Each verdict was paid for, the exit code was 0 and no reason was given."""

    def reply(model: str, number: int) -> Reply:
        return (200, "Let me weigh this. " * 60, "length") if model == "judge" else fine(model, 0)

    def distinct(model: str, number: int) -> Reply:
        return reply(model, number) if model == "judge" else fine(model, number)

    with serving(distinct) as (url, asked):
        result = run(write_study(tmp_path, url, judge=LLM_JUDGE))
    assert result.exit_code == 2
    assert 20 <= asked["judge"] < 40
    assert "judge_truncated 2" in result.stderr
    assert "max_tokens" in result.stderr
    assert "1,140 characters" in result.stderr
    coverage = CliRunner().invoke(app, ["table", "coverage", str(tmp_path / "store")])
    assert "judge truncated" in coverage.stdout


def test_a_model_whose_samples_all_failed_ends_with_2_however_often_it_is_run(
    tmp_path: Path,
) -> None:
    def reply(model: str, number: int) -> Reply:
        return (422, "not with this picture", "") if model == "b" else fine(model, number)

    with serving(reply) as (url, asked):
        study = write_study(tmp_path, url)
        study.write_text(study.read_text().replace("limit: 40", "limit: 3"))
        for _ in range(2):
            result = run(study)
            assert result.exit_code == 2
            assert "every sample of the model openai/b failed" in result.stderr
            assert "openai/a failed" not in result.stderr
    assert asked["a"] == 3


def test_a_budget_beside_a_stopped_model_ends_with_2_and_says_both(tmp_path: Path) -> None:
    def reply(model: str, number: int) -> Reply:
        return (401, "this key is not known", "") if model == "b" else fine(model, number)

    with serving(reply) as (url, _):
        result = run(write_study(tmp_path, url), "--max-requests", "20")
    assert result.exit_code == 2
    assert "the model openai/b was stopped: " in result.stderr
    assert "the budget of 20 requests is spent" in result.stderr
