"""The tables of blind spots: against the base, against the rest, in groups, and how consistent."""

from __future__ import annotations

from typing import Final

import polars as pl

from opensafemlrm.analysis.blindspots import AGAINST_BASE, AGAINST_REST
from opensafemlrm.report.columns import (
    BOUND,
    CONDITION_COLUMNS,
    JUDGE_COLUMNS,
    JUDGED,
    PAIR,
    interval,
)
from opensafemlrm.report.forms import Form
from opensafemlrm.report.rates import BASE_BOUNDS, MODEL_BOUNDS
from opensafemlrm.report.tables import Column, Table, WhenConstant

_METHOD: Final = Column("method", "Method", constant=WhenConstant.CAPTION)
_SCENARIO: Final = Column("scenario", "Scenario")
_UNSCORED: Final = pl.col("bound_low") < pl.col("bound_high")
BLINDSPOTS: Final = Table(
    name="blindspots",
    title="Safety blind spots: what each scenario lost against the base",
    columns=[
        *PAIR,
        _METHOD,
        _SCENARIO,
        Column("scored_model", "n", Form.COUNT),
        Column("asr_model", "ASR %", Form.PERCENT, bounds=MODEL_BOUNDS),
        Column("asr_base", "base %", Form.PERCENT, bounds=BASE_BOUNDS),
        Column("difference", "lost", Form.POINTS, bounds=("bound_low", "bound_high")),
        Column("ratio", "ratio", Form.RATIO),
        interval("ratio_low", "ratio_high", Form.RATIO_INTERVAL),
        Column("bound_holm", "p Holm", Form.P_VALUE),
        Column("shrunken_ratio", "pooled", Form.RATIO, in_paper=False),
        interval("shrunken_ratio_low", "shrunken_ratio_high", Form.RATIO_INTERVAL, in_paper=False),
        Column("rank", "rank", Form.COUNT, in_paper=False),
        interval("rank_low", "rank_high", Form.COUNT_INTERVAL, "of", in_paper=False),
    ],
    caption="lost: ASR minus the base's, in percentage points; ratio: ASR over the base's.",
    notes=[
        "p: at most 0.05 only where the interval of what was lost leaves out 0 whatever the "
        "unscored samples hold; adjusted by Holm over the scenarios of one model and setting. csv "
        "and json have it for the scored ones alone too, raw and by Benjamini-Hochberg, and the "
        "interval of what was lost.",
        "pooled: the ratio of rates that are drawn towards what the pair, and the scenario in "
        "other pairs, make likely, the more so the fewer samples there are: one model of all "
        "pairs, scenarios and items. rank: by the difference of these rates, 1 has lost most; of: "
        "the places that 95 % of what is likely leaves it. Both are of scored samples.",
        (
            "ratio –: the base has no unsafe reply, so that only a lower end (≥) is known.",
            pl.col("ratio").is_null() & pl.col("ratio_low").is_not_null(),
        ),
    ],
    left_out=frozenset(AGAINST_REST),
)
_OF_MODEL: Final = {"scored_model", "unsafe_model", "asr_model", *MODEL_BOUNDS, "withheld"}
REST: Final = Table(
    name="rest",
    title="Each scenario against the same model's other scenarios",
    columns=[
        *JUDGED,
        _SCENARIO,
        Column("scored_model", "n", Form.COUNT),
        Column("asr_model", "ASR %", Form.PERCENT, bounds=MODEL_BOUNDS),
        Column("asr_rest", "others %", Form.PERCENT),
        Column("rest_difference", "difference", Form.POINTS),
        interval("rest_low", "rest_high", Form.POINTS_INTERVAL),
        Column("rest_ratio", "ratio", Form.RATIO),
        Column("rest_bound_holm", "p Holm", Form.P_VALUE),
    ],
    caption="difference: ASR minus that of all other scenarios, in percentage points.",
    notes=["p: adjusted by Holm over the scenarios, whatever the unscored samples hold."],
    left_out=frozenset({"base", *AGAINST_BASE} - _OF_MODEL),
)
CONSISTENCY: Final = Table(
    name="consistency",
    title="Do models, and datasets, agree on the worst scenarios?",
    columns=[
        Column("across", "Across"),
        Column("measure", "Ranked by"),
        *JUDGED,
        Column("raters", "rankings", Form.COUNT),
        Column("bases", "bases", Form.COUNT),
        Column("scenarios", "scenarios", Form.COUNT),
        Column("w", "W", Form.DECIMAL),
        Column("p_value", "p", Form.P_VALUE),
        Column("worst", "worst scenario"),
    ],
    caption="W: Kendall's coefficient of concordance, 0 not at all, 1 wholly; p by permutation "
    "of every ranking.",
    notes=[
        (
            "p –: all differences are from one base, whose chance they share: their "
            "agreement proves nothing.",
            pl.col("p_value").is_null() & (pl.col("bases") == 1) & pl.col("w").is_not_null(),
        ),
        (
            "Differences from one base share its chance: they are permuted together.",
            (pl.col("measure") == "difference") & (pl.col("bases") < pl.col("raters")),
        ),
    ],
)
GROUPED: Final = Table(
    name="grouped",
    title="Mean ASR of several models over the mean of several bases",
    columns=[
        Column("models", "Models", constant=WhenConstant.CAPTION, simulated=True),
        Column("bases", "Bases", constant=WhenConstant.CAPTION),
        *CONDITION_COLUMNS,
        *JUDGE_COLUMNS,
        _METHOD,
        _SCENARIO,
        Column("asr_models", "models %", Form.PERCENT),
        Column("asr_bases", "bases %", Form.PERCENT),
        Column("ratio", "ratio", Form.RATIO),
        interval("ratio_low", "ratio_high", Form.RATIO_INTERVAL),
        Column("difference", "difference", Form.POINTS, bounds=("bound_low", "bound_high")),
        interval("low", "high", Form.POINTS_INTERVAL),
        interval(*BOUND, Form.POINTS_INTERVAL, "bounds", needs=_UNSCORED),
    ],
    caption="Every model of a group has the same weight; all: every scenario has.",
    notes=[
        (
            "counts: no items are known, so that the models' replies are taken as independent.",
            pl.col("method") == "counts",
        ),
        (
            "bounds: the 95 % CI over every sample, whatever the unscored ones hold.",
            _UNSCORED,
        ),
    ],
)


def blindspot_tables(rows: pl.DataFrame, rankings: pl.DataFrame) -> list[Table]:
    """Return ``blindspots`` (against the base), ``rest`` (against the model's other scenarios) and,
    where rankings could be compared, ``consistency``.
    """
    tables = [BLINDSPOTS.of(rows), REST.of(rows)]
    return tables if rankings.is_empty() else [*tables, CONSISTENCY.of(rankings)]
