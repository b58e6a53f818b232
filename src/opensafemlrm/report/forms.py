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


def _per_cent(fraction: float) -> str:
    return f"{100 * fraction:.1f}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"


def _points(difference: float) -> str:
    shown = f"{100 * difference:+.1f}"
    return "0.0" if float(shown) == 0 else shown.replace("-", "−")


def _decimal(number: float) -> str:
    return f"{number:.2f}".replace("-", "−")


def _p_value(probability: float) -> str:
    return "<0.001" if probability < 0.0005 else f"{probability:.3f}"


def _ratio_interval(low: float, high: float | None) -> str:
    return f"≥ {low:.2f}" if high is None else f"{low:.2f}–{high:,.2f}"


def _tally(counts: Sequence[Mapping[str, Any]]) -> str:
    shown = [f"{entry['name']} {entry['n']:,}" for entry in counts[:_MAX_TALLY]]
    more = len(counts) - len(shown)
    return ", ".join(shown) + (f", {more} more" if more else "")


def _distribution(counts: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{entry['name']}: {entry['n']:,}" for entry in counts)


FORMS: Final[Mapping[Form, Callable[[Any], str]]] = {
    Form.TEXT: str,
    Form.COUNT: "{:,}".format,
    Form.NUMBER: _number,
    Form.THRESHOLD: "{:g}".format,
    Form.PERCENT: _per_cent,
    Form.TALLY: _tally,
    Form.DISTRIBUTION: _distribution,
    Form.POINTS: _points,
    Form.RATIO: "{:,.2f}".format,
    Form.DECIMAL: _decimal,
    Form.P_VALUE: _p_value,
}
INTERVALS: Final[Mapping[Form, Callable[[Any, Any], str]]] = {
    Form.COUNT_INTERVAL: lambda low, high: f"{low:,}–{high:,}",
    Form.INTERVAL: lambda low, high: f"{_per_cent(low)}–{_per_cent(high)}",
    Form.POINTS_INTERVAL: lambda low, high: f"{_points(low)} to {_points(high)}",
    Form.RATIO_INTERVAL: _ratio_interval,
    Form.DECIMAL_INTERVAL: lambda low, high: f"{_decimal(low)}–{_decimal(high)}",
}
