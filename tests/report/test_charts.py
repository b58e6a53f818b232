"""A chart for each result: what is drawn of a frame that holds more than a chart can."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import altair as alt
import polars as pl
import pytest

from opensafemlrm import frame as frames
from opensafemlrm.analysis.asr import asr
from opensafemlrm.analysis.blindspots import blindspots
from opensafemlrm.analysis.correction import correction
from opensafemlrm.analysis.coverage import scores
from opensafemlrm.analysis.defense import defense_effects
from opensafemlrm.analysis.drift import drift
from opensafemlrm.analysis.tax import tax
from opensafemlrm.errors import ReportError
from opensafemlrm.report import charts
from opensafemlrm.report.drift import with_worse
from opensafemlrm.store import Store
from tests.report.page_stores import run_study

STUDY = """\
models: [sim/r1-onevision-7b, {model: sim/qwen2.5-vl-7b, failure_rate: 0.1}]
pairs: [[sim/r1-onevision-7b, sim/qwen2.5-vl-7b]]
datasets: [canary]
attacks: [direct, figstep]
defenses: [none, reflect]
judge: canary
limit: 40
"""


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> tuple[pl.DataFrame, pl.DataFrame]:
    path = run_study(tmp_path_factory.mktemp("charts") / "store", STUDY)
    with Store.open(path) as store:
        return frames.read(store), frames.pairs(store)


Results = dict[Callable[..., alt.LayerChart], pl.DataFrame]


@pytest.fixture(scope="module")
def results(read: tuple[pl.DataFrame, pl.DataFrame]) -> Results:
    frame, pairs = read
    return {
        charts.pair_rates: tax(frame, pairs),
        charts.tax: tax(frame, pairs),
        charts.asr: asr(frame),
        charts.scenarios: asr(frame, by="scenario"),
        charts.blindspots: blindspots(frame, pairs),
        charts.correction: correction(frame),
        charts.scores: scores(frame),
        charts.missing: scores(frame),
        charts.defense: defense_effects(frame),
    }


def words(chart: alt.LayerChart) -> str:
    spec: dict[str, Any] = chart.to_dict()
    return json.dumps(spec, ensure_ascii=False)


def test_every_result_has_a_chart_that_names_its_simulated_models(results: Results) -> None:
    for draw, rows in results.items():
        assert "sim/r1-onevision-7b (simulated)" in words(draw(rows)), draw.__name__


def test_settings_that_differ_are_headings(results: Results) -> None:
    shown = words(charts.tax(results[charts.tax]))
    for setting in ("direct", "figstep", "direct · reflect", "figstep · reflect"):
        assert f'"{setting}"' in shown


def test_of_several_parts_the_whole_reply_is_drawn(results: Results) -> None:
    rows = results[charts.asr]
    assert words(charts.asr(rows)) == words(charts.asr(rows.filter(part="full", threshold=4)))


def test_an_empty_result_is_refused(results: Results) -> None:
    for draw, rows in results.items():
        with pytest.raises(ReportError, match="nothing to draw"):
            draw(rows.clear())


def test_labels_that_a_frame_brings_are_kept(results: Results) -> None:
    rows = results[charts.correction].with_columns(model_label=pl.lit("mine"))
    assert "mine" in words(charts.correction(rows))


def test_a_series_has_a_line_for_each_part_and_its_versions_at_the_foot(
    read: tuple[pl.DataFrame, pl.DataFrame],
) -> None:
    frame, pairs = read
    sides = pairs.select("base", "reasoner").row(0)
    versions = pl.DataFrame({"series": "a", "model": sides, "step": [0.0, 1500.0]})
    found = drift(frame, versions.with_columns(date=pl.lit(None, pl.String)))
    rows = with_worse(found.changes, found.trend)
    shown = words(charts.drift(rows))
    for text in ("all scenarios", "step 0", "step 1500", "reasoning", "answer"):
        assert f'"{text}"' in shown
    whole = words(charts.drift(rows.filter(pl.col("part") == "full")))
    assert '"whole reply"' in whole
    with pytest.raises(ReportError, match="nothing to draw"):
        charts.drift(rows.clear())
    with pytest.raises(ReportError, match="nothing to draw"):
        charts.drift(rows.with_columns(asr=pl.lit(None, pl.Float64)))
