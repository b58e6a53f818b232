"""What a page draws: each chart with its words, its data as a table, and a name for its files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import altair as alt
import polars as pl

from opensafemlrm.report import charts
from opensafemlrm.report.blindspots import BLINDSPOTS
from opensafemlrm.report.charts import ALPHA, MAX_PANELS, MAX_ROWS, PARTS
from opensafemlrm.report.drift import with_worse
from opensafemlrm.report.figures.drawing import Size
from opensafemlrm.report.outcomes import SCORES
from opensafemlrm.report.page.findings import MAX_SETTINGS, Findings
from opensafemlrm.report.page.key_results import corrections, largest, refusals
from opensafemlrm.report.page.words import say
from opensafemlrm.report.rates import CORRECTION, REFUSALS, TAX, asr_table
from opensafemlrm.report.tables import Table


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart: ``name`` is that of its files, ``reading`` one line that says what it shows."""

    name: str
    title: str
    reading: str
    draw: Callable[[Size], alt.LayerChart]
    table: Table | None = None
    note: str = ""


def finished(findings: Findings, made: Iterable[Chart]) -> tuple[Chart, ...]:
    """Return charts with what stands below their tables."""
    return tuple(
        replace(chart, table=findings.finished([chart.table])[0]) if chart.table else chart
        for chart in made
    )


def overview(findings: Findings) -> list[Chart]:
    """Chart every pair's two rates; without pairs, every model's rate with its interval."""
    if len(findings.compared) or len(findings.withheld):
        return [_pairs(findings)]
    return [_rates(findings)] if len(findings.settings) else []


def taxes(findings: Findings) -> Iterator[Chart]:
    """Chart the tax with its intervals, at both thresholds of the judge."""
    rows = findings.drawn(findings.tax, part=findings.part)
    measured = findings.compared
    if measured.is_empty() and findings.withheld.is_empty():
        return
    lenient = findings.headline(findings.averages)
    note = say(
        "tax_note",
        lenient=findings.lenient,
        strict=findings.strict,
        methods=measured["method"].unique().to_list(),
        withheld=rows["withheld"].count(),
    )
    yield Chart(
        name="tax",
        title="Reasoning tax with 95 % intervals",
        reading=say(
            "tax_reading", top=largest(measured, "difference"), withheld=len(findings.withheld)
        ),
        draw=partial(charts.tax, rows),
        table=TAX.of(rows),
        note=_joined(say("bases", pairs=_bases(findings)), note, _cut(lenient)),
    )


def scenarios(findings: Findings) -> Iterator[Chart]:
    """Chart the rates of every scenario and model, with a group of columns for each setting."""
    rows = findings.headline(findings.by_scenario).with_columns(role=findings.role)
    for name, of, own in _apart(rows, "dataset", "scenarios"):
        rates = own.drop_nulls("asr")
        top = largest(rates, "asr")
        counts = rates["scored"].unique().to_list()
        yield Chart(
            name=name,
            title=f"Unsafe replies by scenario and model, in per cent{of}",
            reading=say(
                "scenarios_reading",
                top=top,
                ties=(rates["asr"] == top.get("asr")).sum() - 1 if top else 0,
            ),
            draw=partial(charts.scenarios, own),
            table=asr_table(own.drop("role")),
            note=_joined(say("scenarios_note", counts=counts), _daggers(own)),
        )


def losses(findings: Findings) -> Iterator[Chart]:
    """Chart what each scenario lost against the base, a panel a pair and setting."""
    spots = findings.headline(findings.blindspots).drop_nulls("difference")
    for name, of, own in _apart(spots, "dataset", "blindspots"):
        panels = own.select("model", "base", "setting").n_unique()
        yield Chart(
            name=name,
            title=f"What each scenario lost against the base, with 95 % intervals{of}",
            reading=say(
                "losses_reading",
                worse=((own["bound_holm"] <= ALPHA) & (own["difference"] > 0)).sum(),
                scenarios=len(own),
                top=largest(own, "difference"),
            ),
            draw=partial(charts.blindspots, own),
            table=BLINDSPOTS.of(own),
            note=_joined(say("losses_note"), say("cut_panels", panels=panels, drawn=MAX_PANELS)),
        )


def scores(findings: Findings) -> Iterator[Chart]:
    """Chart how the scores of every part are spread."""
    rows = findings.drawn(findings.scores)
    if rows.is_empty():
        return
    without = rows.filter(pl.col("n") == pl.col("unscored"))["part"]
    some = rows.filter(pl.col("unscored") > 0)["part"]
    yield Chart(
        name="scores",
        title="How replies were scored, part by part",
        reading=say(
            "scores_reading",
            never=sorted({PARTS[part] for part in without}),
            some=sorted({PARTS[part] for part in some}),
        ),
        draw=partial(charts.scores, rows),
        table=SCORES.of(rows),
        note=_joined(f"Judge: {findings.judge}.", _cut(rows.unique(["setting", "model"]))),
    )


def overrefusal(findings: Findings) -> Iterator[Chart]:
    """Chart how often harmless requests are refused."""
    rows = refusals(findings)
    if rows.is_empty():
        return
    rows = rows.with_columns(role=findings.role)
    yield Chart(
        name="overrefusal",
        title="Harmless requests refused, with 95 % intervals",
        reading=say("overrefusal_reading", top=largest(rows.drop_nulls("rate"), "rate")),
        draw=partial(charts.overrefusal, rows),
        table=REFUSALS.of(rows.drop("role")),
        note=_joined(_daggers(rows), _cut(rows)),
    )


def drift(findings: Findings) -> Iterator[Chart]:
    """Chart the versions of every series, scenario by scenario, in the first of its settings."""
    trend = with_worse(findings.changes, findings.trend)
    for name, of, rows in _apart(trend, "series", "drift"):
        setting = findings.drawn(rows.drop_nulls("asr"))["setting"].head(1).to_list()
        if setting:
            yield Chart(
                name=name,
                title=f"Unsafe replies, version by version{of}",
                reading=say("drift_reading", setting=setting[0]),
                draw=partial(charts.drift, findings.drawn(rows).filter(setting=setting[0])),
                note=say(
                    "drift_note",
                    withheld=rows["withheld"].count(),
                    left_out=rows["scenario"].n_unique() - MAX_PANELS,
                ),
            )


def correction(findings: Findings) -> Iterator[Chart]:
    """Chart where safe and unsafe reasoning end."""
    rows = corrections(findings)
    if rows.is_empty():
        return
    note = "Only replies with a score for both parts. A ribbon has the colour of its reasoning."
    yield Chart(
        name="correction",
        title="From reasoning to answer",
        reading=say("correction_reading", top=largest(rows, "self_correction")),
        draw=partial(charts.correction, rows),
        table=CORRECTION.of(findings.drawn(findings.correction)),
        note=_joined(note, _daggers(rows), _cut(rows, MAX_PANELS)),
    )


def missing(findings: Findings) -> Iterator[Chart]:
    """Chart what share of each model's replies has no score, and why."""
    rows = findings.drawn(findings.scores, part=findings.part)
    top = largest(rows, pl.col("unscored") / pl.col("n"))
    if not top.get("unscored"):
        return
    note = "The scale ends at the greatest share."
    yield Chart(
        name="missing",
        title="Replies without a score, and why",
        reading=say("missing_reading", top=top),
        draw=partial(charts.missing, rows),
        table=SCORES.of(rows),
        note=_joined(note, _cut(rows)),
    )


def _pairs(findings: Findings) -> Chart:
    rows, measured = findings.headline(findings.averages), findings.compared
    return Chart(
        name="pairs",
        title=f"Unsafe replies: each reasoning model beside its base{_threshold(findings)}",
        reading=say(
            "pairs_reading",
            base=(measured["difference"] > 0).sum(),
            comparisons=len(measured),
            model=(measured["difference"] < 0).sum(),
            withheld=len(findings.withheld),
        ),
        draw=partial(charts.pair_rates, rows),
        note=_joined(_daggers(rows), _cut(rows)),
        table=asr_table(findings.drawn(findings.asr, part=findings.part)),
    )


def _rates(findings: Findings) -> Chart:
    rows = findings.headline(findings.asr).with_columns(role=findings.role)
    return Chart(
        name="rates",
        title=f"Unsafe replies of every model{_threshold(findings)}",
        reading=say("rates_reading", top=largest(rows.drop_nulls("asr"), "asr")),
        draw=partial(charts.asr, rows),
        note=_joined(_daggers(rows), _cut(rows)),
        table=asr_table(findings.drawn(findings.asr, part=findings.part)),
    )


def _apart(rows: pl.DataFrame, column: str, name: str) -> Iterator[tuple[str, str, pl.DataFrame]]:
    """Yield the rows of each value, with the name of a chart's files and what titles add."""
    values = rows[column].unique(maintain_order=True).to_list()
    for number, value in enumerate(values, start=1):
        suffix, of = (f"-{number}", f": {value}") if len(values) > 1 else ("", "")
        yield f"{name}{suffix}", of, rows.filter(pl.col(column) == value)


def _joined(*sentences: str) -> str:
    return " ".join(filter(None, sentences))


def by_setting(findings: Findings, rows: pl.DataFrame) -> Iterator[tuple[int, str, pl.DataFrame]]:
    """Yield the settings that have rows: their number on the page, their name, and the rows."""
    for number, name in enumerate(findings.settings["setting"].head(MAX_SETTINGS), start=1):
        if len(own := rows.filter(setting=name)):
            yield number, name, own


def _bases(findings: Findings) -> list[tuple[str, str]]:
    """Return each reasoning model that is drawn with its base, where that is not in its label."""
    pairs = findings.headline(findings.tax).select("model", "model_label", "base_label")
    pairs = pairs.unique(maintain_order=True)
    if pairs["model"].n_unique() < len(pairs):
        return []
    return pairs.select("model_label", "base_label").rows()


def _threshold(findings: Findings) -> str:
    part = "" if findings.part == "full" else f", {PARTS[findings.part]}"
    return f"{part} (score ≥\u00a0{findings.lenient:g})"


def _daggers(rows: pl.DataFrame) -> str:
    return say("daggers", withheld=rows["withheld"].count())


def _cut(rows: pl.DataFrame, drawn: int = MAX_ROWS) -> str:
    return say("cut", rows=len(rows), drawn=drawn)
