"""Short names for charts and papers: as long as it takes to tell them apart."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final

_OPTIONS: Final = re.compile(r"\[(?:[^\[\]]|\[[^\[\]]*\])*\]")
"""Options in a label, and those of a component among them."""


def without_options(names: Iterable[str]) -> dict[str, str]:
    """Return each name without its options, where that tells it from the others."""
    return _where_unique({name: _OPTIONS.sub("", name) for name in names})


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Return each name without options and provider, where that tells it from the others."""
    plain = without_options(names)
    last = _where_unique({name: name.rpartition("/")[2] or name for name in plain.values()})
    return {name: last[short] for name, short in plain.items()}


def _where_unique(short: dict[str, str]) -> dict[str, str]:
    times = Counter(short.values())
    return {name: form if times[form] == 1 else name for name, form in short.items()}
