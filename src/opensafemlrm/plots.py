"""The report's charts, as objects of altair."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from opensafemlrm.errors import ReportError
from opensafemlrm.reading import Reading
from opensafemlrm.report.figures.drawing import SIZES, Chart, with_caveat
from opensafemlrm.report.page import charts, defenses
from opensafemlrm.report.page.charts import Chart as Drawable
from opensafemlrm.report.page.findings import Findings
from opensafemlrm.report.page.header import caveat


class Plots:
    """Each method draws one chart, or several where its results need it.

    A chart says below it where models are simulated or organisms. ReportError says that the results
    have nothing to draw in it.
    """

    def __init__(self, results: Reading) -> None:
        self._found = Findings(results)

    def __repr__(self) -> str:
        return f"<charts: {', '.join(_MAKERS)}>"

    def pairs(self) -> Chart:
        """Draw each pair's two rates: the reasoning model's beside its base's."""
        return self._chart("pairs")

    def rates(self) -> Chart:
        """Draw every model's rate with its interval, where no models are paired."""
        return self._chart("rates")

    def tax(self) -> Chart:
        """Draw the reasoning tax with its intervals."""
        return self._chart("tax")

    def correction(self) -> Chart:
        """Draw where safe and unsafe reasoning end."""
        return self._chart("correction")

    def missing(self) -> Chart:
        """Draw what share of the replies has no score, and why."""
        return self._chart("missing")

    def overrefusal(self) -> Chart:
        """Draw how often harmless requests are refused."""
        return self._chart("overrefusal")

    def scores(self) -> Chart:
        """Draw how the scores of every part are spread."""
        return self._chart("scores")

    def scenarios(self) -> list[Chart]:
        """Draw the rates of every scenario and model as a heat map for each dataset."""
        return self._charts("scenarios")

    def blindspots(self) -> list[Chart]:
        """Draw what each scenario lost against the base, a chart for each dataset."""
        return self._charts("blindspots")

    def drift(self) -> list[Chart]:
        """Draw the versions of each series in their order, with bands that hold together."""
        return self._charts("drift")

    def defenses(self) -> list[Chart]:
        """Draw each defense's safety against what it costs."""
        return self._charts("defenses")

    def _chart(self, name: str) -> Chart:
        return self._charts(name)[0]

    def _charts(self, name: str) -> list[Chart]:
        below = caveat(self._found)
        drawn: list[Chart] = [
            with_caveat(chart.draw(SIZES[0]), below, SIZES[0])
            for chart in _MAKERS[name](self._found)
        ]
        if not drawn:
            others = [
                other for other, make in _MAKERS.items() if any(True for _ in make(self._found))
            ]
            raise ReportError(
                f"there is nothing to draw in {name!r}; there is: {', '.join(others) or 'nothing'}"
            )
        return drawn


def _overview(name: str) -> Callable[[Findings], Iterable[Drawable]]:
    return lambda found: [chart for chart in charts.overview(found) if chart.name == name]


_MAKERS: Final[Mapping[str, Callable[[Findings], Iterable[Drawable]]]] = {
    "pairs": _overview("pairs"),
    "rates": _overview("rates"),
    "tax": charts.taxes,
    "correction": charts.correction,
    "missing": charts.missing,
    "scenarios": charts.scenarios,
    "blindspots": charts.losses,
    "scores": charts.scores,
    "overrefusal": charts.overrefusal,
    "drift": charts.drift,
    "defenses": defenses.fronts,
}
"""What each chart is made by: only the results that it shows are computed."""
