"""What a page draws: each chart with its words, its data as a table, and a name for its files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import altair as alt
import polars as pl

from opensafemlrm.report.asr import asr_table
from opensafemlrm.report.blindspots import BLINDSPOTS
from opensafemlrm.report.figures import bars, flow, forest, heatmap, pairs, slopes
from opensafemlrm.report.figures.drawing import Size
from opensafemlrm.report.figures.forest import signed
from opensafemlrm.report.figures.theme import RAMP, STEPS
from opensafemlrm.report.page import key_results as answers
from opensafemlrm.report.page.findings import Findings, frame_of
from opensafemlrm.report.page.settings import Setting
from opensafemlrm.report.scores import SCORES
from opensafemlrm.report.tables import Table
from opensafemlrm.types import ResponseStatus

MAX_ROWS: Final = 40
MAX_PANELS: Final = 18
"""Rows and panels of a chart; more are in the tables alone."""
PARTS: Final = {"reasoning": "reasoning", "answer": "answer", "full": "whole reply"}
REASONS: Final = {
    "failed": "harm-5",
    "blocked": "blocked",
    "truncated": "harm-3",
    "no text": "harm-1",
    "judge failed": "harm-8",
    "judge refused": "harm-7",
    "unparsed": "harm-6",
    "not applicable": "grid",
    "not judged": "base",
    "not recorded": "missing",
}
"""Why a reply has no score, and the colour of each."""
_METHODS: Final = {
    "paired": "Paired by item: only items with a score from both models count.",
    "unpaired": "Unpaired: only counts of scores are known, or no item in common.",
}


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart: ``name`` is that of its files, ``reading`` one line that says what it shows."""

    name: str
    title: str
    reading: str
    draw: Callable[[Size], alt.LayerChart]
    table: Table | None = None
    note: str = ""


def overview(found: Findings) -> list[Picture]:
    """Picture every pair's two rates; without pairs, every model's rate with its interval."""
    if answers.compared(found):
        return [_pairs(found)]
    return [_rates(found)] if found.settings.drawn else []


def taxes(found: Findings, table: Table) -> Picture | None:
    """Picture the tax with its intervals, at both thresholds of the judge."""
    measured = answers.compared(found)
    if not measured:
        return None
    two = found.strict > found.lenient
    lenient = _by_setting(found, answers.beside(found, found.lenient))
    strict = _by_setting(found, answers.beside(found, found.strict)) if two else []
    rows = [
        (
            found.settings.name(row),
            _pair_name(found, row.model, row.base),
            *_points(row.difference, row.low, row.high),
            two and row.threshold == found.strict,
        )
        for row in [*lenient[:MAX_ROWS], *strict[:MAX_ROWS]]
    ]
    top = max(measured, key=lambda row: row.difference or 0)
    key = f"Dot: score ≥ {found.lenient:g} (lenient); ring: ≥ {found.strict:g} (strict)."
    methods = [_METHODS[name] for name in _METHODS if any(row.method == name for row in measured)]
    return Picture(
        name="tax",
        title="Reasoning tax with 95 % intervals",
        reading=f"Largest: {found.shown(top.model)} over {found.shown(top.base)}, "
        f"{signed(100 * (top.difference or 0))} points ({found.settings.name(top)}).",
        draw=partial(
            forest.forest,
            _frame(rows, forest.COLUMNS),
            title="points above the base (percentage points)",
        ),
        table=table,
        note=" ".join([key, *methods, _cut(lenient)] if two else [*methods, _cut(lenient)]),
    )


def heatmaps(found: Findings) -> list[Picture]:
    """Picture the rates of every scenario and model, one picture a setting."""
    rates = [
        row
        for row in found.by_scenario
        if row.part == found.part and row.threshold == found.lenient and row in found.settings
    ]
    pictures = []
    for number, setting in enumerate(found.settings.drawn, start=1):
        mine = [row for row in rates if Setting.of(row) == setting]
        if not mine:
            continue
        by_place = {(row.scenario, row.model): row for row in mine}
        models = [model for model in found.models if any(row.model == model for row in mine)]
        cells = [
            (
                scenario,
                found.shown(model),
                row.asr if (row := by_place.get((scenario, model))) else None,
                row.scored if row else 0,
                _role(found, model),
            )
            for scenario in sorted({row.scenario for row in mine})
            for model in models
        ]
        name = found.settings.names[setting]
        measured = [row for row in mine if row.asr is not None]
        top = max(measured, key=lambda row: row.asr or 0, default=None)
        pictures.append(
            Picture(
                name=f"scenarios-{number}",
                title=f"Unsafe replies by scenario and model, in per cent: {name}",
                reading="Nothing was scored."
                if top is None
                else f"Highest: {found.shown(top.model)} in {top.scenario}, "
                f"{100 * (top.asr or 0):.1f} % of {top.scored:,}.",
                draw=partial(heatmap.heatmap, _frame(cells, heatmap.COLUMNS)),
                table=asr_table(frame_of(mine)),
                note="Small: replies scored.",
            )
        )
    return pictures


def slope_pictures(found: Findings) -> list[Picture]:
    """Picture how each scenario's rate moves from the base to the reasoning model."""
    pictures = []
    for number, setting in enumerate(found.settings.drawn, start=1):
        mine = [row for row in answers.spots(found) if Setting.of(row) == setting]
        if not mine:
            continue
        rows = [
            (
                found.shown(row.model),
                f"from {found.shown(row.base)}",
                row.scenario,
                row.asr_base or 0.0,
                row.asr_model or 0.0,
            )
            for row in sorted(mine, key=lambda row: (found.models.index(row.model), row.scenario))
        ]
        rose = sum((row.difference or 0) > 0 for row in mine)
        top = max(mine, key=lambda row: row.difference or 0)
        pictures.append(
            Picture(
                name=f"slopes-{number}",
                title=f"From base to reasoning model, scenario by scenario: "
                f"{found.settings.names[setting]}",
                reading=f"{rose} of {len(mine)} scenarios rise; the most {top.scenario} of "
                f"{found.shown(top.model)}, {signed(100 * (top.difference or 0))} points.",
                draw=partial(slopes.slopes, _frame(rows, slopes.COLUMNS)),
                table=BLINDSPOTS.of(frame_of(mine)),
                note="In per cent of scored replies; the three steepest rises of a pair are named.",
            )
        )
    return pictures


def score_pictures(found: Findings) -> list[Picture]:
    """Picture how the scores of every part are spread, one picture a setting."""
    pictures = []
    for number, setting in enumerate(found.settings.drawn, start=1):
        mine = setting.rows(found.scores)
        if mine.is_empty():
            continue
        kinds = (
            mine["counts"].explode().struct.field("name").drop_nulls().unique(maintain_order=True)
        )
        roles = {kind: RAMP[_spread(place, len(kinds))] for place, kind in enumerate(kinds)}
        roles["no score"] = "missing"
        rows = [
            (
                "",
                found.shown(row["model"]),
                PARTS[row["part"]],
                [*row["counts"], {"name": "no score", "n": row["unscored"]}],
                row["n"],
            )
            for row in sorted(
                mine.iter_rows(named=True), key=lambda row: found.models.index(row["model"])
            )
        ]
        without = mine.filter(pl.col("n") == pl.col("unscored"))["part"].unique()
        never = sorted(PARTS[part] for part in without)
        pictures.append(
            Picture(
                name=f"scores-{number}",
                title=f"How replies were scored, part by part: {found.settings.names[setting]}",
                reading=(
                    f"Some models have no score for: {', '.join(never)}."
                    if never
                    else "Every model has scores for every part."
                ),
                draw=partial(bars.bars, _frame(rows, bars.COLUMNS), roles),
                table=SCORES.of(mine),
                note=f"Judge: {setting.judge}.",
            )
        )
    return pictures


def flow_picture(found: Findings, table: Table) -> Picture | None:
    """Picture where safe and unsafe reasoning end."""
    mine = answers.corrections(found)
    if not mine:
        return None
    rows = [
        (
            found.shown(row.model),
            found.settings.name(row),
            row.both_unsafe,
            row.corrected,
            row.reverse,
            row.both_safe,
        )
        for row in mine
    ]
    most = max(mine, key=lambda row: row.self_correction or 0)
    return Picture(
        name="correction",
        title="From reasoning to answer",
        reading=f"Most self-correction: {found.shown(most.model)} ({found.settings.name(most)}), "
        f"{100 * (most.self_correction or 0):.1f} % of {most.corrected + most.both_unsafe:,} "
        "replies with unsafe reasoning.",
        draw=partial(flow.flows, _frame(rows[:MAX_PANELS], flow.COLUMNS)),
        table=table,
        note="Only replies with a score for both parts. A ribbon has the colour of its reasoning. "
        + _cut(rows, MAX_PANELS),
    )


def missing_picture(found: Findings) -> Picture | None:
    """Picture what share of each model's replies has no score, and why."""
    models = found.models
    scores = found.scores.filter(part=found.part)
    mine = pl.concat(
        [
            scores.clear(),
            *(
                setting.rows(scores).sort(
                    pl.col("model").replace_strict(models, range(len(models)))
                )
                for setting in found.settings.drawn
            ),
        ]
    )
    rows = [
        (
            found.settings.names[
                Setting(
                    *(row[name] for name in ("dataset", "attack", "defense", "judge", "sampling"))
                )
            ],
            found.shown(row["model"]),
            "",
            [{"name": one["name"].replace("_", " "), "n": one["n"]} for one in row["reasons"]],
            row["n"],
        )
        for row in mine.iter_rows(named=True)
    ]
    shares = (mine["unscored"] / mine["n"]).to_list()
    most = max(shares, default=0)
    if not most:
        return None
    heading, label, _, _, whole = rows[shares.index(most)]
    return Picture(
        name="missing",
        title="Replies without a score, and why",
        reading=f"Most: {label} ({heading}), {100 * most:.1f} % of {whole:,}.",
        draw=partial(bars.bars, _frame(rows[:MAX_ROWS], bars.COLUMNS), REASONS, most=most),
        table=SCORES.of(mine),
        note="The scale ends at the greatest share. " + _cut(rows),
    )


def _points(
    value: float | None, low: float | None, high: float | None
) -> tuple[float | None, float | None, float | None]:
    """Turn fractions into points of per cent."""
    scaled = [None if x is None else 100 * x for x in (value, low, high)]
    return scaled[0], scaled[1], scaled[2]


def endings(found: Findings) -> str:
    """Say how the replies of all cells ended."""
    ends = {name: found.replies[name].sum() for name in ("n", "not_recorded", *ResponseStatus)}
    if ends["not_recorded"] == ends["n"]:
        return "The imported results do not say how replies ended."
    return (
        f"{ends['ok']:,} of {ends['n']:,} replies came whole; {ends['truncated']:,} were cut at "
        f"the token limit, {ends['blocked']:,} blocked by a provider, {ends['failed']:,} failed"
        + (f"; of {ends['not_recorded']:,} it is not recorded." if ends["not_recorded"] else ".")
    )


def _frame(rows: Sequence[tuple[Any, ...]], columns: pl.Schema) -> pl.DataFrame:
    return pl.DataFrame(rows, columns, orient="row")


def _pairs(found: Findings) -> Picture:
    rows = answers.compared(found)
    drawn = [
        (
            found.settings.name(row),
            _pair_name(found, row.model, row.base),
            row.asr_base,
            row.asr_model,
        )
        for row in _by_setting(found, answers.beside(found, found.lenient))
    ]
    lower = sum((row.difference or 0) > 0 for row in rows)
    return Picture(
        name="pairs",
        title=f"Unsafe replies: each reasoning model beside its base{_threshold(found)}",
        reading=f"The base is unsafe less often in {lower} of {len(rows)} comparisons, "
        f"the reasoning model in {sum((row.difference or 0) < 0 for row in rows)}.",
        draw=partial(
            pairs.pairs,
            _frame(drawn[:MAX_ROWS], pairs.COLUMNS),
            title="unsafe replies of those scored",
        ),
        note=_cut(drawn),
        table=asr_table(frame_of([row for row in found.asr if _is_headline(found, row)])),
    )


def _rates(found: Findings) -> Picture:
    rows = [row for row in found.asr if _is_headline(found, row) and row.threshold == found.lenient]
    drawn = [
        (
            found.settings.name(row),
            found.shown(row.model),
            *_points(row.asr, row.low, row.high),
            False,
        )
        for row in rows
    ]
    measured = [row for row in rows if row.asr is not None]
    top = max(measured, key=lambda row: row.asr or 0, default=None)
    return Picture(
        name="rates",
        title=f"Unsafe replies of every model{_threshold(found)}",
        reading="Nothing was scored."
        if top is None
        else f"Highest: {found.shown(top.model)}, {100 * (top.asr or 0):.1f} % "
        f"({found.settings.name(top)}).",
        draw=partial(
            forest.forest,
            _frame(drawn[:MAX_ROWS], forest.COLUMNS),
            title="unsafe replies of those scored, %",
            plain=True,
        ),
        note=_cut(drawn),
        table=asr_table(frame_of([row for row in found.asr if _is_headline(found, row)])),
    )


def _is_headline(found: Findings, row: Any) -> bool:
    return row.part == found.part and row in found.settings


def _threshold(found: Findings) -> str:
    part = "" if found.part == "full" else f", {PARTS[found.part]}"
    return f"{part} (score ≥ {found.lenient:g})"


def _pair_name(found: Findings, model: str, base: str) -> str:
    shared = [of for name, of in found.pairs if name == model]
    name = found.shown(model)
    return name if len(shared) == 1 else f"{name} − {found.shown(base)}"


def _by_setting(found: Findings, rows: list[Any]) -> list[Any]:
    order = {setting: place for place, setting in enumerate(found.settings.drawn)}
    models = found.models
    return sorted(rows, key=lambda row: (order[Setting.of(row)], models.index(row.model)))


def _role(found: Findings, model: str) -> str:
    """Return the colour of a model's name: of a base, of a reasoning model, or of neither."""
    if model in found.reasoners:
        return "reasoner"
    return "base" if model in found.bases else "ink"


def _cut(rows: Sequence[object], most: int = MAX_ROWS) -> str:
    """Say so where a chart does not have all of its rows."""
    if len(rows) <= most:
        return ""
    return f"The first {most} of {len(rows):,}; the tables have all."


def _spread(place: int, of: int) -> int:
    """Spread the kinds of a bar over the whole ramp."""
    return round(place * (STEPS - 1) / max(of - 1, 1))
