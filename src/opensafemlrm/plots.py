"""The report's charts, as objects of altair."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opensafemlrm.errors import ReportError
from opensafemlrm.report.figures.drawing import SIZES, Chart
from opensafemlrm.report.page.charts import overview
from opensafemlrm.report.page.sections import sections
from opensafemlrm.report.page.write import read_findings

if TYPE_CHECKING:
    from opensafemlrm.store.source import Source


class Plots:
    """Each method draws one chart, or one a setting (a dataset, an attack, a defense and so on).

    ReportError says that the results have nothing to draw in it.
    """

    def __init__(self, source: Source) -> None:
        found = read_findings(source)
        charts = [
            *overview(found),
            *(chart for section in sections(found) for chart in section.charts),
        ]
        self._by_name = {chart.name: chart for chart in charts}

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

    def scenarios(self) -> list[Chart]:
        """Draw the rates of every scenario and model as heat maps."""
        return self._charts("scenarios")

    def slopes(self) -> list[Chart]:
        """Draw how each scenario's rate moves from the base to the reasoning model."""
        return self._charts("slopes")

    def scores(self) -> list[Chart]:
        """Draw how the scores of every part are spread."""
        return self._charts("scores")

    def defenses(self) -> list[Chart]:
        """Draw each defense's safety against what it costs."""
        return self._charts("defenses")

    def _chart(self, name: str) -> Chart:
        return self._charts(name)[0]

    def _charts(self, name: str) -> list[Chart]:
        wide = SIZES[0]
        numbered = (chart for key, chart in self._by_name.items() if key.partition("-")[0] == name)
        charts: list[Chart] = [chart.draw(wide) for chart in numbered]
        if not charts:
            drawn = ", ".join(dict.fromkeys(key.partition("-")[0] for key in self._by_name))
            raise ReportError(
                f"there is nothing to draw in {name!r}; there is: {drawn or 'nothing'}"
            )
        return charts
