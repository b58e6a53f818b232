"""What a run may cost, before it runs and while it does.

Budgets: how many requests, how much money, how much time a run may take.

A budget is shared by all models of a study, those that attacks and judges ask among them. When it
is spent, what is under way is waited for, so that what was paid for is kept, and BudgetSpentError
ends the run. The same command continues from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextvars import ContextVar
from functools import partial
from typing import Final, TypeVar

from opensafemlrm.calls import given, reply_of
from opensafemlrm.components import C, Component, Model, map_models, models_in
from opensafemlrm.errors import BudgetSpentError, OptionError
from opensafemlrm.models.billing import counted_by, is_free
from opensafemlrm.models.catalog import listed_price
from opensafemlrm.models.clock import Clock
from opensafemlrm.models.stages import in_stages
from opensafemlrm.text import counted
from opensafemlrm.types import Prompt, Response, ResponseStatus, Sampling
from opensafemlrm.wrapped import WrappedModel

_CHARACTERS_A_TOKEN: Final = 3
_TOKENS_AN_IMAGE: Final = 1_000
_MILLION: Final = 1_000_000
_R = TypeVar("_R")
_room: ContextVar[list[float] | None] = ContextVar("room", default=None)
"""What is held back for the requests of this task, and not asked yet."""


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """What a run may take; ``None`` for no limit."""

    requests: int | None = None
    cost: float | None = None
    """US dollars, by the models' prices and the tokens that servers count."""
    seconds: float | None = None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            limit = getattr(self, field.name)
            if limit is not None and not (math.isfinite(limit) and limit >= 0):
                raise OptionError(f"the limit of {field.name} is a number from 0 on, not {limit}")

    @property
    def any(self) -> bool:
        """Whether there is any limit."""
        return any(limit is not None for limit in (self.requests, self.cost, self.seconds))


class Budget:
    """What has been spent so far, over all models of a run."""

    def __init__(self, limits: Limits, clock: Clock | None = None) -> None:
        self._limits, self._clock = limits, clock or Clock()
        self._start: float | None = None
        self.requests, self.cost = 0, 0.0
        self._under_way, self._at_worst = 0, 0.0
        self._held: list[list[float]] = []
        self._freed: asyncio.Event | None = None
        self._idle: asyncio.Event | None = None
        """Set when nothing is under way; made by who waits, as a command may run several loops."""

    def over(self, component: C) -> C:
        """Return ``component`` with every model that it asks, or is, under this budget.

        Raises OptionError where money is limited and a model has no price.
        """
        return map_models(component, self._limit)

    def _limit(self, model: Model) -> Model:
        price = price_of(model)
        if price is None and self._limits.cost is not None:
            raise OptionError(
                f"{model.label} has no price, so --max-cost cannot hold: give it one, such as "
                "`price: [2.5, 10]` in the study, US dollars for a million tokens in and out, or a "
                "line of a file that --prices names"
            )
        is_batched = model.unbatched() is not model
        return Budgeted(model, self, price or (0.0, 0.0), is_batched)

    def add(self, dollars: float) -> bool:
        """Count what was spent; return whether more may be."""
        self.cost += dollars
        return self._spent() is None

    async def spend(
        self, ask: Callable[[], Awaitable[_R]], cost: Callable[[_R], float], worst: float = 0.0
    ) -> _R:
        """Ask, unless the budget is spent. Raises BudgetSpentError once nothing is under way.

        ``worst`` is what it may cost where nothing is known of it for hours, as in a batch: it is
        asked only where that fits beside the others, or waits until they have come.
        """
        if self._start is None:
            self._start = self._clock.now()
        while self._under_way and self._short_of(worst):
            await self._until_idle()
        if spent := self._spent() or self._short_of(worst):
            while self._under_way:
                await self._until_idle()
            raise BudgetSpentError(self._spent() or spent)  # with what was under way
        self.requests += 1
        self._under_way += 1
        self._at_worst += worst
        try:
            result = await ask()
            self.cost += cost(result)
            return result
        finally:
            self._under_way -= 1
            self._at_worst -= worst
            if self._idle is not None and not self._under_way:
                self._at_worst = 0.0  # sums of floats leave something over
                self._idle.set()
                self._idle = None

    async def _until_idle(self) -> None:
        self._idle = self._idle or asyncio.Event()
        await self._idle.wait()

    def _short_of(self, worst: float) -> str | None:
        """Return the sentence that a request that may cost ``worst`` goes over the limit."""
        limit = self._limits.cost
        if limit is None or not worst or self.cost + self._at_worst + worst <= limit:
            return None
        return (
            f"the budget of {limit:,.2f} dollars is spent ({self.cost:,.2f}), but for less than "
            f"the {worst:,.2f} that one more request of a batch may cost"
        )

    @contextlib.asynccontextmanager
    async def held(self, dollars: Sequence[float]) -> AsyncIterator[list[float]]:
        """Hold back what requests that belong together may cost, until each is asked and taken out.

        They begin where all of them have room, or alone: of many replies in stages, or texts that a
        judge reads twice, that begin at once and are all cut, none would come, however often the
        command is run again.
        """
        requests = [*dollars]
        while self._held and self._spent() is None and not self._has_room(requests):
            self._freed = self._freed or asyncio.Event()
            await self._freed.wait()
        self._held.append(requests)
        try:
            yield requests
        finally:
            self._held = [others for others in self._held if others is not requests]
            if self._freed is not None:
                self._freed.set()
                self._freed = None

    def _has_room(self, more: Sequence[float]) -> bool:
        held = [*itertools.chain(*self._held), *more]
        requests, cost = self._limits.requests, self._limits.cost
        return (requests is None or self.requests + len(held) <= requests) and (
            cost is None or self.cost + sum(held) <= cost
        )

    def _spent(self) -> str | None:
        limits = self._limits
        if limits.requests is not None and self.requests >= limits.requests:
            return f"the budget of {counted(limits.requests, 'request')} is spent"
        if limits.cost is not None and self.cost >= limits.cost:
            return f"the budget of {limits.cost:,.2f} dollars is spent ({self.cost:,.2f})"
        if limits.seconds is not None and self._clock.now() - (self._start or 0) >= limits.seconds:
            return f"the budget of {limits.seconds:,.0f} seconds is spent"
        return None


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Budgeted(WrappedModel):
    """A model under a budget, which changes neither its replies nor its identity."""

    budget: Budget
    prices: tuple[float, float]
    batched: bool = False
    """Whether replies take hours, so that much is asked before anything is counted."""

    async def generate(self, prompt: Prompt, sampling: Sampling) -> Response:
        """Ask the model. Raises BudgetSpentError in place of asking once the budget is spent.

        Each stage of a reply is a request: one that the budget does not reach ends the whole reply.
        A try that failed or timed out may be billed: it counts as its prompt and ``max_tokens``.
        """
        stages = self.inner.asked_stages
        if not stages:
            return await self._spend(partial(reply_of, self.inner), prompt, sampling)
        is_held = _room.get() is not None
        async with contextlib.nullcontext() if is_held else self.room(prompt, sampling, 1):
            return await in_stages(self.generate_stage, prompt, sampling, stages)

    @contextlib.asynccontextmanager
    async def room(self, prompt: Prompt, sampling: Sampling, replies: int) -> AsyncIterator[None]:
        """Hold back what replies to prompts such as this may cost, all of their stages."""
        dollars = self._dollars(_guessed_tokens(prompt), sampling.max_tokens)
        requests = replies * (len(self.inner.asked_stages) or 1)
        async with self.budget.held([dollars] * requests) as held:
            token = _room.set(held)
            try:
                yield
            finally:
                _room.reset(token)

    async def generate_stage(self, prompt: Prompt, sampling: Sampling) -> Response:
        """Ask for one stage. Raises BudgetSpentError as :meth:`generate` does."""
        ask = partial(given, self.inner, "generate_stage", Response)
        return await self._spend(ask, prompt, sampling)

    async def _spend(
        self,
        ask: Callable[[Prompt, Sampling], Awaitable[Response]],
        prompt: Prompt,
        sampling: Sampling,
    ) -> Response:
        if held := _room.get():
            held.pop()
        read = _guessed_tokens(prompt)
        failed = self._dollars(read, sampling.max_tokens)
        noted: list[float] = []

        def note() -> bool:
            noted.append(failed)
            return self.budget.add(failed)

        def cost(response: Response) -> float:
            return sum(map(of_one, (response, *(call.response for call in response.calls))))

        def of_one(response: Response) -> float:
            if response.status is not ResponseStatus.FAILED:
                usage = response.usage
                written = len(response.text) + len(response.reasoning or "")
                # What the server does not count, or counts as nothing, is guessed: it is not free.
                tokens_out = usage.output_tokens or written // _CHARACTERS_A_TOKEN
                return self._dollars(usage.input_tokens or read, tokens_out)
            if noted or is_free(response.code or ""):
                return 0.0
            return failed * (1 + response.retries)

        with counted_by(note):
            worst = failed if self.batched else 0.0
            response = await self.budget.spend(lambda: ask(prompt, sampling), cost, worst)
        self.budget.requests += len(response.calls)
        return response

    async def score_tokens(self, prompt: Prompt, tokens: Sequence[str]) -> tuple[float, ...]:
        """Ask the model. Raises BudgetSpentError as :meth:`generate` does."""
        dollars = self._dollars(_guessed_tokens(prompt), 1)
        return await self.budget.spend(
            lambda: self.inner.score_tokens(prompt, tokens), lambda _: dollars
        )

    def _dollars(self, read: int, written: int) -> float:
        price_in, price_out = self.prices
        return (read * price_in + written * price_out) / _MILLION


def requests_made(component: Component) -> int | None:
    """Return how many requests a component's budget has seen; ``None`` where it has none."""
    budgets = (model.budget for model in models_in(component) if isinstance(model, Budgeted))
    return next((budget.requests for budget in budgets), None)


def _guessed_tokens(prompt: Prompt) -> int:
    characters = sum(len(turn.text) for turn in prompt.turns)
    return characters // _CHARACTERS_A_TOKEN + _TOKENS_AN_IMAGE * len(prompt.images)


def price_of(model: Model) -> tuple[float, float] | None:
    """Return US dollars for a million tokens in and out, ``None`` where no price is known.

    Raises OptionError for a price that is not two numbers from 0 on.
    """
    if model.price is not None:
        if not all(math.isfinite(dollars) and dollars >= 0 for dollars in model.price):
            raise OptionError(f"{model.label}: a price is two numbers from 0 on: [IN, OUT]")
        return model.price
    return listed_price(model.model) or (None if model.billed else (0.0, 0.0))


@dataclasses.dataclass(frozen=True, slots=True)
class Tokens:
    """What one request is taken to use."""

    read: int
    written: int

    def __str__(self) -> str:
        return f"{self.read:,} tokens in and {self.written:,} out"


GENERATION: Final = Tokens(1500, 1000)
"""A question with an image, and a reply that reasons: a round guess, no measurement."""
VERDICT: Final = Tokens(2000, 300)
"""A rubric with the text to be judged, and a short reason: likewise."""


@dataclasses.dataclass(frozen=True, slots=True)
class Estimate:
    """What one model's requests may cost."""

    label: str
    requests: int
    dollars: float | None
    """``None`` where no price is known."""


def estimate(model: Model, requests: int, tokens: Tokens) -> Estimate:
    """Return what ``requests`` of ``tokens`` each cost by the model's price, or its catalogue's."""
    price = price_of(model)
    if price is None:
        return Estimate(model.label, requests, None)
    price_in, price_out = price
    cost = (tokens.read * price_in + tokens.written * price_out) / _MILLION
    return Estimate(model.label, requests, requests * cost)
