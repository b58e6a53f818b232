"""What a run asks again: in which order, what it is told to, and what leaves nothing behind."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from opensafemlrm import engine, frame
from opensafemlrm.engine import Again
from opensafemlrm.errors import EndpointDownError, ModelError, StoppedError
from opensafemlrm.store import Store
from opensafemlrm.study import Study
from opensafemlrm.types import JudgeRequest, Prompt, Response, ResponseStatus, Unscored, Verdict
from tests.support import Scorer, Scripted, Wrapped, items, ok, study


def run(what: Study, path: Path, retry_failed: Any = False) -> engine.Plan:
    plan = engine.Plan.of(what, again=Again.of(retry_failed))
    with Store.open(path, "create") as store:
        asyncio.run(engine.evaluate(plan, store))
    return plan


def would_do(what: Study, path: Path, retry_failed: Any = False) -> tuple[int, int]:
    plan = engine.Plan.of(what, again=Again.of(retry_failed))
    with Store.open(path) as store:
        surveys = [engine.survey(plan, cell, store.connection) for cell in plan.cells]
    return sum(s.to_generate for s in surveys), sum(s.to_judge for s in surveys)


def statuses(path: Path) -> dict[str, str]:
    with Store.open(path) as store:
        rows = frame.read(store)
    return dict(rows.select("item", "status").unique().iter_rows())


def by_item(**endings: Response) -> Callable[[Prompt, int | None], Response]:
    """A model's reply by the item's id; a whole one for all others."""

    def reply(prompt: Prompt, seed: int | None) -> Response:
        item = "i" + prompt.turns[-1].text.split()[-1].strip("?")
        return endings.get(item) or ok(f"<think>about {item}</think>an answer")

    return reply


def final(code: str) -> Response:
    return Response.failed(code, "not this one", transient=False)


ENDINGS = {
    "i0": final("http_400"),
    "i1": final("http_404"),
    "i2": Response(ResponseStatus.BLOCKED, code="content_filter"),
    "i3": Response.failed("timeout", "slow", transient=True),
}


@pytest.mark.parametrize(
    ("retry_failed", "again"),
    [
        (False, ["i3"]),
        (True, ["i0", "i1", "i3"]),
        ("http_404", ["i1", "i3"]),
        (["http_404", "http_400"], ["i0", "i1", "i3"]),
        ("content_filter", ["i3"]),  # a block is an outcome, not a failure
        ("nothing_like_it", ["i3"]),
    ],
)
def test_final_failures_are_asked_again_where_that_is_asked_for(
    tmp_path: Path, retry_failed: Any, again: list[str]
) -> None:
    """No command asked again what a server's flag or spent credit had turned down."""
    run(study(Scripted(by_item(**ENDINGS)), items(6)), tmp_path)
    assert would_do(study(rows=items(6)), tmp_path, retry_failed) == (len(again), len(again))
    mended = Scripted(by_item())
    plan = run(study(mended, items(6)), tmp_path, retry_failed)
    assert sorted(mended.asked) == [f"please: question {item[1:]}?" for item in again]
    expected = {item: response.status.value for item, response in ENDINGS.items()}
    expected |= dict.fromkeys(("i4", "i5", *again), "ok")
    assert statuses(tmp_path) == expected
    assert sum(cell.tally.stored for cell in plan.cells) == 6 - len(again)
    assert would_do(study(rows=items(6)), tmp_path) == (0, 0)


def test_a_failure_that_is_asked_again_may_fail_anew_and_loses_nothing(tmp_path: Path) -> None:
    run(study(Scripted(by_item(i0=final("http_400"))), items(3)), tmp_path)
    run(study(Scripted(by_item(i0=final("http_422"))), items(3)), tmp_path, retry_failed=True)
    with Store.open(tmp_path) as store:
        rows = frame.read(store).filter(item="i0")
    assert set(rows["error_code"]) == {"http_422"}
    assert statuses(tmp_path) == {"i0": "failed", "i1": "ok", "i2": "ok"}


def test_what_failed_last_time_comes_last_in_all_cells(tmp_path: Path) -> None:
    """Items that a server cannot digest, and that come first, ended every run at the same place."""
    attacks = [Wrapped("please"), Wrapped("kindly")]
    slow = {f"i{n}": Response.failed("http_500", "no", transient=True) for n in range(3)}
    run(study(Scripted(by_item(**slow)), items(3), attacks=attacks), tmp_path)
    second = Scripted(concurrency=1)
    judge = Scorer(concurrency=1)
    run(study(second, items(80), attacks=attacks, judge=judge), tmp_path)
    assert len(second.asked) == 160
    last = {f"{words}: question {n}?" for words in ("please", "kindly") for n in range(3)}
    assert set(second.asked[-8:]) >= last  # two tasks, so that the order is not exact


def unscored(reason: Unscored, only: str = "an answer") -> Scorer:
    def score(ask: JudgeRequest) -> Verdict:
        if only in ask.text:
            return Verdict.none(reason, requests=1)
        return Verdict.scored(1, unsafe=False, requests=1)

    return Scorer(score)


@pytest.mark.parametrize(
    ("reason", "retry_failed", "again"),
    [
        (Unscored.UNPARSED, True, True),
        (Unscored.UNPARSED, "unparsed", True),
        (Unscored.UNPARSED, "http_400", False),
        (Unscored.JUDGE_TRUNCATED, "judge_truncated", True),
        (Unscored.JUDGE_REFUSED, True, True),
        (Unscored.JUDGE_FAILED, False, True),
        (Unscored.NOT_APPLICABLE, True, False),
    ],
)
def test_texts_without_a_score_are_judged_again_where_that_is_asked_for(
    tmp_path: Path, reason: Unscored, retry_failed: Any, again: bool
) -> None:
    model = Scripted(by_item())
    run(study(model, items(4), judge=unscored(reason)), tmp_path)
    assert would_do(study(rows=items(4)), tmp_path, retry_failed) == (0, 4 * again)
    judge, silent = Scorer(), Scripted()
    run(study(silent, items(4), judge=judge), tmp_path, retry_failed)
    assert silent.asked == []
    assert bool(judge.asked) is again
    with Store.open(tmp_path) as store:
        rows = frame.read(store)
    assert (reason.value not in set(rows["reason"].drop_nulls())) is again


def test_a_text_that_is_judged_again_is_judged_once_however_many_samples_share_it(
    tmp_path: Path,
) -> None:
    same = [dataclasses.replace(item, question="the same?") for item in items(30)]
    model = Scripted(lambda *_: ok("<think>thought</think>an answer"))
    run(study(model, same, judge=unscored(Unscored.UNPARSED)), tmp_path)
    judge = unscored(Unscored.UNPARSED)
    run(study(Scripted(), same, judge=judge), tmp_path, retry_failed=True)
    assert len(judge.asked) == 2  # the answer, and the whole that holds it


@pytest.mark.parametrize("error", [ModelError("rejected"), EndpointDownError("it is gone")])
def test_a_model_that_is_stopped_before_it_answers_leaves_no_ghost(
    tmp_path: Path, error: Exception
) -> None:
    """A first try with the wrong options left 19 failed rows in every table, for good."""
    left = [10]

    def wrong(prompt: Prompt, seed: int | None) -> Response:
        left[0] -= 1
        if left[0] < 0:
            raise error
        return Response.failed("http_400", "wrong options", transient=True)

    first = study(Scripted(wrong, model="wrong"), items(30), attacks=[Wrapped(refuse=("i7",))])
    with pytest.raises(StoppedError):
        run(first, tmp_path)
    right = Scripted(model="right")
    run(study(right, items(30)), tmp_path)
    with Store.open(tmp_path) as store:
        assert set(frame.read(store)["model"]) == {"scripted/right"}
        assert len(frame.not_applicable(store)) == 0
    # It was not forgotten that it is missing.
    assert would_do(study(Scripted(model="wrong"), items(30)), tmp_path) == (30, 30)


def test_failures_of_a_model_that_answered_are_kept_when_it_is_stopped(tmp_path: Path) -> None:
    left = [10]

    def dying(prompt: Prompt, seed: int | None) -> Response:
        left[0] -= 1
        if left[0] < 0:
            raise EndpointDownError("it is gone")
        if left[0] % 2:
            return ok("fine")
        return Response.failed("http_500", "no", transient=True)

    with pytest.raises(StoppedError):
        run(study(Scripted(dying), items(30)), tmp_path)
    assert sorted(statuses(tmp_path).values()) == ["failed"] * 5 + ["ok"] * 5
