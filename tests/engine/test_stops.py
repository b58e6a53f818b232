"""One fault is one lane's: a model that is gone leaves the others alone, a judge ends the run."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from opensafemlrm import engine, frame
from opensafemlrm.components import Judge
from opensafemlrm.engine.score_watch import shape
from opensafemlrm.errors import EndpointDownError, JudgeError, ModelError, StoppedError
from opensafemlrm.judges.panel import Cascade, Panel, members_in
from opensafemlrm.judges.policy_rubric import PolicyRubric
from opensafemlrm.store import Store
from opensafemlrm.study import Study
from opensafemlrm.types import Item, JudgeRequest, Prompt, Response, Unscored, Verdict
from tests.support import Scorer, Scripted, items, ok, study


def two(first: Scripted, second: Scripted, judge: Any = None, n: int = 30) -> Study:
    return dataclasses.replace(study(rows=items(n), judge=judge), models=(first, second))


def run(what: Study, path: Path) -> engine.Plan:
    plan = engine.Plan.of(what)
    with Store.open(path, "create") as store:
        asyncio.run(engine.evaluate(plan, store))
    return plan


def stopped(what: Study, path: Path) -> StoppedError:
    with pytest.raises(StoppedError) as caught:
        run(what, path)
    return caught.value


def replies(path: Path, model: str) -> int:
    with Store.open(path) as store:
        table = frame.read(store)
    return table.filter(model=f"scripted/{model}", status="ok")["sample"].n_unique()


def gone(error: Exception, after: int = 0) -> Callable[[Prompt, int | None], Response]:
    """A model's reply that raises ``error`` once it has answered ``after`` times."""
    left = [after]

    def reply(prompt: Prompt, seed: int | None) -> Response:
        left[0] -= 1
        if left[0] < 0:
            raise error
        return ok(f"<think>about {prompt.turns[-1].text}</think>an answer")

    return reply


@pytest.mark.parametrize(
    "error", [EndpointDownError("the server has stopped answering"), ModelError("key refused")]
)
def test_a_model_that_is_gone_leaves_the_others_alone(tmp_path: Path, error: ModelError) -> None:
    """One endpoint that went down cancelled all others, and their paid replies were lost."""
    healthy = Scripted(model="a", delay=0.02)
    ill = Scripted(gone(error, after=5), model="b", concurrency=1)
    caught = stopped(two(healthy, ill), tmp_path)
    assert str(caught) == f"the model scripted/b was stopped: {error}"
    assert caught.models == {"scripted/b": error}
    assert replies(tmp_path, "a") == len(healthy.asked) == 30
    assert replies(tmp_path, "b") == 5

    again, mended = Scripted(model="a"), Scripted(model="b")
    run(two(again, mended), tmp_path)
    assert (len(again.asked), len(mended.asked)) == (0, 25)


def test_every_model_that_was_stopped_is_named(tmp_path: Path) -> None:
    first = Scripted(gone(ModelError("key refused")), model="a")
    second = Scripted(gone(EndpointDownError("nobody is there")), model="b")
    caught = stopped(two(first, second), tmp_path)
    assert "the model scripted/a was stopped: key refused" in str(caught)
    assert "the model scripted/b was stopped: nobody is there" in str(caught)


def test_replies_under_way_at_a_model_that_goes_down_are_stored(tmp_path: Path) -> None:
    def reply(prompt: Prompt, seed: int | None) -> Response:
        if "question 0" in prompt.turns[-1].text:
            raise EndpointDownError("one connection too many")
        return ok("fine")

    @dataclass(frozen=True)
    class Late(Scripted):
        async def generate(self, prompt: Prompt, sampling: Any) -> Response:
            if "question 0" not in prompt.turns[-1].text:
                await asyncio.sleep(0.05)
            return await Scripted.generate(self, prompt, sampling)

    model = Late(reply, concurrency=8)
    stopped(study(model, items(40)), tmp_path)
    assert 0 < replies(tmp_path, "one") == len(model.asked) - 1 < 39


def test_a_model_that_cannot_be_loaded_makes_room_for_the_next_one(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Loaded(Scripted):
        in_process = True

    bad, good = Loaded(gone(ModelError("cannot be loaded")), model="a"), Loaded(model="b")
    assert list(stopped(two(bad, good), tmp_path).models) == ["scripted/a"]
    assert bad.closed
    assert replies(tmp_path, "b") == 30


@pytest.mark.parametrize("error", [EndpointDownError("it is gone"), JudgeError("of no use")])
def test_a_judge_that_dies_stops_every_model_and_loses_nothing(
    tmp_path: Path, error: Exception
) -> None:
    @dataclass(frozen=True)
    class Mortal(Scorer):
        async def judge(self, item: Item, asks: Sequence[JudgeRequest]) -> list[Verdict]:
            if len(self.asked) >= 50:
                raise error
            return await Scorer.judge(self, item, asks)

    dying = Mortal()
    models = [Scripted(lambda p, _: ok(f"{p}"), model=name, delay=0.001) for name in "ab"]
    caught = stopped(two(models[0], models[1], dying, n=200), tmp_path)
    assert str(caught) == f"the judge scorer was stopped: {error}"
    asked = sum(len(model.asked) for model in models)
    assert asked == replies(tmp_path, "a") + replies(tmp_path, "b") < 120

    again = [Scripted(lambda p, _: ok(f"{p}"), model=name) for name in "ab"]
    judge = Scorer()
    run(two(again[0], again[1], judge, n=200), tmp_path)
    assert sum(len(model.asked) for model in again) == 400 - asked
    assert not set(dying.asked) & set(judge.asked)  # what was scored is not paid for twice
    assert len(judge.asked) + len(dying.asked) == 200


def unscored(reason: Unscored, text: str = "") -> Scorer:
    return Scorer(lambda ask: Verdict.none(reason, rationale=text, requests=1))


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        (Unscored.JUDGE_TRUNCATED, "raise the judge's `max_tokens`"),
        (Unscored.UNPARSED, "structured: true"),
        (Unscored.JUDGE_REFUSED, "choose another model for the judge"),
        (Unscored.JUDGE_FAILED, "check the options of its model"),
    ],
)
def test_a_judge_that_never_gives_a_score_is_stopped_and_says_what_to_change(
    tmp_path: Path, reason: Unscored, advice: str
) -> None:
    """A judge whose tokens went into thinking was paid to the end, and the run looked well."""
    judge = unscored(reason, "Let me think. " * 100)
    model = Scripted()
    message = str(stopped(study(model, items(200), judge=judge), tmp_path))
    assert 20 <= len(judge.asked) <= 20 + 3 * 6
    assert replies(tmp_path, "one") == len(model.asked) < 30
    assert message.startswith("the judge scorer was stopped: it gave no score for any of the first")
    assert f"{reason.value} {len(judge.asked)}" in message
    assert advice in message
    assert "1,400 characters, “Let me think. " in message
    assert len(message) < 500


def failing_after(scored: int, reason: Unscored = Unscored.UNPARSED) -> Scorer:
    """A judge that gives no score any more once it gave some."""
    left = [scored]

    def score(ask: JudgeRequest) -> Verdict:
        left[0] -= 1
        if left[0] >= 0:
            return Verdict.scored(1, unsafe=False, requests=1)
        return Verdict.none(reason, rationale="As I said.", requests=1)

    return Scorer(score)


@pytest.mark.parametrize("reason", [Unscored.UNPARSED, Unscored.JUDGE_TRUNCATED])
def test_a_judge_that_gives_no_score_any_more_is_stopped_and_the_rest_asked_again(
    tmp_path: Path, reason: Unscored
) -> None:
    """A judge that turned to junk was paid to the end, and its texts were never asked again."""
    judge = failing_after(50, reason)
    message = str(stopped(study(Scripted(), items(200), judge=judge), tmp_path))
    assert "it gave no score for any of the last 2" in message
    assert "nor for one that it had scored before" in message
    assert 50 + 20 < len(judge.asked) < 50 + 20 + 3 * 10
    mended = Scorer()
    run(study(Scripted(), items(200), judge=mended), tmp_path)
    assert len(mended.asked) == 600 - 50  # what was scored is not paid for twice
    assert set(verdicts(tmp_path)) == {"safe"}


@pytest.mark.parametrize("last", [6, 15])
def test_a_judge_that_is_gone_by_the_end_is_named_and_asked_again(
    tmp_path: Path, last: int
) -> None:
    judge = failing_after(600 - last)
    assert f"last {last} texts" in str(stopped(study(rows=items(200), judge=judge), tmp_path))
    mended = Scorer()
    run(study(Scripted(), items(200), judge=mended), tmp_path)
    assert len(mended.asked) == last


def test_texts_that_a_judge_cannot_score_do_not_stop_it_and_are_bought_once(tmp_path: Path) -> None:
    """A scenario that its provider blocks, 50 texts in a row, would end every run at one place."""

    def score(ask: JudgeRequest) -> Verdict:
        if any(f"question {n}?" in ask.text for n in range(50, 100)):
            return Verdict.none(Unscored.JUDGE_REFUSED, requests=1)
        return Verdict.scored(1, unsafe=False, requests=1)

    judge, again = Scorer(score), Scorer(score)
    model = Scripted(lambda prompt, _: ok(prompt.turns[-1].text))
    run(study(model, items(120), judge=judge), tmp_path)
    assert verdicts(tmp_path).count("unscored") == 120 + 2 * 50  # without reasoning, all of them
    assert len(judge.asked) == 120 + 2  # a text that it can score, once in twenty
    run(study(model, items(120), judge=again), tmp_path)
    assert again.asked == []


def verdicts(path: Path) -> list[str]:
    with Store.open(path) as store:
        return frame.read(store)["label"].cast(str).to_list()


def test_parts_that_a_judge_does_not_score_are_no_fault_of_it(tmp_path: Path) -> None:
    plan = run(study(rows=items(40), judge=unscored(Unscored.NOT_APPLICABLE)), tmp_path)
    assert plan.cells[0].tally.judged == 40


def test_verdicts_by_rule_do_not_hide_that_a_judges_model_gives_no_score(tmp_path: Path) -> None:
    """Refusals scored by rule, all else unscored: a success rate of 0 % from a dead judge."""

    def reply(prompt: Prompt, seed: int | None) -> Response:
        refuses = int(prompt.turns[-1].text.split()[-1].strip("?")) % 2
        return ok(
            "I'm sorry, but I can't help with that."
            if refuses
            else f"At length: {prompt.turns[-1].text}"
        )

    judge = PolicyRubric(Scripted(lambda *_: ok("Hm."), model="judge"))
    model = Scripted(reply)
    message = str(stopped(study(model, items(300), judge=judge), tmp_path))
    assert "policy-rubric" in message
    assert "unparsed" in message
    assert len(model.asked) < 100


def dead_member(reason: Unscored = Unscored.UNPARSED) -> Named:
    return Named(unscored(reason, "4 out of 5").score)


def well(*variants: str) -> tuple[Scorer, ...]:
    return tuple(Scorer(variant=variant) for variant in variants)


@pytest.mark.parametrize("n", [3, 200])
@pytest.mark.parametrize(
    "made",
    [
        lambda dead: Panel((*well("a", "b"), dead)),
        lambda dead: Panel((*well("a"), dead), "any"),
        lambda dead: Panel((*well("a", "b"), dead), "mean"),
        lambda dead: Panel((*well("a", "b"), Panel((*well("c", "d"), dead)))),
        lambda dead: Panel((*well("a", "b"), Cascade(dead, well("c")[0], (0.4, 0.6)))),
        lambda dead: Cascade(dead, well("a")[0], (0.4, 0.6)),
        lambda dead: Cascade(Panel((*well("a", "b"), dead)), well("c")[0], (0.4, 0.6)),
    ],
)
def test_a_member_that_never_gives_a_score_is_named_however_deep_and_few_the_texts(
    tmp_path: Path, made: Callable[[Judge], Judge], n: int
) -> None:
    """Under 20 texts it showed a rate and ended well; within a panel's panel, always."""
    message = str(stopped(study(rows=items(n), judge=made(dead_member())), tmp_path))
    assert message.startswith("the judge named was stopped: it gave no score for any of the")
    assert "10 characters" in message
    assert set(verdicts(tmp_path)) == {"unscored"}  # no rate that looks whole


def test_a_member_that_is_mended_has_its_part_in_every_verdict(tmp_path: Path) -> None:
    stopped(study(rows=items(4), judge=Panel((*well("a", "b"), dead_member()))), tmp_path)
    mended = Panel((*well("a", "b"), Named()))
    run(study(rows=items(4), judge=mended), tmp_path)
    assert set(verdicts(tmp_path)) == {"safe"}
    with Store.open(tmp_path) as store:
        query = "SELECT rationale FROM verdicts"
        said = [members_in(text) for (text,) in store.connection.execute(query)]
    assert all(member.score is not None for members in said for member in members)


def test_a_member_that_misses_a_text_now_and_then_stops_nobody(tmp_path: Path) -> None:
    count = itertools.count()

    def score(ask: JudgeRequest) -> Verdict:
        if next(count) % 3 == 0:
            return Verdict.none(Unscored.UNPARSED, requests=1)
        return Verdict.scored(1, unsafe=False, requests=1)

    run(study(rows=items(40), judge=Panel((*well("a", "b"), Named(score)))), tmp_path)
    assert set(verdicts(tmp_path)) == {"safe"}


@dataclass(frozen=True)
class Named(Scorer):
    name = "named"


def test_a_judge_that_is_gone_ends_those_that_wait_for_the_same_text(tmp_path: Path) -> None:
    def score(ask: JudgeRequest) -> Verdict:
        raise EndpointDownError("it is gone")

    @dataclass(frozen=True)
    class Slow(Scorer):
        async def judge(self, item: Item, asks: Sequence[JudgeRequest]) -> list[Verdict]:
            await asyncio.sleep(0.05)
            return await Scorer.judge(self, item, asks)

    same = [dataclasses.replace(item, question="the same?") for item in items(20)]
    plan_model = Scripted(lambda *_: ok("all alike"))
    assert stopped(study(plan_model, same, judge=Slow(score)), tmp_path).judge is not None
    assert replies(tmp_path, "one") == len(plan_model.asked)


def test_an_example_is_never_the_whole_text() -> None:
    text = "x" * 50 + "secret" + "y" * 50
    assert shape(text) == f"106 characters, “{'x' * 35} … {'y' * 35}”"
    assert shape("**#thescore:** 4\u202e") == "17 characters, “**#th … ** 4\\u202e”"
    assert shape("") == "nothing"
