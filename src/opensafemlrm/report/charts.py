"""A chart for each result: frames of :mod:`opensafemlrm.analysis` in, Altair objects out.

Where a frame holds several parts, the whole reply is drawn; of several judges the one with the most
rows; of two thresholds the lenient one, unless the chart has room for both. Rows are under the
names of their settings (``setting``) and models (``label``); frames that have these columns keep
them.
"""

from __future__ import annotations

from typing import Final

import altair as alt
import polars as pl

from opensafemlrm.analysis.clustered_counts import texts
from opensafemlrm.errors import ReportError
from opensafemlrm.report.figures import bars, flow, forest, heatmap, pairs, pareto, slopes
from opensafemlrm.report.figures.drawing import SIZES, Size
from opensafemlrm.report.figures.theme import RAMP, STEPS
from opensafemlrm.report.settings import in_settings, marked, settings_of
from opensafemlrm.types import Part

WIDE: Final = SIZES[0]
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
    "judge truncated": "harm-4",
    "unparsed": "harm-6",
    "not applicable": "grid",
    "not judged": "base",
    "not recorded": "missing",
}
"""Why a reply has no score, and the colour of each."""
_UNDEFENDED: Final = ("dataset", "attack", "judge", "sampling")
"""Columns of a setting whose defenses are drawn together."""


def pair_rates(rows: pl.DataFrame, size: Size = WIDE) -> alt.LayerChart:
    """Draw the rates of reasoning models and their bases (rows of ``tax``)."""
    rows = _labelled(_headline(rows.filter(level="micro"))).head(MAX_ROWS)
    rates = {"base": "asr_base", "reasoner": "asr_model"}
    marks = rows.select(
        "label",
        heading="setting",
        **rates,
        **{f"{name}_bounds": _bounds(rate, *_ends(rate)) for name, rate in rates.items()},
    )
    return pairs.pairs(marks, size, "unsafe replies of those scored")


def asr(rows: pl.DataFrame, size: Size = WIDE) -> alt.LayerChart:
    """Draw attack success rates with their intervals."""
    rows = _labelled(_headline(rows)).head(MAX_ROWS)
    title = "unsafe replies of those scored, %"
    marks = _estimates(rows, "asr", pl.lit(value=False), _ends("asr"))
    return forest.forest(marks, size, title, plain=True)


def tax(rows: pl.DataFrame, size: Size = WIDE) -> alt.LayerChart:
    """Draw the reasoning tax with its intervals, at both thresholds of the judge."""
    rows = _labelled(_headline(rows.filter(level="micro"), thresholds=2))
    strict = pl.col("threshold") > rows["threshold"].min()
    rows = rows.sort("threshold", maintain_order=True)
    by_threshold = rows.group_by("threshold", maintain_order=True)
    bounds = ("bound_low", "bound_high")
    marks = _estimates(by_threshold.head(MAX_ROWS), "difference", strict, bounds)
    return forest.forest(marks, size, "points above the base (percentage points)")


def scenarios(rows: pl.DataFrame, size: Size = WIDE) -> alt.LayerChart:
    """Draw the rates of every scenario and model in one setting (rows of ``asr`` by scenario).

    Models stand in the order of the rows; a column ``role`` gives the colours of their names.
    """
    rows = _labelled(_headline(rows, settings=1))
    if "role" not in rows.columns:
        rows = rows.with_columns(role=pl.lit("ink"))
    models = rows.select("label", "role").unique(maintain_order=True)
    names = rows.select(pl.col("scenario").unique().sort())
    grid = names.join(models, how="cross").join(
        rows.select("scenario", "label", "asr", "scored", bounds=_bounds("asr", *_ends("asr"))),
        on=["scenario", "label"],
        how="left",
        maintain_order="left",
    )
    scored = pl.col("scored").fill_null(0)
    cells = grid.select("bounds", "role", row="scenario", column="label", rate="asr", scored=scored)
    return heatmap.heatmap(cells, size)


def blindspots(rows: pl.DataFrame, size: Size = WIDE) -> alt.LayerChart:
    """Draw each scenario from the base to the reasoning model, in one setting, a panel a pair."""
    rows = _labelled(_headline(rows, settings=1).drop_nulls("difference"))
    marks = rows.select(
        "scenario",
        panel="model_label",
        under=pl.format("from {}", "base_label"),
        base="asr_base",
        reasoner="asr_model",
    )
    return slopes.slopes(marks, size)


def correction(rows: pl.DataFrame, size: Size = WIDE) -> alt.LayerChart:
    """Draw where safe and unsafe reasoning end, a panel a model and setting."""
    rows = _labelled(_headline(rows).filter(pl.col("both") > 0)).head(MAX_PANELS)
    counts = ("both_unsafe", "corrected", "reverse", "both_safe")
    bounds = _bounds("self_correction", "self_correction_bound_low", "self_correction_bound_high")
    return flow.flows(rows.select(*counts, panel="label", under="setting", bounds=bounds), size)


def scores(rows: pl.DataFrame, size: Size = WIDE) -> alt.LayerChart:
    """Draw how the scores of every part are spread, in one setting."""
    rows = _labelled(_first_setting(rows))
    counts = rows["counts"].explode().struct.field("name").drop_nulls()
    kinds = counts.unique(maintain_order=True)
    steps = [round(place * (STEPS - 1) / max(len(kinds) - 1, 1)) for place in range(len(kinds))]
    roles = {kind: RAMP[step] for kind, step in zip(kinds, steps, strict=True)}
    without = pl.struct(name=pl.lit("no score"), n="unscored")
    marks = rows.select(
        "label",
        heading=pl.lit(""),
        column=pl.col("part").replace(PARTS),
        counts=pl.concat_list("counts", without),
        whole="n",
    )
    return bars.bars(marks, {**roles, "no score": "missing"}, size)


def missing(rows: pl.DataFrame, size: Size = WIDE) -> alt.LayerChart:
    """Draw what share of each model's replies has no score, and why (rows of ``scores``)."""
    rows = _labelled(_headline(rows)).head(MAX_ROWS)
    reason = pl.struct(
        pl.element().struct.field("name").str.replace_all("_", " "), pl.element().struct.field("n")
    )
    marks = rows.select(
        "label",
        heading="setting",
        column=pl.lit(""),
        counts=pl.col("reasons").list.eval(reason),
        whole="n",
    )
    shares = (rows["unscored"] / rows["n"]).to_list()
    return bars.bars(marks, REASONS, size, most=max(shares, default=0) or 1)


def defense(rows: pl.DataFrame, size: Size = WIDE) -> alt.LayerChart:
    """Draw safety against over-refusal under every defense, a panel a model, for one attack.

    A column ``short`` gives the defenses' names.
    """
    rows = _headline(rows).drop_nulls("pareto")
    first = rows.select(_UNDEFENDED).head(1)
    rows = _labelled(rows.join(first, on=_UNDEFENDED, maintain_order="left"))
    if "short" not in rows.columns:
        rows = rows.with_columns(short="defense")
    marks = rows.select(
        *("overrefusal", "requests"),
        pl.coalesce("overrefusal_low", "overrefusal"),
        pl.coalesce("overrefusal_high", "overrefusal"),
        model="model_label",
        defense="short",
        safety=1 - pl.col("asr"),
        safety_low=1 - pl.coalesce("asr_high", "asr"),
        safety_high=1 - pl.coalesce("asr_low", "asr"),
        front="pareto",
        undefended=pl.col("defense") == "none",
    )
    return pareto.pareto(marks, size)


def _headline(rows: pl.DataFrame, *, thresholds: int = 1, settings: int = 0) -> pl.DataFrame:
    """Return the rows of one judge, one part and its lowest thresholds, which can be compared."""
    judge = rows["judge"].value_counts(sort=True)["judge"].head(1)
    rows = rows.filter(pl.col("judge").is_in(judge.implode()))
    if "part" in rows.columns and Part.FULL.value in rows["part"]:
        rows = rows.filter(part=Part.FULL.value)
    if "threshold" in rows.columns:
        lowest = rows["threshold"].unique().sort().head(thresholds)
        rows = rows.filter(pl.col("threshold").is_in(lowest.implode()))
    return _first_setting(rows) if settings else rows


def _first_setting(rows: pl.DataFrame) -> pl.DataFrame:
    return in_settings(rows, settings_of(rows).drop("setting").head(1))


def _labelled(rows: pl.DataFrame) -> pl.DataFrame:
    """Add what the chart calls settings and models, where it is not there yet.

    Raises ReportError where there is nothing to draw.
    """
    if rows.is_empty():
        raise ReportError("there is nothing to draw: no row has the figures of this chart")
    rows = texts(rows)
    if "setting" not in rows.columns:
        rows = in_settings(rows, settings_of(rows))
    simulated = pl.col("simulated")
    if "model_label" not in rows.columns:
        rows = rows.with_columns(model_label=marked("model", simulated))
    if "base" in rows.columns and "base_label" not in rows.columns:
        rows = rows.with_columns(base_label=marked("base", simulated))
    if "base" not in rows.columns:
        return rows.with_columns(label="model_label")
    several = pl.col("base").n_unique().over("model") > 1
    both = pl.format("{} − {}", "model_label", "base_label")
    return rows.with_columns(label=pl.when(several).then(both).otherwise("model_label"))


def _estimates(
    rows: pl.DataFrame, value: str, strict: pl.Expr, bounds: tuple[str, str]
) -> pl.DataFrame:
    """Return estimates, or the bounds in their place, in points of per cent."""
    points = {"value": value, "low": "low", "high": "high"}
    scaled = {name: pl.col(column) * 100 for name, column in points.items()}
    for name, column in zip(("bound_low", "bound_high"), bounds, strict=True):
        scaled[name] = pl.when(_is_withheld(value)).then(pl.col(column) * 100)
    return rows.select("label", heading="setting", strict=strict, **scaled)


def _is_withheld(rate: str) -> pl.Expr:
    return pl.col(rate).is_null() & pl.col("withheld").is_not_null()


def _ends(rate: str) -> tuple[str, str]:
    return f"{rate}_if_unscored_safe", f"{rate}_if_unscored_unsafe"


def _bounds(rate: str, low: str, high: str) -> pl.Expr:
    """Return what is written in place of a rate that is withheld; null where none is."""
    ends = [(100 * pl.col(end)).round(0).cast(pl.Int64) for end in (low, high)]
    return pl.when(_is_withheld(rate)).then(pl.format("{}–{}", *ends))
