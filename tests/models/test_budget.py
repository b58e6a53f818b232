"""Budgets: what they count, and that nothing paid for is lost when they are spent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from opensafemlrm.cli import app
from opensafemlrm.components import Judge, Model
from opensafemlrm.errors import BudgetSpentError, OptionError, StudyError
from opensafemlrm.judges.policy_rubric import PolicyRubric
from opensafemlrm.models.budget import Budget, Limits
from opensafemlrm.models.hosted.anthropic import Anthropic
from opensafemlrm.models.hosted.openai_compatible import OpenAICompatible
from opensafemlrm.study import parse
from opensafemlrm.types import (
    Item,
    JudgeRequest,
    Part,
    Prompt,
    Response,
    Sampling,
    Usage,
    Verdict,
)
from tests.models.scripted import FakeClock, completion
from tests.support import Scripted, ok

HELLO = Prompt.user("hello")


async def ask(model: Any, times: int = 1) -> list[Any]:
    asking = (model.generate(HELLO, Sampling()) for _ in range(times))
    return await asyncio.gather(*asking, return_exceptions=True)


async def test_requests_are_counted_over_all_models():
    budget = Budget(Limits(requests=3))
    one, two = budget.over(Scripted(model="one")), budget.over(Scripted(model="two"))
    assert [type(result).__name__ for result in await ask(one, 2) + await ask(two, 2)] == [
        "Response", "Response", "Response", "BudgetSpentError"
    ]  # fmt: skip


async def test_what_is_under_way_is_waited_for():
    """A reply that was paid for and then dropped would be paid for twice."""
    budget = Budget(Limits(requests=2))
    model = budget.over(Scripted(delay=0.02))
    order: list[str] = []

    async def one() -> None:
        try:
            await model.generate(HELLO, Sampling())
            order.append("reply")
        except BudgetSpentError:
            order.append("spent")

    await asyncio.gather(*(one() for _ in range(4)))
    assert order == ["reply", "reply", "spent", "spent"]


async def test_time_is_counted_from_the_first_request():
    clock = FakeClock()
    budget = Budget(Limits(seconds=60), clock)
    model = budget.over(Scripted())
    clock.time += 500
    await ask(model)
    clock.time += 59
    assert (await ask(model))[0].text
    clock.time += 1
    (spent,) = await ask(model)
    assert isinstance(spent, BudgetSpentError)
    assert "60 seconds" in str(spent)


@dataclass(frozen=True)
class Priced(Scripted):
    price: tuple[float, float] = (2.0, 10.0)


async def test_money_is_counted_by_the_servers_tokens_and_guessed_where_it_counts_none():
    def reply(usage: Usage) -> Any:
        return lambda prompt, seed: ok("x" * 300, usage=usage)

    budget = Budget(Limits(cost=100))
    await ask(budget.over(Priced(reply(Usage(1_000_000, 500_000)))))
    assert budget.cost == pytest.approx(2 + 5)
    budget = Budget(Limits(cost=100))
    await ask(budget.over(Priced(reply(Usage()))))
    assert budget.cost == pytest.approx((1 * 2 + 100 * 10) / 1e6)
    budget = Budget(Limits(cost=6))
    model = budget.over(Priced(reply(Usage(1_000_000, 500_000))))
    await ask(model)
    assert isinstance((await ask(model))[0], BudgetSpentError)


@pytest.mark.parametrize("usage", [Usage(0, 0), Usage(None, 0), Usage(0, None)])
async def test_a_server_that_counts_nothing_is_not_free(usage):
    """Some servers send zeros in place of counts: no budget of money ended then."""
    budget = Budget(Limits(cost=100))
    await ask(budget.over(Priced(lambda prompt, seed: ok("x" * 300, usage=usage))))
    assert budget.cost == pytest.approx((1 * 2 + 100 * 10) / 1e6)


@pytest.mark.parametrize(("total", "billed"), [(110, 100), (170, 160)])
async def test_reasoning_that_a_server_counts_beside_the_reply_is_counted(
    server, connect, total, billed
):
    details = {"completion_tokens_details": {"reasoning_tokens": 60}}
    usage = {"prompt_tokens": 10, "completion_tokens": 100, "total_tokens": total, **details}
    server.always = completion(usage=usage)
    budget = Budget(Limits(cost=1000))
    await spending(server, connect, budget).generate(HELLO, Sampling(max_tokens=100))
    assert budget.cost == pytest.approx(billed)


async def test_what_was_spent_is_said_with_what_was_under_way():
    """It said 0.01 where 0.04 had been spent."""
    budget = Budget(Limits(cost=0.01))
    model = budget.over(Priced(lambda prompt, seed: ok("x", usage=Usage(0, 1_000)), delay=0.02))
    *_, last = await ask(model, 4) + await ask(model, 1)
    assert str(last) == "the budget of 0.01 dollars is spent (0.04)"


def test_a_model_without_a_price_cannot_be_held_to_one():
    budget = Budget(Limits(cost=1))
    with pytest.raises(OptionError, match=r"anthropic/m has no price.*price: \[2\.5, 10\]"):
        budget.over(Anthropic("m"))
    assert budget.over(Anthropic("m", price=(3, 15))).label == "anthropic/m"
    assert Budget(Limits(requests=1)).over(Anthropic("m")).label == "anthropic/m"


def test_a_budget_changes_no_key_and_no_label():
    """Replies made under a budget are those made without one."""
    for model in (OpenAICompatible("m", system_prompt="s"), Anthropic("m")):
        held = Budget(Limits(requests=1)).over(model)
        assert held.identity() == model.identity()
        assert (held.label, held.capabilities) == (model.label, model.capabilities)


@dataclass(frozen=True)
class Asking(Judge):
    """A judge-like component that holds models, one of them further down."""

    model: Any
    members: tuple[Any, ...] = ()
    words: str = "w"

    async def judge(self, item: Item, requests: Sequence[JudgeRequest]) -> list[Verdict]:
        raise NotImplementedError


async def test_models_inside_of_judges_and_their_members_are_held_too():
    budget = Budget(Limits(requests=1))
    inner = Asking(Scripted(model="inner"))
    held = budget.over(Asking(Scripted(model="outer"), members=(inner,)))
    assert replace(held, model=None, members=()) == Asking(None)
    await ask(held.model)
    assert isinstance((await ask(held.members[0].model))[0], BudgetSpentError)


def test_a_guard_inside_of_a_composed_defense_is_held_too(tmp_path: Path):
    """Twenty requests of the model and twenty of its guard went out under a budget of twenty."""
    study = tmp_path / "study.yaml"
    study.write_text(
        "models: [sim/r1-onevision-7b]\n"
        "datasets: [canary]\n"
        "defenses:\n"
        "  - defense: self-reminder+guard-output\n"
        "    guard-output: {guard: {judge: policy-rubric, model: sim/judge}}\n"
        "judge: canary\n"
        "limit: 20\n"
    )
    command = ["run", str(study), "--store", str(tmp_path / "store"), "--max-requests", "20"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 3
    assert "budget of 20 requests is spent" in result.stderr


async def test_a_judge_that_asks_for_json_is_held_too():
    """A budget around its model made such a judge fail before the first request."""
    judge = PolicyRubric(OpenAICompatible("m"), structured=True)
    held = Budget(Limits(requests=0)).over(judge)
    assert (held.identity(), held.label) == (judge.identity(), judge.label)
    with pytest.raises(BudgetSpentError):
        await held.judge(Item("d", "1", "s", "Q?"), [JudgeRequest(Part.FULL, "a text")])


def spending(server: Any, connect: Any, budget: Budget, **options: Any) -> Any:
    return budget.over(connect(price=(0, 1_000_000), max_retries=3, **options))


@pytest.mark.parametrize("status", [500, 502, 408])
async def test_a_try_that_failed_is_counted_as_if_it_were_billed(server, connect, status):
    """60 samples timed out 120 times at the client, and `--max-cost` never stopped them."""
    server.always = (status, {"error": "no"}, {})
    budget = Budget(Limits(cost=1000))
    model = spending(server, connect, budget)
    sampling = Sampling(max_tokens=100)
    response = await model.generate(HELLO, sampling)
    assert response.transient
    assert len(server.bodies) == 4
    assert budget.cost == pytest.approx(400)
    assert (await model.generate(HELLO, sampling)).code == response.code
    assert budget.cost == pytest.approx(800)
    await model.generate(HELLO, sampling)
    assert len(server.bodies) == 10, "a retry was paid for with money that was not there"
    with pytest.raises(BudgetSpentError):
        await model.generate(HELLO, sampling)


async def test_a_try_that_timed_out_is_counted(server, connect):
    async def never(_: Any) -> Any:
        await asyncio.sleep(30)

    server.always = never
    budget = Budget(Limits(cost=150))
    model = spending(server, connect, budget, timeout=0.05)
    response = await model.generate(HELLO, Sampling(max_tokens=100))
    assert response.code == "timeout"
    assert budget.cost == pytest.approx(200)
    assert len(server.bodies) == 2


@pytest.mark.parametrize("status", [429, 400])
async def test_a_request_that_was_turned_away_costs_nothing(server, connect, status):
    server.always = (status, {"error": "no"}, {})
    budget = Budget(Limits(cost=1000))
    await spending(server, connect, budget).generate(HELLO, Sampling())
    assert budget.cost == 0


async def test_tries_before_a_reply_are_counted_beside_it(server, connect):
    server.script = [(500, {"error": "no"}, {}), (500, {"error": "no"}, {})]
    server.always = completion(usage={"prompt_tokens": 3, "completion_tokens": 7})
    budget = Budget(Limits(cost=1000))
    await spending(server, connect, budget).generate(HELLO, Sampling(max_tokens=100))
    assert budget.cost == pytest.approx(207)


@dataclass(frozen=True)
class Vote(Scripted):
    """A model that is made of others."""

    members: tuple[Model, ...] = ()

    async def generate(self, prompt: Prompt, sampling: Sampling) -> Response:
        return [await member.generate(prompt, sampling) for member in self.members][-1]


async def test_a_model_that_is_made_of_models_is_held_through_them():
    """Its members asked as often as they liked: only the model around them was counted."""
    budget = Budget(Limits(requests=3))
    model = budget.over(Vote(members=(Scripted(model="one"), Priced(model="two"))))
    results = await ask(model, 2)
    assert [type(result).__name__ for result in results] == ["Response", "BudgetSpentError"]
    assert budget.requests == 3
    assert Budget(Limits(cost=1)).over(Vote(members=(Priced(),))).label == "scripted/one"


@pytest.mark.parametrize("price", [[-1, 2], [".nan", 2], [1, ".inf"], [1], ["a", 1], [1, 2, 3]])
def test_a_price_that_is_none_is_a_mistake_of_the_study(price):
    """With a price of -5 or NaN no sum ever reached the limit."""
    listed = ", ".join(map(str, price))
    with pytest.raises(StudyError, match="price"):
        parse(
            f"models: [{{model: openai/m, price: [{listed}]}}]\ndatasets: [canary]\njudge: canary\n"
        )


@pytest.mark.parametrize("dollars", [-1.0, float("nan"), float("inf")])
def test_a_price_or_a_limit_that_is_none_is_refused_in_python(dollars):
    with pytest.raises(OptionError, match="price"):
        Budget(Limits(cost=1)).over(OpenAICompatible("m", price=(dollars, 1)))
    with pytest.raises(OptionError, match="limit"):
        Limits(cost=dollars)
    with pytest.raises(OptionError, match="limit"):
        Limits(seconds=dollars)
