"""What was wrong with the world is no sample's fault: what a run says, its exit code, and the next.

Each server is one of a public report, played on this machine.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import opensafemlrm as osm
from opensafemlrm.cli import app
from opensafemlrm.errors import OptionError
from opensafemlrm.store import Store
from opensafemlrm.text import counted
from tests.cli import chat_server
from tests.models import error_bodies

Answer = tuple[int, Any]
HARMLESS = "Which colour is the sky"


@contextmanager
def serving(
    answer: Callable[[str, str, int], Answer | None],
) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Serve what ``answer(model, text, number of the request)`` says; a whole reply for ``None``.

    Yields the address, and (model, text) of every request of the study's.
    """
    asked: list[tuple[str, str]] = []
    lock = threading.Lock()

    def to(body: chat_server.Body) -> Answer:
        content = body["messages"][-1]["content"]
        text = content if isinstance(content, str) else content[-1]["text"]
        with lock:
            if HARMLESS not in text:
                asked.append((body["model"], text))
            number = sum(model == body["model"] for model, _ in asked)
        return answer(body["model"], text, number) or chat_server.said(f"Reply to: {text}")

    with chat_server.serving(to) as (url, _):
        yield url, asked


def write_study(path: Path, url: str, models: str = "a", n: int = 60, more: str = "") -> Path:
    options = f"base_url: '{url}', concurrency: 4, max_retries: 0{more}"
    listed = ", ".join(f"{{model: openai/{name}, {options}}}" for name in models)
    study = path / "study.yaml"
    study.write_text(
        f"models: [{listed}]\ndatasets: [canary]\njudge: canary\nlimit: {n}\n", encoding="utf-8"
    )
    return study


def run(study: Path, *more: str) -> Result:
    arguments = ["run", str(study), "--store", str(study.parent / "store"), *more]
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def table(path: Path, name: str) -> str:
    arguments = ["table", name, str(path / "store"), "--format", "json"]
    return CliRunner().invoke(app, arguments, catch_exceptions=False).stdout


def by_model(asked: list[tuple[str, str]]) -> dict[str, int]:
    return {name: sum(model == name for model, _ in asked) for name in {m for m, _ in asked}}


@pytest.mark.parametrize("words", ["anthropic", "openrouter, key", "litellm, JSON in a string"])
def test_credit_that_ends_after_100_stops_its_model_and_the_next_run_makes_the_rest(
    tmp_path: Path, words: str
) -> None:
    def answer(model: str, text: str, number: int) -> Answer | None:
        spent = model == "a" and number > 100
        return error_bodies.NO_CREDIT[words] if spent else None

    with serving(answer) as (url, asked):
        result = run(write_study(tmp_path, url, "ab", n=150))
    assert result.exit_code == 2
    assert "the model openai/a was stopped: " in result.stderr
    assert "credit, budget or quota is used up" in result.stderr
    assert "openai/b was stopped" not in result.stderr
    assert "everything that came is kept" in result.stderr
    assert "250 ok" in result.stderr
    assert 100 < by_model(asked)["a"] <= 100 + 2 * 4  # what was under way
    with serving(lambda *_: None) as (url, asked):
        again = run(write_study(tmp_path, url, "ab", n=150))
    assert again.exit_code == 0
    assert by_model(asked) == {"a": 50}


@pytest.mark.parametrize(
    "outage",
    [
        (404, "<html>404 Not Found</html>"),
        (403, "<html>Access denied</html>"),
        (400, {"detail": "model is unloaded"}),
        (413, "too large"),
        (302, ""),
        (200, {"status": "ok"}),
        (500, "down"),
    ],
    ids=lambda outage: str(outage[0]),
)
def test_an_outage_leaves_nothing_final_and_the_next_run_makes_the_rest(
    tmp_path: Path, outage: Answer
) -> None:
    """10 ok, 290 failed for good, and the exit code was 0."""
    with serving(lambda model, text, number: outage if number > 10 else None) as (url, asked):
        result = run(write_study(tmp_path, url, n=120))
    assert result.exit_code == 2
    assert "the model openai/a was stopped: " in result.stderr
    assert len(asked) < 60
    with serving(lambda *_: None) as (url, asked):
        again = run(write_study(tmp_path, url, n=120))
    assert (again.exit_code, len(asked)) == (0, 110)


def test_a_servers_flag_that_is_wrong_from_the_start_loses_no_item(tmp_path: Path) -> None:
    """19 items were gone for good after the server was started as it had told to."""
    status, body, _ = error_bodies.LATER["vllm, flag"]
    with serving(lambda *_: (status, body)) as (url, asked):
        result = run(write_study(tmp_path, url))
    assert result.exit_code == 2
    assert "--limit-mm-per-prompt" in result.stderr
    assert len(asked) <= 20 + 4
    with serving(lambda *_: None) as (url, asked):
        assert run(write_study(tmp_path, url)).exit_code == 0
    assert len(asked) == 60


def test_options_that_never_got_an_answer_are_no_ghost_in_a_table(tmp_path: Path) -> None:
    """A first try with the wrong options left a model of 19 failures in every table."""

    def answer(model: str, text: str, number: int) -> Answer | None:
        return (400, {"message": "unsupported: temperature"}) if len(asked) <= 40 else None

    with serving(answer) as (url, asked):
        assert run(write_study(tmp_path, url)).exit_code == 2
        asked.extend([("", "")] * 40)
        right = write_study(tmp_path, url, more=", extra_body: {temperature: null}")
        assert run(right).exit_code == 0
    for name in ("asr", "coverage"):
        shown = table(tmp_path, name)
        assert "openai/a[extra_body" in shown
        assert '"openai/a"' not in shown


def test_items_that_a_server_cannot_digest_keep_it_from_no_other(tmp_path: Path) -> None:
    """500 for 25 of 60 items, which came first, ended three runs at the same place."""
    bad: set[str] = set()

    def answer(model: str, text: str, number: int) -> Answer | None:
        if len(bad) < 25 and HARMLESS not in text:
            bad.add(text)
        return (500, "EngineCore died on this one") if text in bad else None

    with serving(answer) as (url, asked):
        first = run(write_study(tmp_path, url))
        assert "35 ok" in first.stderr
        assert "25 failed" in first.stderr
        assert (first.exit_code, len(asked)) == (0, 60)
        asked.clear()
        run(write_study(tmp_path, url, n=80))
        assert {text for _, text in asked[-20:]} <= bad  # they come last
        assert len(asked) == 20 + 25


def test_a_request_that_can_never_be_served_ends_at_once(tmp_path: Path) -> None:
    """27 tries with max_retries 2, and each Retry-After held all others: 66 seconds for 8."""
    status, body, code = error_bodies.LATER["openai, impossible"]

    def answer(model: str, text: str, number: int) -> Answer | None:
        return (status, body) if number == 7 else None

    with serving(answer) as (url, asked):
        result = run(write_study(tmp_path, url))
    assert (result.exit_code, len(asked)) == (0, 60)
    assert code in result.stderr


def test_what_failed_for_good_is_asked_again_where_that_is_asked_for(tmp_path: Path) -> None:
    odd: set[str] = set()

    def answer(model: str, text: str, number: int) -> Answer | None:
        if number in (20, 30, 40):
            odd.add(text)
        return (422, {"detail": [{"msg": "not this one"}]}) if text in odd else None

    with serving(answer) as (url, asked):
        study = write_study(tmp_path, url)
        assert run(study).exit_code == 0
    assert len(odd) == 3
    with serving(lambda *_: None) as (url, asked):
        study = write_study(tmp_path, url)
        assert (run(study).exit_code, len(asked)) == (0, 0)
        for option, n in (
            ("--retry-failed", 3),
            ("--retry-failed=http_422", 3),
            ("--retry-failed=http_404", 0),
        ):
            planned = run(study, "--dry-run", option).stdout
            assert f"To do: {counted(n, 'reply')} to generate" in planned
        absent = run(study, "--retry-failed=http_404")
        assert absent.exit_code == 0
        assert (
            "no failure has the code http_404; the store's failures have: http_422" in absent.stderr
        )
        for more in ([], ["--dry-run"]):
            strange = run(study, "--retry-failed=nosuch", *more)
            assert strange.exit_code == 2
            words = " ".join(strange.stderr.replace("│", " ").split())
            assert "no failure has the code 'nosuch'; the store's failures have: http_422" in words
        assert asked == []
        assert run(study, "--retry-failed").exit_code == 0
        assert {text for _, text in asked} == odd
        assert len(asked) == 3
        assert "http_422" not in table(tmp_path, "coverage")


def test_the_same_in_python(tmp_path: Path) -> None:
    odd: set[str] = set()

    def answer(model: str, text: str, number: int) -> Answer | None:
        if number == 20:
            odd.add(text)
        return (422, {"message": "not this one"}) if text in odd else None

    with serving(answer) as (url, asked):
        study = osm.load_study(write_study(tmp_path, url))
        osm.evaluate(study, tmp_path / "store", progress=False)
        odd.clear()
        asked.clear()
        osm.evaluate(study, tmp_path / "store", retry_failed="http_404", progress=False)
        with pytest.raises(OptionError, match=r"'nosuch'.*have: http_422"):
            osm.evaluate(study, tmp_path / "store", retry_failed="nosuch", progress=False)
        assert asked == []
        results = osm.evaluate(study, tmp_path / "store", retry_failed=True, progress=False)
        assert len(asked) == 1
    assert set(results.frame()["status"]) == {"ok"}


def test_a_block_is_shown_with_the_vendors_words(tmp_path: Path) -> None:
    status, body, code = error_bodies.BLOCKED["zhipu"]

    def answer(model: str, text: str, number: int) -> Answer | None:
        return (status, body) if number == 3 else None

    with serving(answer) as (url, _):
        result = run(write_study(tmp_path, url, n=10))
    assert result.exit_code == 0
    assert "1 blocked by the provider, for example:" in result.stderr
    assert f"blocked by {code}: System detected potentially unsafe" in result.stderr


def test_retry_failed_takes_no_word_that_follows_it(tmp_path: Path) -> None:
    with serving(lambda *_: None) as (url, asked):
        study = write_study(tmp_path, url, n=5)
        arguments = ["run", "--retry-failed", str(study), "--store", str(tmp_path / "store")]
        assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
    assert len(asked) == 5


def test_a_dead_server_of_several_is_told_by_the_run_and_kept_with_it(tmp_path: Path) -> None:
    with serving(lambda *_: None) as (gone, _):
        pass
    with serving(lambda *_: None) as (url, _):
        study = write_study(tmp_path, url)
        # A key in the path, where nothing else of an address is struck out.
        both = f"['{url}', '{gone};token=planted-9f3a7b2c']"
        text = study.read_text(encoding="utf-8").replace(f"'{url}'", both)
        study.write_text(text, encoding="utf-8")
        result = run(study)
    assert result.exit_code == 0
    (told,) = [line for line in result.stderr.splitlines() if "has not answered since" in line]
    assert told.startswith(f"look at this: openai/a: {gone};token=[secret]")
    # The first request, which learns what a server takes, goes to one alone.
    assert "59 requests went to other servers" in told
    with Store.open(tmp_path / "store") as store:
        ((environment,),) = store.connection.execute("SELECT environment FROM runs")
    assert json.loads(environment)["outages"] in told
    assert not any(b"planted-9f3a7b2c" in file.read_bytes() for file in tmp_path.rglob("*.sqlite*"))
