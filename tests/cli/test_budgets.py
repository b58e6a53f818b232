"""Every command that can buy something keeps to a budget, and the next call goes on from there."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opensafemlrm.store import DATABASE
from tests.audit.stores import safemlrm
from tests.cli.chat_server import Body, said, serving, words_of

TOKENS = {"prompt_tokens": 1000, "completion_tokens": 100}
JUDGED = "It is a recipe.\n#understood: yes\n#thescore: 2"
PRICES = '"openai/m" = [100, 1000]\n"openai/j" = [100, 1000]\n'
"""A request of 1,000 tokens in and 100 out is 0.20 dollars."""


class Server:
    """Answers models, judges and helpers, and counts the requests that came to it."""

    def __init__(self) -> None:
        self.url, self.bodies = "", list[Body]()

    def answer(self, body: Body) -> tuple[int, Any]:
        text = JUDGED if body["model"] == "j" else f"Boil it, {len(words_of(body))} times."
        if body["model"] == "h":
            question = words_of(body).rpartition("Question: ")[2].strip()
            text = (
                f"instruction: Steps for {question}.\nkey_phrase: {question}\nrephrased: the phrase"
            )
        return said(text, usage=TOKENS)

    def model(self, name: str, more: str = "") -> str:
        return f"{{model: openai/{name}, base_url: '{self.url}', concurrency: 1{more}}}"

    def took(self) -> int:
        taken = len(self.bodies)
        self.bodies.clear()
        return taken


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    chat = Server()
    (tmp_path / "prices.toml").write_text(PRICES)
    monkeypatch.chdir(tmp_path)
    with serving(chat.answer) as (chat.url, chat.bodies):
        yield chat


def spent(result: Any, what: str) -> None:
    """The command ended as `run` ends with a spent budget."""
    assert result.exit_code == 3, result.stderr
    assert f"the budget of {what} is spent" in result.stderr
    assert "everything that came is kept" in result.stderr


def write_study(server: Server, limit: int, more: str = "", judge: str = "refusal") -> Path:
    path = Path("study.yaml")
    path.write_text(
        f"models: [{server.model('m', more)}]\ndatasets: [canary]\njudge: {judge}\n"
        f"limit: {limit}\nsampling: {{max_tokens: 100}}\n"
    )
    return path


def count(query: str, store: str = "store") -> int:
    with sqlite3.connect(Path(store) / DATABASE) as database:
        return int(database.execute(query).fetchone()[0])


def test_eval_keeps_to_a_budget_and_goes_on(server: Server) -> None:
    options = ("--model", f"{server.url}#m", "--limit", 10, "-o", "model.concurrency=1")
    command = ("eval", "canary", *options, "--store", "store")
    spent(safemlrm(*command, "--max-requests", 4), "4 requests")
    assert server.took() == 4
    assert count("SELECT count(*) FROM generations WHERE status = 'ok'") == 4
    spent(safemlrm(*command, "--max-cost", 0.5, "--prices", "prices.toml"), "0.50 dollars")
    took = server.took()
    assert took in (3, 4), "one request may be under way beside the last"
    assert safemlrm(*command, "--max-requests", 4).exit_code == 0
    assert server.took() == 6 - took


def test_a_price_that_nobody_knows_is_no_budget(server: Server) -> None:
    """It would never be spent."""
    from opensafemlrm.errors import OptionError

    study = write_study(server, 4)
    judge = f"{{judge: policy-rubric, model: {server.model('unknown')}}}"
    for command in (
        ("eval", "canary", "--model", f"{server.url}#m", "--store", "store"),
        ("watch", study, "--store", "store"),
        ("calibrate", judge, "--labels", "labels.csv", "--store", "store"),
        ("datasets", "derive", "canary", "--out", "d.jsonl", "--model", f"{server.url}#h"),
    ):
        with pytest.raises(OptionError, match="no price, so --max-cost cannot hold"):
            safemlrm(*command, "--max-cost", 1)
    assert server.took() == 0


@pytest.mark.parametrize("first", [13, 20, 23])
def test_a_watch_that_is_cut_short_says_so_and_goes_on(server: Server, first: int) -> None:
    """20 of the whole run, 4 × 2 of the first probe, 2 of each later one."""
    command = ("watch", write_study(server, 20), "--store", "store")
    spent_first = safemlrm(*command, "--max-requests", first)
    assert spent_first.exit_code == 3
    assert f"the budget of {first} requests is spent" in spent_first.stderr
    assert server.took() == first
    assert safemlrm(*command).exit_code == 0
    assert server.took() == 28 - first
    cut = safemlrm(*command, "--max-requests", 1)
    spent(cut, "1 request")
    assert "the probe is not finished" in cut.stderr
    assert "no change" not in cut.stderr
    assert server.took() == 1
    end = safemlrm(*command, "--max-requests", 5)
    assert end.exit_code == 0, end.stderr
    assert "no change seen in 2 replies" in end.stderr
    assert server.took() == 1


def test_one_budget_holds_for_the_probe_and_the_whole_run_of_a_watch(server: Server) -> None:
    command = ("watch", write_study(server, 20), "--store", "store")
    assert safemlrm(*command, "--max-requests", 28).exit_code == 0
    assert server.took() == 28
    again = safemlrm(*command, "--whole", "--max-cost", 1, "--prices", "prices.toml")
    spent(again, "1.00 dollars")
    assert server.took() in (5, 6), "one request may be under way beside the last"


def test_replies_of_a_store_are_judged_within_a_budget(server: Server) -> None:
    assert safemlrm("run", write_study(server, 10), "--store", "store").exit_code == 0
    server.took()
    judge = f"{{judge: policy-rubric, model: {server.model('j')}}}"
    command = ("judges", "apply", judge, "store")
    of_judge = (
        "SELECT count(*) FROM judgements j JOIN components c ON c.key = j.judge "
        "WHERE c.label LIKE 'policy%'"
    )
    cut = safemlrm(*command, "--max-requests", 4)
    spent(cut, "4 requests")
    assert "4 replies judged with 4 requests" in cut.stderr
    assert (server.took(), count(of_judge)) == (4, 4)
    spent(safemlrm(*command, "--max-cost", 0.3, "--prices", "prices.toml"), "0.30 dollars")
    assert (server.took(), count(of_judge)) == (2, 6)
    assert safemlrm(*command, "--max-requests", 4).exit_code == 0
    assert (server.took(), count(of_judge)) == (4, 10)


@pytest.mark.parametrize("more", ["", ", stages: [Look., Answer.]"])
def test_texts_that_a_judge_reads_twice_are_judged_however_often_it_is_cut_short(
    server: Server, monkeypatch: pytest.MonkeyPatch, more: str
) -> None:
    """All began at once, and each was cut before its second try: paid for, and never kept."""
    assert safemlrm("run", write_study(server, 6), "--store", "store").exit_code == 0
    monkeypatch.setitem(globals(), "JUDGED", "I cannot say; let me think.")
    model = f"{{model: openai/j, base_url: '{server.url}'{more}}}"
    command = ("judges", "apply", f"{{judge: policy-rubric, model: {model}}}", "store")
    a_text = 4 if more else 2
    texts = "SELECT count(*) FROM verdicts WHERE requests = 2"
    for came in (1, 2):
        server.took()
        cut = safemlrm(*command, "--max-requests", a_text + 1)
        spent(cut, f"{a_text + 1} requests")
        assert (server.took(), count(texts)) == (a_text + 1, came)
        assert f"1 reply judged with {a_text + 1} requests" in cut.stderr
    assert safemlrm(*command, "--max-requests", 100).exit_code == 0
    assert (server.took(), count(texts)) == (4 * a_text, 6)


def write_labels(n: int) -> None:
    with Path("labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["question", "answer", "label"])
        rows.writerows([f"soup {i}?", f"Boil it {i} times.", i % 2] for i in range(n))


def test_a_calibration_keeps_to_a_budget_and_is_kept_only_whole(server: Server) -> None:
    write_labels(6)
    judge = f"{{judge: policy-rubric, model: {server.model('j')}}}"
    command = ("calibrate", judge, "--labels", "labels.csv")
    refused = safemlrm(*command, "--max-requests", 4)
    assert (refused.exit_code, server.took()) == (2, 0)
    assert "a budget needs --store" in " ".join(refused.stderr.split())
    cut = safemlrm(*command, "--store", "store", "--max-requests", 4)
    spent(cut, "4 requests")
    assert (cut.stdout, server.took()) == ("", 4)
    assert count("SELECT count(*) FROM calibrations") == 0
    again = safemlrm(*command, "--store", "store", "--max-requests", 4, "--probe")
    spent(again, "4 requests")
    assert server.took() == 4
    assert "flips" not in again.stdout
    assert count("SELECT count(*) FROM calibrations") > 0
    cut = safemlrm(*command, "--store", "store", "--max-requests", 3, "--retest")
    spent(cut, "3 requests")
    assert "the retest is not kept" in cut.stderr
    assert server.took() == 3


def test_a_helper_keeps_to_a_budget_and_goes_on(server: Server) -> None:
    with Path("own.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "question"])
        rows.writerows([i, f"the soup number {i}"] for i in range(7))
    Path("prices.toml").write_text('"openai/h" = [100, 1000]\n')
    Path("own.mapping.yaml").write_text("name: own\nquestion: question\nid: id\n")
    model = f"{server.url}#h"
    data = ("datasets", "derive", "table", "-o", "path=own.csv")
    command = (*data, "--out", "d.jsonl", "--model", model)
    spent(safemlrm(*command, "--max-requests", 3), "3 requests")
    assert (server.took(), len(Path("d.jsonl").read_text().splitlines())) == (3, 3)
    spent(safemlrm(*command, "--max-cost", 0, "--prices", "prices.toml"), "0.00 dollars")
    assert server.took() == 0
    assert safemlrm(*command, "--max-requests", 5).exit_code == 0
    lines = [json.loads(line) for line in Path("d.jsonl").read_text().splitlines()]
    assert (server.took(), len({line["id"] for line in lines})) == (4, 7)


@pytest.mark.parametrize("limit", [5, 6, 7])
def test_each_stage_of_a_reply_is_a_request_that_can_be_the_last(
    server: Server, limit: int
) -> None:
    """`--max-requests 5` with three stages sent 15."""
    study = write_study(server, 5, ", stages: [Look., Think., Answer.]")
    result = safemlrm("run", study, "--store", "store", "--max-requests", limit)
    spent(result, f"{limit} requests")
    assert server.took() == limit
    assert count("SELECT count(*) FROM generations WHERE status = 'ok'") == limit // 3
    assert safemlrm("run", study, "--store", "store").exit_code == 0
    assert server.took() == 15 - 3 * (limit // 3)
    assert count("SELECT count(*) FROM generations WHERE status = 'ok'") == 5


@pytest.mark.parametrize("budget", [("--max-requests", 4), ("--max-cost", 0.7)])
def test_replies_in_stages_come_however_often_they_are_cut_short(
    server: Server, budget: tuple[str, float]
) -> None:
    """Eight began at once, and none of them was ever whole: each call was paid for nothing."""
    more = ", price: [100, 1000], stages: [Look., Think., Answer.]"
    study = write_study(server, 4, more.replace("price", "concurrency: 8, price"))
    study.write_text(study.read_text().replace("concurrency: 1, ", ""))
    for came in (1, 2, 3):
        result = safemlrm("run", study, "--store", "store", *budget)
        assert result.exit_code == 3, result.stderr
        assert server.took() <= 5
        assert count("SELECT count(*) FROM generations WHERE status = 'ok'") == came
    assert safemlrm("run", study, "--store", "store", *budget).exit_code == 0
    assert server.took() == 3


def test_money_ends_a_reply_between_its_stages(server: Server) -> None:
    study = write_study(server, 5, ", price: [100, 1000], stages: [Look., Think., Answer.]")
    result = safemlrm("run", study, "--store", "store", "--max-cost", 0.7)
    spent(result, "0.70 dollars")
    assert server.took() in (4, 5), "one request may be under way beside the last"
