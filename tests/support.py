"""Components that tests script: a list for a dataset, a function for a model or a judge."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import polars as pl

from opensafemlrm.components import Attack, Dataset, Defense, Judge, Model, Search
from opensafemlrm.errors import AttackError, DatasetError
from opensafemlrm.study import Study
from opensafemlrm.types import (
    Call,
    Card,
    Item,
    ItemKind,
    JudgeRequest,
    Part,
    Prompt,
    Response,
    ResponseStatus,
    Sampling,
    SearchResult,
    Verdict,
)

CARD = Card(title="scripted", paper="none")


def records(rows: pl.DataFrame) -> list[Any]:
    """The rows of a result, each with its columns as attributes."""
    return [SimpleNamespace(**row) for row in rows.iter_rows(named=True)]


def ok(text: str, **more: Any) -> Response:
    return Response(ResponseStatus.OK, text, finish_reason="stop", **more)


def items(n: int, scenarios: int = 2, kind: ItemKind = ItemKind.HARMFUL) -> list[Item]:
    return [
        Item("listed", f"i{i}", f"s{i % scenarios}", f"question {i}?", kind=kind) for i in range(n)
    ]


@dataclass(frozen=True)
class Listed(Dataset):
    """A dataset of the rows it is given."""

    name = "listed"
    card = CARD
    given: Sequence[Item | DatasetError] = field(default=(), compare=False)

    def rows(self) -> Iterator[Item | DatasetError]:
        yield from self.given


@dataclass(frozen=True)
class Wrapped(Attack):
    """An attack that puts the question into a frame of words; refuses items named in ``refuse``."""

    name = "wrapped"
    card = CARD
    words: str = "please"
    refuse: tuple[str, ...] = ()

    def apply(self, item: Item, seed: int) -> Prompt:
        del seed
        if item.id in self.refuse:
            raise AttackError(f"item {item.id} has no key phrase")
        return Prompt.user(f"{self.words}: {item.question}")


@dataclass(frozen=True)
class Scripted(Model):
    """A model that answers with ``reply(prompt, seed)`` and counts what it is asked."""

    name = "scripted"
    reply: Callable[[Prompt, int | None], Response] = field(
        default=lambda p, _: ok(f"<think>about {p.turns[-1].text}</think>an answer"), compare=False
    )
    model: str = "one"
    concurrency: int = field(default=4, compare=False)
    delay: float = field(default=0, compare=False)
    asked: list[str] = field(default_factory=list, compare=False)
    closed: list[bool] = field(default_factory=list, compare=False)

    @property
    def label(self) -> str:
        return f"scripted/{self.model}"

    @property
    def reasoning_format(self) -> str:
        return "think"

    def identity(self) -> Mapping[str, Any]:
        return {"name": self.name, "model": self.model}

    async def generate(self, prompt: Prompt, sampling: Sampling) -> Response:
        self.asked.append(prompt.turns[-1].text)
        await asyncio.sleep(self.delay)
        return self.reply(prompt, sampling.seed)

    async def aclose(self) -> None:
        self.closed.append(True)


@dataclass(frozen=True)
class Scorer(Judge):
    """A judge that scores with ``score(ask)`` and counts what it is asked."""

    name = "scorer"
    card = CARD
    thresholds = (4.0, 5.0)
    scale = (0.0, 5.0)
    score: Callable[[JudgeRequest], Verdict] = field(
        default=lambda ask: Verdict.scored(len(ask.text) % 6, unsafe=len(ask.text) % 6 >= 4),
        compare=False,
    )
    variant: str = "a"
    concurrency: int = field(default=2, compare=False)
    asked: list[JudgeRequest] = field(default_factory=list, compare=False)

    def identity(self) -> Mapping[str, Any]:
        return {"name": self.name, "variant": self.variant}

    def context(self, item: Item) -> None:
        del item

    async def judge(self, item: Item, asks: Sequence[JudgeRequest]) -> list[Verdict]:
        del item
        self.asked.extend(asks)
        await asyncio.sleep(0)
        return [self.score(ask) for ask in asks]

    async def aclose(self) -> None:
        pass

    @property
    def most_common(self) -> int:
        """How often the text that was asked about most was asked about."""
        return max(Counter(self.asked).values())


@dataclass(frozen=True)
class Undefended(Defense):
    name = "none"
    card = CARD

    layers = ()


def study(
    model: Any = None,
    rows: Sequence[Item | DatasetError] = (),
    *,
    attacks: Sequence[Any] = (Wrapped(),),
    judge: Any = None,
    **more: Any,
) -> Study:
    """A study of scripted components."""
    return Study(
        text="scripted",
        models=(model or Scripted(),),
        pairs=(),
        datasets=(Listed(rows),),
        attacks=tuple(attacks),
        defenses=(Undefended(),),
        judge=judge or Scorer(),
        sampling=more.pop("sampling", Sampling()),
        **more,
    )


@dataclass(frozen=True)
class Searches(Search):
    """A search that asks the target ``tries`` times and keeps the words of the last query."""

    name = "searches"
    card = CARD
    tries: int = 2

    async def search(self, item: Item, target: Any, judge: Any, sampling: Sampling) -> SearchResult:
        if item.id == "i0":
            raise AttackError("item i0 gives nothing to search with")
        calls = []
        prompt = Prompt.user("none")
        for number in range(self.tries):
            prompt = Prompt.user(f"try {number}: {item.question}")
            response = await target.generate(prompt, sampling)
            (verdict,) = await judge.judge(item, [JudgeRequest(Part.ANSWER, response.text)])
            calls.append(Call(f"query {number}", prompt, response, verdict.score))
        return SearchResult(prompt, tuple(calls))
