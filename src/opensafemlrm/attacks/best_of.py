"""The search of several published attacks: try, let the judge score the reply, try again."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable
from typing import ClassVar

from opensafemlrm import reasoning
from opensafemlrm.attacks import seeded
from opensafemlrm.calls import reply_of, verdicts_of
from opensafemlrm.components import Attack, Judge, Model, Search
from opensafemlrm.types import (
    Call,
    Item,
    JudgeRequest,
    Part,
    Prompt,
    Response,
    ResponseStatus,
    Sampling,
    SearchResult,
)


class BestOf(Attack, Search, ABC):
    """A search that tries an attack anew, and keeps the try whose whole reply scored highest."""

    tries: int
    ends_at: ClassVar[int] = 0
    """The place of the judge's threshold that ends it: 0 for the lenient, -1 for the strict one."""

    async def search(
        self, item: Item, target: Model, judge: Judge, sampling: Sampling
    ) -> SearchResult:
        """Return the best try and every query. Raises AttackError as :meth:`apply` does."""
        endpoints, stop = (target, judge), judge.thresholds[self.ends_at]
        return await best_of(self.apply, item, endpoints, sampling, tries=self.tries, stop=stop)


async def best_of(
    attempt: Callable[[Item, int], Prompt],
    item: Item,
    endpoints: tuple[Model, Judge],
    sampling: Sampling,
    *,
    tries: int,
    stop: float,
) -> SearchResult:
    """Ask ``tries`` times at most, and return the prompt whose reply scored highest.

    Each try is ``attempt(item, seed)`` with a seed of its own; the first has the sampling's seed,
    so that it is what the single attack sends. The search ends with the first score of at least
    ``stop``. A reply without a score (failed, blocked, cut, unparsed) is a query that found
    nothing: it is neither safe nor the best. Of equal scores the first counts.
    """
    target, judge = endpoints
    calls: list[Call] = []
    for number in range(tries):
        prompt = attempt(item, seeded.seed_of_try(sampling.seed or 0, number))
        response = await reply_of(target, prompt, sampling)
        score = await _score(item, response, target, judge)
        calls.append(Call(f"query {number + 1}", prompt, response, score))
        if score is not None and score >= stop:
            break
    best = max(calls, key=lambda call: float("-inf") if call.score is None else call.score)
    return SearchResult(best.prompt, tuple(calls))


async def _score(item: Item, response: Response, target: Model, judge: Judge) -> float | None:
    """Return the judge's score of the whole reply, ``None`` where it has none."""
    if response.status is not ResponseStatus.OK:
        return None
    trace = reasoning.parse(response, target.reasoning_format)
    text = trace.part(Part.FULL)
    if text is None:
        return None
    role = Part.ANSWER if text == trace.part(Part.ANSWER) else Part.FULL
    (verdict,) = await verdicts_of(judge, item, [JudgeRequest(role, text)])
    return verdict.score
