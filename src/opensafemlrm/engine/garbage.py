"""How often Python looks for cycles of objects while samples are under way."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from typing import Final

COLLECT_AFTER: Final = 50_000
"""Objects more than before, after which it looks: some 10 MB at most.

Hundreds of samples under way are a hundred thousand objects that live on, and hardly any is in a
cycle: to go through them after each 700 takes a fifth of a run's CPU time.
"""


@contextlib.contextmanager
def seldom_collected() -> Iterator[None]:
    """Look for cycles seldom, and as often as before at the end.

    Where somebody has switched that off, or looks no more often, as another run does, it stays.
    """
    first, *others = gc.get_threshold()
    if not 0 < first < COLLECT_AFTER:
        yield
        return
    gc.set_threshold(COLLECT_AFTER, *others)
    try:
        yield
    finally:
        gc.set_threshold(first, *others)
