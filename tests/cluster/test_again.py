"""Failures are asked again on a cluster as in one process, in a store and in a sink."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from opensafemlrm import frame
from opensafemlrm.datasets.canary import Canary
from opensafemlrm.engine.again import NOTHING, Again
from opensafemlrm.errors import EndpointDownError, StoppedError
from opensafemlrm.store import Store
from opensafemlrm.store.sink import Sink
from opensafemlrm.store.source import open_source
from opensafemlrm.study import Study
from opensafemlrm.types import JudgeRequest, Prompt, Response, Unscored, Verdict
from tests.cluster.local import run_locally
from tests.support import Scorer, Scripted, ok


def turned_down(prompt: Prompt, seed: int | None) -> Response:
    del seed
    if len(prompt.turns[-1].text) % 2:
        return Response.failed("http_400", "not this one", transient=False)
    return ok(f"About {prompt.turns[-1].text}")


def answer(prompt: Prompt, seed: int | None) -> Response:
    del seed
    return ok(f"About {prompt.turns[-1].text}")


def gone(prompt: Prompt, seed: int | None) -> Response:
    raise EndpointDownError("nobody is there")


def no_score(ask: JudgeRequest) -> Verdict:
    if len(ask.text) % 3:
        return Verdict.none(Unscored.UNPARSED, requests=1)
    return a_score(ask)


def a_score(ask: JudgeRequest) -> Verdict:
    del ask
    return Verdict.scored(1, unsafe=False, requests=1)


@pytest.mark.parametrize("to_sink", [False, True])
def test_final_failures_and_texts_without_a_score_are_asked_again(
    tmp_path: Path, to_sink: bool
) -> None:
    sink = Sink(tmp_path / "sink") if to_sink else None
    address = tmp_path / ("sink" if to_sink else "store")

    def run(model: Scripted, judge: Scorer, name: str, again: Again = NOTHING) -> int:
        path = tmp_path / (name if to_sink else "store")
        study = Study([model], [Canary()], judge, limit=40)
        plan, _ = asyncio.run(run_locally(study, path, 2, sink=sink, again=again))
        return plan.cells[0].tally.ok

    first = run(Scripted(turned_down), Scorer(no_score), "first")
    assert 0 < first < 40
    assert run(Scripted(answer), Scorer(a_score), "idle") == 0
    assert run(Scripted(answer), Scorer(a_score), "again", Again(everything=True)) >= 40 - first
    with open_source(address) as source:
        rows = frame.read(source)
    assert set(rows["status"]) == {"ok"}
    assert rows["sample"].n_unique() == 40
    assert rows.filter(reason="unparsed").is_empty()
    assert rows.filter(part="answer")["score"].null_count() == 0


def test_a_model_that_never_answers_leaves_nothing_in_the_store(tmp_path: Path) -> None:
    study = Study([Scripted(gone, model="wrong")], [Canary()], Scorer(a_score), limit=40)
    with pytest.raises(StoppedError):
        asyncio.run(run_locally(study, tmp_path, 2))
    with Store.open(tmp_path) as store:
        assert frame.read(store).is_empty()
