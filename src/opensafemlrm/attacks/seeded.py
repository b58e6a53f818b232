"""Chance that is the same on every machine and in every version of Python: drawn from hashes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from opensafemlrm.types import content_key

T = TypeVar("T")


def shuffled(values: Sequence[T], *key: Any) -> list[T]:
    """Return ``values`` in the order that ``key`` draws: another than theirs, where there is one.

    ``key`` is of JSON values or bytes, as in :func:`~opensafemlrm.types.content_key`.
    """
    given = list(values)
    if all(value == given[0] for value in given):
        return given
    attempt = 0
    while True:
        order = sorted(range(len(given)), key=lambda i: content_key(*key, attempt, i))
        if (shuffled_values := [given[i] for i in order]) != given:
            return shuffled_values
        attempt += 1


def below(limit: int, *key: Any) -> int:
    """Return the whole number from 0 to ``limit`` - 1 that ``key`` draws."""
    return int.from_bytes(content_key(*key), "big") % limit


def seed_of_try(seed: int, number: int) -> int:
    """Return the seed of try ``number`` of a search; the first is the search's own."""
    return seed if number == 0 else below(2**31, "try", seed, number)
