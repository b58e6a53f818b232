"""What a page draws: each chart with its words, its data as a table, and a name for its files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import altair as alt
import polars as pl

from opensafemlrm.report import charts
from opensafemlrm.report.asr import asr_table
from opensafemlrm.report.blindspots import BLINDSPOTS
from opensafemlrm.report.charts import MAX_PANELS, MAX_ROWS, PARTS
from opensafemlrm.report.correction import CORRECTION
from opensafemlrm.report.figures.drawing import Size
from opensafemlrm.report.page.findings import MAX_SETTINGS, Findings
from opensafemlrm.report.page.key_results import corrections, largest
from opensafemlrm.report.page.words import say
from opensafemlrm.report.scores import SCORES
from opensafemlrm.report.tables import Table
from opensafemlrm.report.tax import TAX


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart: ``name`` is that of its files, ``reading`` one line that says what it shows."""

    name: str
    title: str
    reading: str
    draw: Callable[[Size], alt.LayerChart]
    table: Table | None = None
    note: str = ""


def overview(found: Findings) -> list[Chart]:
    """Chart every pair's two rates; without pairs, every model's rate with its interval."""
    if len(found.compared) or len(found.withheld):
        return [_pairs(found)]
    return [_rates(found)] if len(found.settings) else []


def taxes(found: Findings) -> Chart | None:
    """Chart the tax with its intervals, at both thresholds of the judge."""
    rows = found.drawn(found.tax, part=found.part)
    measured = found.compared
    if measured.is_empty() and found.withheld.is_empty():
        return None
    lenient = found.headline(found.tax.filter(level="micro"))
    note = say(
        "tax_note",
        lenient=found.lenient,
        strict=found.strict,
        methods=measured["method"].unique().to_list(),
        withheld=rows["withheld"].count(),
    )
    return Chart(
        name="tax",
        title="Reasoning tax with 95 % intervals",
        reading=say(
            "tax_reading", top=largest(measured, "difference"), withheld=len(found.withheld)
        ),
        draw=partial(charts.tax, rows),
        table=TAX.of(rows),
        note=" ".join(filter(None, [note, _cut(lenient)])),
    )


def scenarios(found: Findings) -> Iterator[Chart]:
    """Chart the rates of every scenario and model, one chart a setting."""
    reasoners, bases = (found.tax[name].implode() for name in ("model", "base"))
    model = pl.col("model")
    role = (
        pl.when(model.is_in(reasoners))
        .then(pl.lit("reasoner"))
        .when(model.is_in(bases))
        .then(pl.lit("base"))
        .otherwise(pl.lit("ink"))
    )
    for number, setting, rows in by_setting(found, found.headline(found.by_scenario)):
        yield Chart(
            name=f"scenarios-{number}",
            title=f"Unsafe replies by scenario and model, in per cent: {setting}",
            reading=say("scenarios_reading", top=largest(rows.drop_nulls("asr"), "asr")),
            draw=partial(charts.scenarios, rows.with_columns(role=role)),
            table=asr_table(rows),
            note=" ".join(filter(None, ["Small: replies scored.", _daggers(rows)])),
        )


def slopes(found: Findings) -> Iterator[Chart]:
    """Chart how each scenario's rate moves from the base to the reasoning model."""
    spots = found.headline(found.blindspots).drop_nulls("difference")
    for number, setting, rows in by_setting(found, spots):
        yield Chart(
            name=f"slopes-{number}",
            title=f"From base to reasoning model, scenario by scenario: {setting}",
            reading=say(
                "slopes_reading",
                rose=(rows["difference"] > 0).sum(),
                scenarios=len(rows),
                top=largest(rows, "difference"),
            ),
            draw=partial(charts.blindspots, rows),
            table=BLINDSPOTS.of(rows),
            note="In per cent of scored replies; the three steepest rises of a pair are named.",
        )


def scores(found: Findings) -> Iterator[Chart]:
    """Chart how the scores of every part are spread, one chart a setting."""
    for number, setting, rows in by_setting(found, found.drawn(found.scores)):
        without = rows.filter(pl.col("n") == pl.col("unscored"))["part"]
        some = rows.filter(pl.col("unscored") > 0)["part"]
        yield Chart(
            name=f"scores-{number}",
            title=f"How replies were scored, part by part: {setting}",
            reading=say(
                "scores_reading",
                never=sorted({PARTS[part] for part in without}),
                some=sorted({PARTS[part] for part in some}),
            ),
            draw=partial(charts.scores, rows),
            table=SCORES.of(rows),
            note=f"Judge: {found.judge}.",
        )


def correction(found: Findings) -> Chart | None:
    """Chart where safe and unsafe reasoning end."""
    rows = corrections(found)
    if rows.is_empty():
        return None
    note = "Only replies with a score for both parts. A ribbon has the colour of its reasoning."
    return Chart(
        name="correction",
        title="From reasoning to answer",
        reading=say("correction_reading", top=largest(rows, "self_correction")),
        draw=partial(charts.correction, rows),
        table=CORRECTION.of(found.drawn(found.correction)),
        note=" ".join(filter(None, [note, _daggers(rows), _cut(rows, MAX_PANELS)])),
    )


def missing(found: Findings) -> Chart | None:
    """Chart what share of each model's replies has no score, and why."""
    rows = found.drawn(found.scores, part=found.part)
    top = largest(rows, pl.col("unscored") / pl.col("n"))
    if not top.get("unscored"):
        return None
    note = "The scale ends at the greatest share."
    return Chart(
        name="missing",
        title="Replies without a score, and why",
        reading=say("missing_reading", top=top),
        draw=partial(charts.missing, rows),
        table=SCORES.of(rows),
        note=" ".join(filter(None, [note, _cut(rows)])),
    )


def _pairs(found: Findings) -> Chart:
    rows, measured = found.headline(found.tax.filter(level="micro")), found.compared
    return Chart(
        name="pairs",
        title=f"Unsafe replies: each reasoning model beside its base{_threshold(found)}",
        reading=say(
            "pairs_reading",
            base=(measured["difference"] > 0).sum(),
            comparisons=len(measured),
            model=(measured["difference"] < 0).sum(),
            withheld=len(found.withheld),
        ),
        draw=partial(charts.pair_rates, rows),
        note=" ".join(filter(None, [_daggers(rows), _cut(rows)])),
        table=asr_table(found.drawn(found.asr, part=found.part)),
    )


def _rates(found: Findings) -> Chart:
    rows = found.headline(found.asr)
    return Chart(
        name="rates",
        title=f"Unsafe replies of every model{_threshold(found)}",
        reading=say("rates_reading", top=largest(rows.drop_nulls("asr"), "asr")),
        draw=partial(charts.asr, rows),
        note=" ".join(filter(None, [_daggers(rows), _cut(rows)])),
        table=asr_table(found.drawn(found.asr, part=found.part)),
    )


def by_setting(found: Findings, rows: pl.DataFrame) -> Iterator[tuple[int, str, pl.DataFrame]]:
    """Yield the settings that have rows: their number on the page, their name, and the rows."""
    for number, name in enumerate(found.settings["setting"].head(MAX_SETTINGS), start=1):
        if len(own := rows.filter(setting=name)):
            yield number, name, own


def _threshold(found: Findings) -> str:
    part = "" if found.part == "full" else f", {PARTS[found.part]}"
    return f"{part} (score ≥ {found.lenient:g})"


def _daggers(rows: pl.DataFrame) -> str:
    return say("daggers", withheld=rows["withheld"].count())


def _cut(rows: pl.DataFrame, drawn: int = MAX_ROWS) -> str:
    return say("cut", rows=len(rows), drawn=drawn)
