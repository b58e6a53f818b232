"""What is of no use is stopped on a cluster as in one process, and nothing else is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from opensafemlrm import frame
from opensafemlrm.datasets.canary import Canary
from opensafemlrm.errors import EndpointDownError, StoppedError
from opensafemlrm.store import Store
from opensafemlrm.study import Study
from opensafemlrm.types import Item, JudgeRequest, Prompt, Response, Sampling, Unscored, Verdict
from tests.cluster.local import run_locally
from tests.support import Scorer, Scripted, ok

# What travels to a worker has to be such as can be pickled.


def answer(prompt: Prompt, seed: int | None) -> Response:
    del seed
    return ok(f"About {prompt.turns[-1].text}")


def no_score(ask: JudgeRequest) -> Verdict:
    del ask
    return Verdict.none(Unscored.UNPARSED, rationale="Hm. " * 50, requests=1)


def a_score(ask: JudgeRequest) -> Verdict:
    del ask
    return Verdict.scored(1, unsafe=False, requests=1)


@dataclass(frozen=True)
class Dying(Scripted):
    async def generate(self, prompt: Prompt, sampling: Sampling) -> Response:
        if len(self.asked) >= 5:
            raise EndpointDownError("the server has stopped answering")
        return await Scripted.generate(self, prompt, sampling)


@dataclass(frozen=True)
class Gone(Scorer):
    name = "gone"

    async def judge(self, item: Item, asks: Sequence[JudgeRequest]) -> list[Verdict]:
        if len(self.asked) >= 5:
            raise EndpointDownError("the judge has stopped answering")
        return await Scorer.judge(self, item, asks)


def stopped(path: Path, models: list[Any], judge: Any, *, workers: int, limit: int) -> StoppedError:
    study = Study(models, [Canary()], judge, limit=limit)
    with pytest.raises(StoppedError) as caught:
        asyncio.run(run_locally(study, path, workers))
    return caught.value


def replies(path: Path) -> dict[str, int]:
    with Store.open(path) as store:
        table = frame.read(store).filter(status="ok").unique("sample")
    return dict(table["model"].cast(str).value_counts().iter_rows())


def test_a_model_that_is_gone_leaves_the_others_alone(tmp_path: Path) -> None:
    models = [Scripted(answer, model="a"), Dying(answer, model="b")]
    caught = stopped(tmp_path, models, Scorer(a_score), workers=2, limit=100)
    assert str(caught) == "the model scripted/b was stopped: the server has stopped answering"
    kept = replies(tmp_path)
    assert kept["scripted/a"] == 100
    assert 5 <= kept["scripted/b"] <= 10  # five a worker

    mended = [Scripted(answer, model="a"), Scripted(answer, model="b")]
    study = Study(mended, [Canary()], Scorer(a_score), limit=100)
    plan, _ = asyncio.run(run_locally(study, tmp_path, 2))
    assert [cell.tally.ok for cell in plan.cells] == [0, 100 - kept["scripted/b"]]


def test_a_judge_that_is_gone_ends_the_run_and_keeps_the_replies(tmp_path: Path) -> None:
    caught = stopped(tmp_path, [Scripted(answer)], Gone(a_score), workers=2, limit=250)
    assert str(caught) == "the judge gone was stopped: the judge has stopped answering"
    kept = replies(tmp_path)["scripted/one"]
    assert 10 <= kept < 200
    study = Study([Scripted(answer)], [Canary()], Scorer(a_score), limit=250)
    plan, _ = asyncio.run(run_locally(study, tmp_path, 2))
    assert plan.cells[0].tally.judged == 250  # another judge reads every reply
    with Store.open(tmp_path) as store:
        assert store.connection.execute("SELECT count(*) FROM generations").fetchone() == (250,)


def test_workers_that_got_no_score_between_them_stop_the_judge(tmp_path: Path) -> None:
    """Four workers have a few texts each: none of them alone would notice."""
    caught = stopped(tmp_path, [Scripted(answer)], Scorer(no_score), workers=4, limit=64)
    assert caught.judge is not None
    assert "it gave no score for any of the first" in str(caught)


def test_a_judge_that_scores_on_any_worker_goes_on(tmp_path: Path) -> None:
    study = Study([Scripted(answer)], [Canary()], Scorer(a_score), limit=64)
    plan, _ = asyncio.run(run_locally(study, tmp_path, 4))
    assert plan.cells[0].tally.judged == 64
