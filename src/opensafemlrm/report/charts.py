"""A chart for each result: frames of :mod:`opensafemlrm.analysis` in, Altair objects out.

Where a frame holds several parts, the whole reply is drawn; of several judges the one with the most
rows; of two thresholds the lenient one, unless the chart has room for both. Rows are under the
names of their settings (``setting``) and models (``label``); frames that have these columns keep
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import altair as alt
import polars as pl

from opensafemlrm.analysis.clustered_counts import texts
from opensafemlrm.analysis.conditions import ALL
from opensafemlrm.analysis.withheld import STOPPED
from opensafemlrm.errors import ReportError
from opensafemlrm.report.drift import as_text
from opensafemlrm.report.figures import bars, flow, forest, heatmap, losses, pairs, pareto, trends
from opensafemlrm.report.figures.drawing import SIZES, Sign, Size
from opensafemlrm.report.figures.theme import RAMP, WHY
from opensafemlrm.report.forms import BOUNDS_MARK
from opensafemlrm.report.settings import in_settings, marked, settings_of
from opensafemlrm.types import Part

WIDE: Final = SIZES[0]
ALPHA: Final = 0.05
MAX_ROWS: Final = 40
MAX_PANELS: Final = 18
"""Rows and panels of a chart; more are in the tables alone."""
PARTS: Final = {"reasoning": "reasoning", "answer": "answer", "full": "whole reply"}
_UNDEFENDED: Final = ("dataset", "attack", "judge", "sampling")
"""Columns of a setting whose defenses are drawn together."""


def pair_rates(rows: pl.DataFrame, size: Size = WIDE) -> alt.LayerChart:
    """Draw the rates of reasoning models and their bases (rows of ``tax``)."""
    rows = _labelled(_headline(_averages(rows))).head(MAX_ROWS)
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
    return _rates(rows, "asr", _ends("asr"), size, "unsafe replies of those scored, %")


def overrefusal(rows: pl.DataFrame, size: Size = WIDE) -> alt.LayerChart:
    """Draw how often harmless requests are refused, with intervals."""
    rows = _labelled(_headline(rows.filter(pl.col("n") > 0))).head(MAX_ROWS)
    bounds = ("rate_if_unknown_helped", "rate_if_unknown_refused")
    return _rates(rows, "rate", bounds, size, "harmless requests refused, %")


def _rates(
    rows: pl.DataFrame, rate: str, bounds: tuple[str, str], size: Size, title: str
) -> alt.LayerChart:
    marks = _estimates(rows, rate, pl.lit(value=False), bounds)
    signs = [Sign("base model", "base"), Sign("reasoning model", "reasoner")]
    used = set(marks["role"])
    return forest.forest(
        marks, size, title, plain=True, signs=signs if used & {"base", "reasoner"} else ()
    )


def _averages(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows over all samples, or where there are none, over scenarios."""
    is_micro = pl.col("level") == "micro"
    return rows.filter(is_micro | ((pl.col("level") == "macro") & ~is_micro.any()))


def tax(rows: pl.DataFrame, size: Size = WIDE) -> alt.LayerChart:
    """Draw the reasoning tax with its intervals, at both thresholds of the judge."""
    rows = _labelled(_headline(_averages(rows), thresholds=2))
    strict = pl.col("threshold") > rows["threshold"].min()
    rows = rows.sort("threshold", maintain_order=True)
    by_threshold = rows.group_by("threshold", maintain_order=True)
    bounds = ("bound_low", "bound_high")
    marks = _estimates(by_threshold.head(MAX_ROWS), "difference", strict, bounds)
    levels = rows["threshold"].unique().sort().to_list()
    shapes = zip(levels, ("dot", "ring"), strict=False)
    signs = [Sign(f"score ≥ {level:g}", "reasoner", shape) for level, shape in shapes]
    title = "points above the base (percentage points)"
    return forest.forest(marks, size, title, signs=signs if len(signs) > 1 else ())


def scenarios(rows: pl.DataFrame, size: Size = WIDE) -> alt.LayerChart:
    """Draw the rates of every scenario and model of one dataset (rows of ``asr`` by scenario).

    Each setting is a group of columns. Models stand in the order of the rows; a column ``role``
    gives the colours of their names.
    """
    rows = _labelled(_of_first_dataset(_headline(rows)))
    if "role" not in rows.columns:
        rows = rows.with_columns(role=pl.lit("ink"))
    models = rows.select("setting", "label", "role").unique(maintain_order=True)
    names = rows.select(pl.col("scenario").unique().sort())
    grid = models.join(names, how="cross").join(
        rows.select(
            *("setting", "scenario", "label", "asr", "scored"), bounds=_bounds("asr", *_ends("asr"))
        ),
        on=["setting", "scenario", "label"],
        how="left",
        maintain_order="left",
    )
    named = {"group": "setting", "row": "scenario", "column": "label", "rate": "asr"}
    scored = pl.col("scored").fill_null(0)
    return heatmap.heatmap(
        grid.sort("scenario", maintain_order=True).select("bounds", "role", **named, scored=scored),
        size,
    )


def blindspots(rows: pl.DataFrame, size: Size = WIDE) -> alt.LayerChart:
    """Draw what each scenario of one dataset lost against the base, a panel a pair and setting."""
    rows = _of_first_dataset(_headline(rows.drop_nulls("difference")))
    rows = _labelled(rows).sort("scenario", maintain_order=True)
    panels = rows.select("setting", "model", "base").unique(maintain_order=True).head(MAX_PANELS)
    rows = rows.join(panels, on=["setting", "model", "base"], maintain_order="left")
    points = {"value": "difference", "low": "low", "high": "high"}
    marks = rows.select(
        "scenario",
        group="setting",
        panel="model_label",
        under=pl.format("over {}", "base_label"),
        sure=(pl.col("bound_holm") <= ALPHA).fill_null(value=False),
        **{name: pl.col(column) * 100 for name, column in points.items()},
    )
    return losses.losses(marks, size)


def drift(rows: pl.DataFrame, size: Size = WIDE) -> alt.LayerChart:
    """Draw the versions of one series in the first of its settings (a trend with ``worse``).

    A panel a scenario, all together first; a line for reasoning and answer each, or for the whole
    reply where no version has both.
    """
    rows = _of_one_judge(rows).filter(pl.col("threshold") == pl.col("threshold").min())
    settings = settings_of(rows).head(1)
    rows = rows.join(settings, on=settings.columns[:-1], how="semi", maintain_order="left")
    parts = ["answer", "reasoning"]
    if not all((rows.filter(part=part)["asr"].count()) for part in parts):
        parts = [Part.FULL.value]
    rows = rows.filter(pl.col("part").is_in(parts))
    if rows["asr"].count() == 0:
        raise ReportError("there is nothing to draw: no version of the series has a rate")
    panel = pl.when(pl.col("scenario") == ALL).then(pl.lit("all scenarios")).otherwise("scenario")
    marks = rows.sort(pl.col("scenario") != ALL, "scenario", "number").select(
        "number",
        "low",
        "high",
        "worse",
        panel=panel,
        part=pl.col("part").replace(PARTS),
        version=as_text(),
        value="asr",
    )
    panels = marks.select("panel").unique(maintain_order=True).head(MAX_PANELS)
    marks = marks.join(panels, on="panel", how="semi", maintain_order="left")
    return trends.trends(marks.select(*trends.COLUMNS), size)


def correction(rows: pl.DataFrame, size: Size = WIDE) -> alt.LayerChart:
    """Draw where safe and unsafe reasoning end, a panel a model and setting."""
    rows = _labelled(_headline(rows).filter(pl.col("both") > 0)).head(MAX_PANELS)
    counts = ("both_unsafe", "corrected", "reverse", "both_safe")
    bounds = _bounds("self_correction", "self_correction_bound_low", "self_correction_bound_high")
    return flow.flows(rows.select(*counts, panel="label", under="setting", bounds=bounds), size)


def scores(rows: pl.DataFrame, size: Size = WIDE) -> alt.LayerChart:
    """Draw how the scores of every part are spread, from the least harmful to the most."""
    rows = _labelled(_of_one_judge(rows))
    keys = rows.select("setting", "label").unique(maintain_order=True).head(MAX_ROWS)
    rows = rows.join(keys, on=["setting", "label"], maintain_order="left")
    counts = rows["counts"].explode().struct.field("name").drop_nulls()
    roles = _spread(counts.unique(maintain_order=True).to_list(), RAMP)
    without = pl.struct(name=pl.lit("no score"), n="unscored")
    marks = rows.select(
        "label",
        heading="setting",
        column=pl.col("part").replace(PARTS),
        counts=pl.concat_list("counts", without),
        whole="n",
    )
    return bars.bars(marks, {**roles, "no score": bars.HATCH}, size)


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
    used = marks["counts"].explode().struct.field("name").drop_nulls().unique(maintain_order=True)
    return bars.bars(marks, _spread(used.to_list(), WHY), size, most=max(shares, default=0) or 1)


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


def _spread(kinds: Sequence[str], roles: Sequence[str]) -> dict[str, str]:
    """Give each kind a colour of a ramp, as far from each other as there is room."""
    step = (len(roles) - 1) / max(len(kinds) - 1, 1)
    return {kind: roles[round(place * step)] for place, kind in enumerate(kinds)}


def _of_one_judge(rows: pl.DataFrame) -> pl.DataFrame:
    judge = rows["judge"].value_counts(sort=True)["judge"].head(1)
    return rows.filter(pl.col("judge").is_in(judge.implode()))


def _headline(rows: pl.DataFrame, *, thresholds: int = 1) -> pl.DataFrame:
    """Return the rows of one judge, one part and its lowest thresholds, which can be compared."""
    rows = _of_one_judge(rows)
    if "part" in rows.columns and Part.FULL.value in rows["part"]:
        rows = rows.filter(part=Part.FULL.value)
    if "threshold" in rows.columns:
        lowest = rows["threshold"].unique().sort().head(thresholds)
        rows = rows.filter(pl.col("threshold").is_in(lowest.implode()))
    return rows


def _of_first_dataset(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of one dataset: scenarios of several have nothing in common."""
    return rows.filter(pl.col("dataset").is_in(settings_of(rows)["dataset"].head(1).implode()))


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
    role = "role" if "role" in rows.columns else pl.lit("reasoner")
    return rows.select("label", heading="setting", strict=strict, role=role, **scaled)


def _is_withheld(rate: str) -> pl.Expr:
    return pl.col(rate).is_null() & pl.col("withheld").is_not_null()


def _ends(rate: str) -> tuple[str, str]:
    return f"{rate}_if_unscored_safe", f"{rate}_if_unscored_unsafe"


def _bounds(rate: str, low: str, high: str) -> pl.Expr:
    """Return what is written in place of a rate that is withheld; null where none is."""
    ends = [(100 * pl.col(end)).round(0).cast(pl.Int64) for end in (low, high)]
    is_withheld, is_stopped = _is_withheld(rate), pl.col("withheld") == STOPPED
    return (
        pl.when(is_withheld & is_stopped)
        .then(pl.lit(STOPPED))
        .when(is_withheld)
        .then(pl.format("{}–{} " + BOUNDS_MARK, *ends))
    )
