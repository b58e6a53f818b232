"""No text is judged twice, whether its verdict is in the store, on its way there, or under way."""

from __future__ import annotations

import asyncio
import dataclasses

from opensafemlrm import engine
from opensafemlrm.store import Store
from tests.support import Scorer, Scripted, items, ok, study


def test_a_text_that_comes_back_before_its_verdict_is_committed_is_not_judged_again(
    tmp_path, monkeypatch
):
    """Between the judge's reply and the commit, a verdict is neither under way nor in the store."""
    monkeypatch.setattr("opensafemlrm.store.writer.DELAY", 0.05)
    judge = Scorer()
    same = [dataclasses.replace(item, question="the same?") for item in items(12)]
    model = Scripted(lambda *_: ok("all alike"), concurrency=1)
    plan = engine.Plan.of(study(model, same, judge=judge))
    with Store.open(tmp_path, "create") as store:
        asyncio.run(engine.evaluate(plan, store))
    assert plan.cells[0].tally.judged == 12
    assert len(judge.asked) == 1


def test_a_text_that_an_earlier_run_had_judged_is_not_judged_again(tmp_path):
    same = [dataclasses.replace(item, question="the same?") for item in items(2)]
    judges = []
    for some in (same[:1], same):
        judges.append(Scorer())
        what = study(Scripted(lambda *_: ok("all alike")), some, judge=judges[-1])
        with Store.open(tmp_path, "create") as store:
            asyncio.run(engine.evaluate(engine.Plan.of(what), store))
    assert [len(judge.asked) for judge in judges] == [1, 0]
