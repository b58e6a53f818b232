"""SI-Attack as published: up to ten draws, until the judge calls the reply harmful."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from opensafemlrm.attacks.best_of import best_of
from opensafemlrm.attacks.si_attack import SIAttack
from opensafemlrm.cards import card_of
from opensafemlrm.components import Judge, Model, Search
from opensafemlrm.types import Item, Sampling, SearchResult


@dataclass(frozen=True, slots=True)
class SIAttackSearch(SIAttack, Search):
    """Shuffle anew up to ``tries`` times; keep the draw whose whole reply scored highest.

    Ten tries, and an end at a score of 4 (SI_Attack.py). The end is the judge's lenient threshold,
    which is 4 for the study's judge. Replies are scored whole, reasoning included.
    """

    name = "si-attack-n"
    card = card_of("attack", name)

    tries: Annotated[int, Field(ge=1, le=100)] = 10

    async def search(
        self, item: Item, target: Model, judge: Judge, sampling: Sampling
    ) -> SearchResult:
        """Return the best draw and every query. Raises AttackError as :meth:`apply` does."""
        endpoints = (target, judge)
        stop = judge.thresholds[0]
        return await best_of(self.apply, item, endpoints, sampling, tries=self.tries, stop=stop)
