"""MML as published: up to five tries, until the judge gives the highest score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from opensafemlrm.attacks.best_of import best_of
from opensafemlrm.attacks.mml import MML
from opensafemlrm.cards import card_of
from opensafemlrm.components import Judge, Model, Search
from opensafemlrm.types import Item, Sampling, SearchResult


@dataclass(frozen=True, slots=True)
class MMLSearch(MML, Search):
    """Shuffle the hint anew up to ``tries`` times; keep the try whose whole reply scored highest.

    Five tries, and an end at a score of 5 (arXiv 2412.00473). The end is the judge's strict
    threshold, which is 5 for the study's judge. Replies are scored whole, reasoning included.
    """

    name = "mml-n"
    card = card_of("attack", name)

    tries: Annotated[int, Field(ge=1, le=100)] = 5

    async def search(
        self, item: Item, target: Model, judge: Judge, sampling: Sampling
    ) -> SearchResult:
        """Return the best try and every query. Raises AttackError as :meth:`apply` does."""
        endpoints = (target, judge)
        stop = judge.thresholds[-1]
        return await best_of(self.apply, item, endpoints, sampling, tries=self.tries, stop=stop)
