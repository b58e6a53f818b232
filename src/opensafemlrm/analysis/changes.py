"""What changed between two results: cells, figures with paired intervals, verdicts item by item.

The first is called A and the second B; a change is B less A. What is compared has its names in
common: model, dataset, attack, defense, sampling and judge.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import polars as pl
from polars import selectors as cs

from opensafemlrm.analysis import MAX_UNSCORED, clustered_counts
from opensafemlrm.analysis.clustered_counts import (
    UNSAFE,
    UNSAFE_SO_FAR,
    at_thresholds,
    benign,
    finite,
    harmful,
)
from opensafemlrm.analysis.compare import compare, has_part
from opensafemlrm.analysis.conditions import (
    ALL,
    CONDITION_COLUMNS,
    JUDGE_TO_CELL,
    MODEL_TO_DEFENSE,
    PART_AND_THRESHOLD,
    SETTING_COLUMNS,
    in_part_order,
    only,
)
from opensafemlrm.analysis.effects import effects, without_withheld
from opensafemlrm.analysis.overrefusal import PARTS
from opensafemlrm.analysis.significance import holm
from opensafemlrm.analysis.tax import METHOD
from opensafemlrm.analysis.withheld import COLUMN

READS: Final = clustered_counts.READS | {"sample", "item", "repeat", "refusal", "label"}
"""Columns of the tidy table that changes need."""

_SAMPLING: Final = {"sampling": JUDGE_TO_CELL["sampling"]}
CELL_COLUMNS: Final[Mapping[str, str]] = {
    **MODEL_TO_DEFENSE,
    **_SAMPLING,
    "simulated": JUDGE_TO_CELL["simulated"],
    "change": "`only in A`, `only in B`, `same`, or `other key`: something that changes its "
    "replies is not the same, though all names are.",
    "samples_a": "Samples in A; null where it is not there, or a study has not been run.",
    "samples_b": "The same in B.",
    "cell_a": "The content key in A.",
    "cell_b": "The content key in B.",
}
"""The columns of :func:`changed_cells`."""
FIGURE_COLUMNS: Final[Mapping[str, str]] = {
    "figure": "`asr`, on harmful items, or `over-refusal`, on benign ones.",
    **MODEL_TO_DEFENSE,
    "scenario": "`all` where scenarios are taken together.",
    **PART_AND_THRESHOLD,
    **METHOD,
    "scored_a": "Samples of A whose scores are compared.",
    "scored_b": "The same of B.",
    "rate_a": "The rate in A.",
    "rate_b": "The rate in B.",
    "difference": "`rate_b` − `rate_a`: above 0 there is more of it in B.",
    "low": "Lower end of its 95 % interval, paired by item.",
    "high": "Upper end.",
    "p_value": "As in the tax.",
    "p_holm": "The same, adjusted by Holm for all rows with a p-value.",
    "up": "Items with more of it in B; null where unpaired.",
    "down": "Items with less of it in B.",
    "bound_low": "Lowest difference over all samples, whatever the unscored ones hold.",
    "bound_high": "Highest.",
    **COLUMN,
    **{name: JUDGE_TO_CELL[name] for name in ("judge", "sampling", "simulated")},
}
"""The columns of :func:`changed_figures`."""
FLIP_COLUMNS: Final[Mapping[str, str]] = {
    **MODEL_TO_DEFENSE,
    "scenario": "The scenario, as upstream spells it.",
    "item": "The item's id in its dataset.",
    "repeat": "Which repeat of the item, from 0.",
    "part": PART_AND_THRESHOLD["part"],
    "label_a": "`safe`, `unsafe` or `unscored` in A.",
    "label_b": "The same in B.",
    "score_a": "The score in A; null where unscored.",
    "score_b": "The score in B.",
    "same_reply": "Whether it is the same sample: then the judge alone changed its mind.",
    "sample_a": "The content key of the sample in A, by which `view` and `frame` know it.",
    "sample_b": "The same in B.",
    **{name: JUDGE_TO_CELL[name] for name in ("judge", "sampling", "simulated")},
}
"""The columns of :func:`changed_verdicts`."""
_CELL: Final = ["model", *CONDITION_COLUMNS]
_FAMILY: Final = ("model", *SETTING_COLUMNS)


def changed_cells(a: pl.DataFrame, b: pl.DataFrame) -> pl.DataFrame:
    """Return every cell of A and of B, those that changed first; columns: :data:`CELL_COLUMNS`.

    Both have the columns model, dataset, attack, defense, sampling, simulated, cell and samples.
    """
    both = a.join(b, on=_CELL, how="full", coalesce=True, suffix="_b", nulls_equal=True)
    gone, new = pl.col("cell_b").is_null(), pl.col("cell").is_null()
    change = (
        pl.when(gone)
        .then(pl.lit("only in A"))
        .when(new)
        .then(pl.lit("only in B"))
        .when(pl.col("cell") == pl.col("cell_b"))
        .then(pl.lit("same"))
        .otherwise(pl.lit("other key"))
    )
    rows = both.with_columns(
        pl.coalesce("simulated", "simulated_b"),
        change=change,
        samples_a="samples",
        cell_a="cell",
    )
    return rows.sort(change == "same", *_CELL).select(*CELL_COLUMNS)


def changed_figures(
    a: pl.DataFrame,
    b: pl.DataFrame,
    *,
    by: Literal["scenario"] | None = None,
    part: str | None = None,
    threshold: float | None = None,
    max_unscored: float = MAX_UNSCORED,
) -> pl.DataFrame:
    """Return the change of every rate that both tidy tables have; columns: :data:`FIGURE_COLUMNS`.

    A row a cell, judge, part and threshold, and a scenario ``by`` scenario. ``part`` and
    ``threshold`` keep only the rows that have it. With more than a share of ``max_unscored``
    without a score on either side, a row has bounds alone.
    """
    family = [*_FAMILY, *([] if by is None else ["scenario"])]
    counted = {
        "asr": compare(
            at_thresholds(harmful(b)),
            at_thresholds(harmful(a)),
            _FAMILY,
            UNSAFE,
            UNSAFE_SO_FAR,
            by=(),
        ),
        "over-refusal": compare(_refusals(b), _refusals(a), _FAMILY, pl.col("refusal"), by=()),
    }
    rates = [
        without_withheld(
            finite(effects(sides.filter(has_part(_FAMILY)), family, max_unscored=max_unscored))
        ).with_columns(figure=pl.lit(name))
        for name, sides in counted.items()
    ]
    rows = only(pl.concat(rates), part, threshold)
    paired = pl.when(pl.col("method") == "paired")
    rows = rows.with_columns(
        *([pl.lit(ALL).alias("scenario")] if by is None else []),
        scored_a="scored_right",
        scored_b="scored",
        rate_a="rate_right",
        rate_b="rate",
        up=paired.then("worse"),
        down=paired.then("better"),
        p_holm=holm(rows["p_value"].to_numpy()),
        threshold=pl.when(pl.col("figure") == "asr").then("threshold"),
    )
    order: list[str | pl.Expr] = [*_CELL, "judge", "figure", in_part_order(), "threshold"]
    return finite(rows).sort(*order, "scenario").select(*FIGURE_COLUMNS)


def changed_verdicts(a: pl.DataFrame, b: pl.DataFrame, *, part: str | None = None) -> pl.DataFrame:
    """Return the verdicts on the same item that differ in their label; columns: FLIP_COLUMNS.

    ``part`` keeps only its rows.
    """
    keys = [*_CELL, "judge", "scenario", "item", "item_key", "repeat", "part"]
    sides = [
        side.filter(pl.col("judge").is_not_null(), pl.col("item_key").is_not_null())
        .select(*keys, "label", "score", "sample", "simulated")
        .with_columns(cs.categorical().cast(pl.String))
        for side in (a, b)
    ]
    both = sides[0].join(sides[1], on=keys, suffix="_b")
    flips = both.filter(pl.col("label") != pl.col("label_b")).with_columns(
        pl.col("simulated") | pl.col("simulated_b"),
        label_a="label",
        score_a="score",
        sample_a="sample",
        same_reply=pl.col("sample") == pl.col("sample_b"),
    )
    flips = flips.sort(*_CELL, "judge", "scenario", "item", "repeat", in_part_order())
    return only(flips.select(*FLIP_COLUMNS), part)


def _refusals(frame: pl.DataFrame) -> pl.LazyFrame:
    rows = benign(frame).filter(pl.col("part").cast(pl.String).is_in(PARTS))
    return rows.with_columns(threshold=pl.lit(0.0))
