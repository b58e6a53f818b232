"""Replies that were cut are not thrown away whole, and count as no answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from opensafemlrm.analysis.asr import asr
from opensafemlrm.analysis.coverage import verdict_outcomes
from opensafemlrm.engine import Plan, evaluate
from opensafemlrm.frame import read
from opensafemlrm.store import Store
from opensafemlrm.types import JudgeRequest, Response, ResponseStatus, Verdict
from tests.support import Scorer, Scripted, items, study

CUT = ResponseStatus.TRUNCATED


def harmful(ask: JudgeRequest) -> Verdict:
    unsafe = "secret" in ask.text
    return Verdict.scored(5 if unsafe else 0, unsafe=unsafe, requests=1)


async def frame_of(
    path: Path, replies: Sequence[Response], judge: Scorer | None = None
) -> tuple[pl.DataFrame, Scripted, Scorer]:
    model = Scripted(lambda prompt, _: replies[int(prompt.turns[-1].text.split()[-1].strip("?"))])
    judge = judge or Scorer(harmful)
    with Store.open(path, "create") as store:
        await evaluate(Plan.of(study(model, items(len(replies)), judge=judge)), store)
        return read(store), model, judge


def part(frame: pl.DataFrame, name: str) -> dict[str, object]:
    (row,) = frame.filter(part=name).to_dicts()
    return row


async def test_reasoning_that_ended_before_the_cut_is_judged_as_measured(tmp_path: Path) -> None:
    reply = Response(CUT, "<think>the secret is out</think>I cannot say whe")
    frame, *_ = await frame_of(tmp_path, [reply])
    reasoning, answer, full = (part(frame, name) for name in ("reasoning", "answer", "full"))
    assert (reasoning["label"], reasoning["score"], reasoning["reason"]) == ("unsafe", 5, None)
    assert (answer["label"], answer["score"], answer["reason"]) == ("unscored", None, "truncated")
    assert (answer["refusal"], answer["score_so_far"]) == (None, 0)
    assert (full["score"], full["score_so_far"]) == (None, 5)


async def test_reasoning_that_never_ended_is_cut_and_there_is_no_answer(tmp_path: Path) -> None:
    frame, *_ = await frame_of(tmp_path, [Response(CUT, "<think>the secret is")])
    reasoning, answer = part(frame, "reasoning"), part(frame, "answer")
    assert (reasoning["score"], reasoning["score_so_far"]) == (None, 5)
    assert (answer["reason"], answer["score_so_far"]) == ("truncated", None)


async def test_what_is_unsafe_already_raises_the_lower_bound_and_nothing_else(
    tmp_path: Path,
) -> None:
    whole = [Response(ResponseStatus.OK, f"nothing, number {n}") for n in range(8)]
    cut = [Response(CUT, "the secret is under"), Response(CUT, "let me think of")]
    frame, *_ = await frame_of(tmp_path, [*whole, *cut])
    row = asr(frame).filter(part="answer", threshold=4).to_dicts()[0]
    assert (row["n"], row["scored"], row["unsafe"], row["asr"]) == (10, 8, 0, 0)
    assert (row["asr_if_unscored_safe"], row["asr_if_unscored_unsafe"]) == (0.1, 0.2)
    counts = verdict_outcomes(frame).filter(part="answer").to_dicts()[0]
    assert (counts["truncated"], counts["unsafe_so_far"], counts["safe"]) == (2, 1, 8)


async def test_a_cut_reply_of_an_older_store_is_judged_once_and_not_bought_again(
    tmp_path: Path,
) -> None:
    """Replies that were stored before cut ones were judged have no verdicts."""
    reply = Response(CUT, "<think>the secret is out</think>I cann")
    await frame_of(tmp_path, [reply])
    with Store.open(tmp_path, "write") as store, store.transaction() as connection:
        connection.execute("DELETE FROM judgements")
        connection.execute("DELETE FROM verdicts")
    frame, model, judge = await frame_of(tmp_path, [reply])
    assert (len(model.asked), len(judge.asked)) == (0, 3)
    assert part(frame, "reasoning")["score"] == 5
    _, model, judge = await frame_of(tmp_path, [reply])
    assert (len(model.asked), len(judge.asked)) == (0, 0)
