"""The sentences of a page: templates with numbers, each of them a macro of ``words.jinja``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from statistics import median
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from opensafemlrm.report.forms import signed
from opensafemlrm.text import counted, plural

MISSING: Final = "–"
_NUMBERS: Final = (
    *("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
)


def say(name: str, **values: Any) -> str:
    """Return the sentences of the macro ``name``, with ``values`` in them, on one line.

    They are plain text: what puts them on a page has to escape them.
    """
    lines = str(getattr(_macros(), name)(**values)).splitlines()
    return " ".join(line.strip(" ") for line in lines if line.strip(" "))


def percent(rate: float | None) -> str:
    """Return a rate in per cent with one decimal."""
    return MISSING if rate is None else f"{100 * rate:.1f} %"


def estimate(row: Mapping[str, Any]) -> str:
    """Return a difference in points, with its interval."""
    value = signed(100 * row["difference"])
    if row["low"] is None or row["high"] is None:
        return value
    return f"{value} ({signed(100 * row['low'])} to {signed(100 * row['high'])})"


def _times(row: Mapping[str, Any]) -> str:
    """Return the simultaneous interval of a ratio."""
    low, high = row["simultaneous_ratio_low"], row["simultaneous_ratio_high"]
    return f"{low:.1f} to {high:.1f} times" if high is not None else f"{low:.1f} times or more"


@cache
def _macros() -> Any:
    environment = Environment(  # noqa: S701  # plain text; the page's own template escapes
        loader=PackageLoader("opensafemlrm.report.page"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "signed": signed,
        "percent": percent,
        "estimate": estimate,
        "times": _times,
        "counted": counted,
        "in_words": lambda n, noun: (
            f"{_NUMBERS[n]} {plural(n, noun)}" if n < len(_NUMBERS) else counted(n, noun)
        ),
        "median": median,
        "number": "{:,}".format,
    }
    return environment.get_template("words.jinja").module
