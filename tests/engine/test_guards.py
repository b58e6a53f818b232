"""A guard that gives no score, or a member of one, is named as a judge is; its model is stopped."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from opensafemlrm import engine, frame
from opensafemlrm.components import Judge
from opensafemlrm.defenses.guard import GuardInput, GuardOutput
from opensafemlrm.errors import StoppedError
from opensafemlrm.judges.panel import Panel
from opensafemlrm.store import Store
from opensafemlrm.types import JudgeRequest, Unscored, Verdict
from tests.support import Scorer, Scripted, Undefended, items, study


def lets_through(ask: JudgeRequest) -> Verdict:
    return Verdict.scored(0, unsafe=False, requests=1)


def says_nothing(ask: JudgeRequest) -> Verdict:
    return Verdict.none(Unscored.UNPARSED, rationale="Hm.", requests=1)


def guard(score: Callable[[JudgeRequest], Verdict], variant: str = "guard") -> Scorer:
    return Scorer(score, variant)


def run(path: Path, made: Callable[[Judge], Any], judge: Judge, n: int) -> None:
    what = dataclasses.replace(study(Scripted(), items(n)), defenses=(Undefended(), made(judge)))
    with Store.open(path, "create") as store:
        asyncio.run(engine.evaluate(engine.Plan.of(what), store))


def statuses(path: Path) -> dict[str, set[str]]:
    with Store.open(path) as store:
        rows = frame.read(store).select("defense", "status").unique().cast(pl.String)
    return {
        defense: set(rows.filter(defense=defense)["status"]) for defense in set(rows["defense"])
    }


@pytest.mark.parametrize("made", [GuardInput, GuardOutput])
@pytest.mark.parametrize("n", [3, 60])
def test_a_dead_guard_is_named_and_what_it_failed_is_asked_again(
    tmp_path: Path, made: Any, n: int
) -> None:
    """Its samples were failures for good, and the run ended well."""
    dead, mended = guard(says_nothing), guard(lets_through)
    with pytest.raises(StoppedError, match=r"asks scorer.*, and it gave no score for any of the"):
        run(tmp_path, made, dead, n)
    assert len(dead.asked) <= 20 + 10
    run(tmp_path, made, mended, n)
    assert set().union(*statuses(tmp_path).values()) == {"ok"}


@pytest.mark.parametrize("n", [3, 60])
def test_a_dead_member_of_a_guard_is_named_though_the_others_decide(tmp_path: Path, n: int) -> None:
    dead = guard(says_nothing, "dead")
    judge = Panel((guard(lets_through, "a"), guard(lets_through, "b"), dead))
    with pytest.raises(StoppedError, match=r"asks scorer\[variant=dead\], and it gave no score"):
        run(tmp_path, GuardInput, judge, n)
    label = GuardInput(judge).label
    assert statuses(tmp_path)[label] == {"failed"}  # no rate that looks whole
    with Store.open(tmp_path) as store:
        assert set(frame.read(store).filter(defense=label)["score"]) == {None}
    whole = Panel((*judge.judges[:2], guard(lets_through, "dead")))
    run(tmp_path, GuardInput, whole, n)
    assert statuses(tmp_path)[label] == {"ok"}


def test_a_guard_that_misses_some_requests_stops_nobody(tmp_path: Path) -> None:
    def score(ask: JudgeRequest) -> Verdict:
        return says_nothing(ask) if "question 7?" in ask.text else lets_through(ask)

    run(tmp_path, GuardInput, guard(score), 60)
    assert statuses(tmp_path) == {"none": {"ok"}, GuardInput(guard(score)).label: {"ok", "failed"}}
