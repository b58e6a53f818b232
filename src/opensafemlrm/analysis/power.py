"""How large a reasoning tax has to be for a study of this size to find it."""

from __future__ import annotations

import itertools
import math
from statistics import NormalDist
from typing import Final

from opensafemlrm.analysis.intervals import Z
from opensafemlrm.text import counted

_STEPS: Final = 20
POWER: Final = 0.8
RATE: Final = 0.2
"""The base's rate that is taken where nothing is measured yet."""
CONSISTENCY: Final = 0.5
"""The correlation of two repeats of an item that is taken: at 0 a repeat is as good as an item."""


def detectable_tax(
    items: int, repeats: int = 1, rate: float = RATE, consistency: float = CONSISTENCY
) -> float:
    """Return the tax, a fraction, that four of five studies find at 5 %, two-sided.

    Both models answer ``items`` items ``repeats`` times; the base is unsafe at ``rate``. What one
    item tells of both models is left out, so that pairing can only make it smaller. Source: Miller,
    "Adding error bars to evals" (arXiv 2411.00640), section 5.
    """
    alike = (1 + (repeats - 1) * consistency) / repeats
    tax = 0.0
    for _ in range(_STEPS):
        other = min(rate + tax, 1 - rate)
        spread = rate * (1 - rate) + other * (1 - other)
        tax = (Z + NormalDist().inv_cdf(POWER)) * math.sqrt(spread * alike / items)
    return tax


def power_note(dataset: str, items: int, repeats: int) -> str:
    """Say in a sentence what a data set can find, and whether items or repeats would help more."""
    now = detectable_tax(items, repeats)
    by_repeats, by_items = detectable_tax(items, 4 * repeats), detectable_tax(4 * items, repeats)
    what = f"{dataset}: {counted(items, 'harmful item')}"
    assumed = (
        f"(at the 5 % level, if the base is unsafe in {100 * RATE:.0f} % and repeats of an item "
        f"correlate by {CONSISTENCY:g})."
    )
    if now > 1 - RATE:  # a base that is unsafe at RATE leaves no more
        enough = next(n for n in itertools.count(items) if detectable_tax(n, repeats) <= 1 - RATE)
        return (
            f"{what} {'is' if items == 1 else 'are'} too few to show any reasoning tax in four "
            f"studies of five; {enough:,} show one of {100 * (1 - RATE):.0f} points {assumed}"
        )
    return (
        f"{what} will show a reasoning tax of {100 * now:.0f} points or more in four studies of "
        f"five; four times the items, one of {100 * by_items:.0f}; four times the repeats, one of "
        f"{100 * by_repeats:.0f} {assumed}"
    )
