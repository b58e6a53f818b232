"""The walk through components: whatever asks on the way, wherever it stands, is found by all."""

from __future__ import annotations

import asyncio
import dataclasses
import typing
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from opensafemlrm import registry
from opensafemlrm.cli._doctor import findings
from opensafemlrm.cluster.batches import max_workers, with_quotas
from opensafemlrm.components import Component, Defense, Judge, Model, models_in
from opensafemlrm.errors import BudgetSpentError
from opensafemlrm.models.budget import Budget, Limits
from opensafemlrm.registry import ComponentKind
from opensafemlrm.study import Study
from opensafemlrm.types import Prompt, Response, Sampling
from tests.attacks.subjects import folder
from tests.support import Scripted, study

HOLDING = (ComponentKind.ATTACK, ComponentKind.DEFENSE, ComponentKind.JUDGE)


def options(kind: ComponentKind, name: str, place: Path, models: Iterator[Model]) -> dict[str, Any]:
    """Give a component what it needs, and a model of its own wherever it takes one."""
    cls = registry.find(kind, name)
    hints = typing.get_type_hints(cls)
    given: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        hint = hints[field.name]
        taken = (hint, *typing.get_args(hint))
        if not field.init:
            continue
        if Model in taken:
            given[field.name] = next(models)
        elif Judge in taken:
            several = typing.get_origin(hint) is tuple
            given[field.name] = (judge(models), judge(models)) if several else judge(models)
        elif field.default is dataclasses.MISSING and hint is Path:
            given[field.name] = folder(place)
        elif field.name == "band":
            given[field.name] = (1.0, 1.0)
    return given


def judge(models: Iterator[Model]) -> Judge:
    """A panel in a cascade: a judge whose models are two levels down."""
    first, member = ({"judge": "policy-rubric", "model": next(models)} for _ in range(2))
    panel = {"judge": "panel", "judges": [member, "refusal"]}
    cascade = {"first": first, "second": panel, "band": [1, 3]}
    built: Judge = registry.build(ComponentKind.JUDGE, "cascade", cascade)
    return built


def names(kind: ComponentKind) -> list[str]:
    """Every name of a kind, and compositions that hold every other one."""
    known = registry.names(kind)
    if kind is ComponentKind.DEFENSE:
        return [*known, *(f"self-reminder+{name}" for name in known if name != "self-reminder")]
    return [*known, "typo+mirror"] if kind is ComponentKind.ATTACK else known


@pytest.fixture(params=[(kind, name) for kind in HOLDING for name in names(kind)], ids=str)
def held(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Component, list[Scripted]]:
    """A component, and the models that were put into it."""
    kind, name = request.param
    put: list[Scripted] = []

    def models() -> Iterator[Model]:
        for number in count():
            put.append(Scripted(model=f"m{number}"))
            yield put[-1]

    parts, given = name.split("+"), models()
    if len(parts) == 1:
        built = registry.build(kind, name, options(kind, name, tmp_path / "p", given))
    else:
        of_parts = {part: options(kind, part, tmp_path / "p", given) for part in parts}
        built = registry.build(kind, name, of_parts)
    return built, put


def in_study(component: Any) -> Study:
    """A study with the component in its place, and a model that nothing else asks."""
    plain = study(Scripted(model="target"))
    if isinstance(component, Judge):
        return dataclasses.replace(plain, judges=(component,))
    if isinstance(component, Defense):
        return dataclasses.replace(plain, defenses=(component,))
    return dataclasses.replace(plain, attacks=(component,))


def test_every_model_inside_is_found(held: tuple[Component, list[Scripted]]) -> None:
    component, put = held
    assert [id(model) for model in models_in(component)] == [id(model) for model in put]


async def test_every_model_inside_is_under_the_budget(
    held: tuple[Component, list[Scripted]],
) -> None:
    component, put = held
    limited = Budget(Limits(requests=0)).over(component)
    assert limited.identity() == component.identity()
    assert limited.label == component.label
    for model in models_in(limited):
        with pytest.raises(BudgetSpentError):
            await model.generate(Prompt.user("hello"), Sampling())
    assert len(list(models_in(limited))) == len(put)


def test_every_model_inside_is_closed(held: tuple[Component, list[Scripted]]) -> None:
    component, put = held
    asyncio.run(component.aclose())
    assert all(model.closed for model in put)


async def test_every_model_inside_is_asked_by_the_doctor(
    held: tuple[Component, list[Scripted]],
) -> None:
    component, put = held
    asked = {finding.model for finding in await findings(in_study(component))}
    assert asked == {"scripted/target", *(model.label for model in put)}


def test_every_model_inside_is_shared_by_the_workers(
    held: tuple[Component, list[Scripted]],
) -> None:
    component, put = held
    whole = in_study(component)
    assert max_workers(whole) == 4
    split_up = [with_quotas(whole, number, 3).components for number in range(3)]
    shares = [[model.concurrency for c in own for model in models_in(c)] for own in split_up]
    assert [sum(column) for column in zip(*shares, strict=True)] == [4] * (len(put) + 1)


@dataclasses.dataclass(frozen=True)
class Guarded(Defense):
    """A defense of somebody's own that keeps whom it asks where it likes."""

    name = "guarded"
    guards: Any

    async def generate(self, model: Model, prompt: Prompt, sampling: Sampling) -> Response:
        guards = self.guards.values() if isinstance(self.guards, Mapping) else self.guards
        for guard in guards:
            await guard.generate(prompt, sampling)
        return await model.generate(prompt, sampling)


@pytest.mark.parametrize("held", [list, tuple, lambda guards: dict(enumerate(guards))])
def test_guards_in_a_list_or_a_mapping_are_under_the_budget_and_closed(held: Any) -> None:
    """Twelve requests went out under a budget of seven where the guard stood in a list."""
    guard = Scripted(model="guard")
    defense = Guarded(held([guard]))
    assert list(models_in(defense)) == [guard]
    budget = Budget(Limits(requests=1))
    limited, model = budget.over(defense), budget.over(Scripted())
    with pytest.raises(BudgetSpentError):
        asyncio.run(limited.generate(model, Prompt.user("Fold it."), Sampling()))
    asyncio.run(limited.aclose())
    assert guard.closed == [True]
