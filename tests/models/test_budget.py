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
from opensafemlrm.components import Judge
from opensafemlrm.errors import BudgetSpentError, OptionError
from opensafemlrm.judges.policy_rubric import PolicyRubric
from opensafemlrm.models.budget import Budget, Limits
from opensafemlrm.models.hosted.anthropic import Anthropic
from opensafemlrm.models.hosted.openai_compatible import OpenAICompatible
from opensafemlrm.types import Item, JudgeRequest, Part, Prompt, Sampling, Usage, Verdict
from tests.models.scripted import FakeClock
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
