"""Questions of one data set that another one has in nearly the same words."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from opensafemlrm.types import Item

ALIKE: Final = 0.7
"""Similarity from which two questions are near duplicates: one word of ten may differ."""
_LENGTH: Final = 4
_RARE: Final = 12
"""Rarest pieces of a question by which others are looked up."""
_WORDS: Final = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class NearDuplicate:
    """Two items whose questions are nearly the same, by their ids: texts may be harmful."""

    item: str
    scenario: str
    other_item: str
    other_scenario: str
    similarity: float
    """From 0 to 1, where no piece of the texts differs."""


def near_duplicates(items: Iterable[Item], others: Iterable[Item]) -> Iterator[NearDuplicate]:
    """Yield, for each of ``items``, the most similar one of ``others`` if it is near enough.

    Compared are the questions alone, as pieces of four letters (Jaccard), each weighed by how rare
    it is over both data sets: what a template puts into every question tells nothing. Source:
    Broder, "On the resemblance and containment of documents" (1997).
    """
    items, others = list(items), list(others)
    mine, theirs = ([_pieces(item.question) for item in group] for group in (items, others))
    times = Counter(piece for pieces in (*mine, *theirs) for piece in pieces)
    total = len(items) + len(others)
    weights = {piece: math.log((total + 1) / count) for piece, count in times.items()}
    by_piece: dict[str, list[int]] = defaultdict(list)
    for number, pieces in enumerate(theirs):
        for piece in pieces:
            by_piece[piece].append(number)
    for item, pieces in zip(items, mine, strict=True):
        rare = sorted(pieces, key=lambda piece: (times[piece], piece))[:_RARE]
        candidates = {number for piece in rare for number in by_piece.get(piece, ())}
        best = max(
            ((_similarity(pieces, theirs[number], weights), -number) for number in candidates),
            default=(0.0, 0),
        )
        if best[0] >= ALIKE:
            other = others[-best[1]]
            yield NearDuplicate(item.id, item.scenario, other.id, other.scenario, best[0])


def _pieces(text: str) -> frozenset[str]:
    plain = f" {' '.join(_WORDS.findall(text.casefold()))} "
    return frozenset(plain[i : i + _LENGTH] for i in range(max(len(plain) - _LENGTH + 1, 1)))


def _similarity(
    mine: frozenset[str], theirs: frozenset[str], weights: Mapping[str, float]
) -> float:
    either = sum(weights[piece] for piece in mine | theirs)
    return sum(weights[piece] for piece in mine & theirs) / either if either else 1.0
