"""No text is judged twice, whether its verdict is in the store, on its way there, or under way."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opensafemlrm import engine
from opensafemlrm.engine.judge import _StoredKeys
from opensafemlrm.store import Store, records
from opensafemlrm.types import Verdict
from tests.support import Scorer, Scripted, items, ok, study


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    with Store.open(tmp_path_factory.mktemp("empty"), "create") as opened:
        yield opened


@given(
    keys=st.lists(st.binary(min_size=16, max_size=16)), other=st.binary(min_size=16, max_size=16)
)
def test_a_key_that_is_stored_is_never_said_to_be_missing(empty, keys, other):
    stored = _StoredKeys(empty.connection)
    for key in keys:
        stored.add(key)
    assert all(stored.may_hold(key) for key in keys)
    assert stored.may_hold(other) == any(key[:3] == other[:3] for key in keys)


def test_what_earlier_runs_stored_is_known_from_the_start(tmp_path):
    key = bytes(range(16))
    with Store.open(tmp_path, "create") as store:
        row = records.verdict_row(key, b"judge", Verdict.scored(1, unsafe=False))
        with store.transaction() as connection:
            connection.execute(records.PUT_VERDICT, row)
        stored = _StoredKeys(store.connection)
    assert stored.may_hold(key)
    assert not stored.may_hold(bytes(16))


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
        asyncio.run(engine.run(plan, store))
    assert plan.cells[0].tally.judged == 12
    assert len(judge.asked) == 1
