"""The forms in which a table shows a value to people: per cent, intervals, p-values, tallies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

_MAX_TALLY: Final = 5
BOUNDS_MARK: Final = "†"
"""Stands behind bounds that are in place of a rate, in every table, chart and sentence."""


class Form(StrEnum):
    """How a value is shown to people. Null is shown as a dash in all of them."""

    TEXT = "text"
    COUNT = "count"
    """A whole number, with a comma at thousands."""
    COUNT_INTERVAL = "count_interval"
    """Two of them: ``1–7``."""
    NUMBER = "number"
    """A number with two decimals, or none where it is whole."""
    THRESHOLD = "threshold"
    """A number with the digits it has; whole ones have no decimals in CSV and JSON either."""
    PERCENT = "percent"
    """A fraction, in per cent with one decimal."""
    INTERVAL = "interval"
    """Two fractions, in per cent: ``12.3–20.1``."""
    POINTS = "points"
    """A difference of fractions, in percentage points with its sign: ``+12.3``."""
    POINTS_INTERVAL = "points_interval"
    """Two of them: ``+1.2 to +20.1``."""
    RATIO = "ratio"
    """A ratio with two decimals."""
    RATIO_INTERVAL = "ratio_interval"
    """Two ratios; ``≥ 2.10`` where there is no upper end."""
    DECIMAL = "decimal"
    """A number from −1 to 1 with two decimals, such as a correlation."""
    DECIMAL_INTERVAL = "decimal_interval"
    """Two of them: ``0.12–0.45``."""
    P_VALUE = "p_value"
    """A p-value with three decimals, or ``<0.001``."""
    TALLY = "tally"
    """Names with their counts, the first few of them; an object in CSV and JSON."""
    DISTRIBUTION = "distribution"
    """The same, all of them."""


def signed(value: float) -> str:
    """Return a number with one decimal and its sign; 0.0 has none."""
    text = f"{value:+.1f}".replace("-", "−")
    return "0.0" if text in {"+0.0", "−0.0"} else text


def _tally(counts: Sequence[Mapping[str, Any]]) -> str:
    shown = [f"{entry['name']} {entry['n']:,}" for entry in counts[:_MAX_TALLY]]
    more = len(counts) - len(shown)
    return ", ".join(shown) + (f", {more} more" if more else "")


FORMS: Final[Mapping[Form, Callable[[Any], str]]] = {
    Form.TEXT: str,
    Form.COUNT: "{:,}".format,
    Form.NUMBER: lambda value: f"{value:,.0f}" if value == int(value) else f"{value:,.2f}",
    Form.THRESHOLD: "{:g}".format,
    Form.PERCENT: lambda fraction: f"{100 * fraction:.1f}",
    Form.TALLY: _tally,
    Form.DISTRIBUTION: lambda counts: ", ".join(f"{c['name']}: {c['n']:,}" for c in counts),
    Form.POINTS: lambda difference: signed(100 * difference),
    Form.RATIO: "{:,.2f}".format,
    Form.DECIMAL: lambda number: f"{number:.2f}".replace("-", "−"),
    Form.P_VALUE: lambda p: "<0.001" if p < 0.0005 else f"{p:.3f}",
}
INTERVALS: Final[Mapping[Form, Callable[[Any, Any], str]]] = {
    Form.COUNT_INTERVAL: "{:,}–{:,}".format,
    Form.INTERVAL: lambda low, high: f"{100 * low:.1f}–{100 * high:.1f}",
    Form.POINTS_INTERVAL: lambda low, high: f"{signed(100 * low)} to {signed(100 * high)}",
    Form.RATIO_INTERVAL: lambda low, high: (
        f"≥ {low:.2f}" if high is None else f"{low:.2f}–{high:,.2f}"
    ),
    Form.DECIMAL_INTERVAL: lambda low, high: f"{low:.2f}–{high:.2f}".replace("-", "−"),
}
