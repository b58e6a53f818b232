"""The tables of drift."""

from __future__ import annotations

from typing import Final

import polars as pl

from opensafemlrm.analysis.conditions import SETTING_COLUMNS
from opensafemlrm.analysis.drift import INCOMPLETE, together
from opensafemlrm.report.columns import CONDITION_COLUMNS, JUDGE, interval
from opensafemlrm.report.forms import Form
from opensafemlrm.report.settings import marked
from opensafemlrm.report.tables import Column, Table, WhenConstant

_HEAD: Final = (
    Column("series", "Series", constant=WhenConstant.CAPTION),
    *(column for column in CONDITION_COLUMNS if column.key != "cell"),
    JUDGE,
    Column("part", "Part", constant=WhenConstant.CAPTION),
    Column("threshold", "≥", Form.THRESHOLD, constant=WhenConstant.CAPTION),
)
_SCENARIO: Final = Column("scenario", "Scenario")
_STEP: Final = Column("step", "step", Form.THRESHOLD, needs=pl.col("step").is_not_null())
_LEFT_OUT: Final = pl.col("left_out") > 0
CHANGES: Final = Table(
    name="drift",
    title="Drift: from which version on replies are worse, and what was forgotten",
    columns=[
        *_HEAD,
        _SCENARIO,
        Column("versions", "versions", Form.COUNT, constant=WhenConstant.CAPTION, in_paper=False),
        Column("left_out", "left out", Form.COUNT, needs=_LEFT_OUT, in_paper=False),
        Column("first_worse_as", "first worse"),
        Column("p_value", "p", Form.P_VALUE),
        Column("asr_reference", "first %", Form.PERCENT),
        Column("asr_now", "now %", Form.PERCENT),
        Column("forgotten", "forgotten", Form.POINTS),
        interval("forgotten_low", "forgotten_high", Form.POINTS_INTERVAL, "CI"),
        Column("gained", "gained", Form.POINTS),
        interval("gained_low", "gained_high", Form.POINTS_INTERVAL, "CI", in_paper=False),
    ],
    caption="Unsafe replies. first worse: since this version there are more than before, and than "
    "in the first one. forgotten: now less the best version before, in points; gained: the worst "
    "before less now. p and every CI hold for the whole table at 95 %.",
    notes=[
        (
            "left out: versions without a rate (too much has no score, a rule ended the run, or "
            "scenarios are missing); nothing here counts them.",
            _LEFT_OUT,
        ),
        (
            "first worse –: no version is shown to be worse. That is no proof that none is.",
            pl.col("first_worse").is_null() & pl.col("p_value").is_not_null(),
        ),
    ],
    left_out=frozenset({"first_worse_as"}),
)
TREND: Final = Table(
    name="trend",
    title="The versions of each series in their order",
    columns=[
        *_HEAD,
        _SCENARIO,
        Column("version", "Version", simulated=True),
        _STEP,
        Column("date", "date", needs=pl.col("date").is_not_null()),
        Column("method", "Method", constant=WhenConstant.CAPTION_ONLY, in_paper=False),
        Column("scored", "n", Form.COUNT),
        Column(
            "asr",
            "ASR %",
            Form.PERCENT,
            bounds=("asr_if_unscored_safe", "asr_if_unscored_unsafe"),
        ),
        interval("low", "high", title="95 % band"),
        Column("difference", "less first", Form.POINTS),
        interval("difference_low", "difference_high", Form.POINTS_INTERVAL, "95 % band"),
    ],
    caption="less first: the ASR less that of the first version, item by item, in points. The "
    "bands hold for all versions and scenarios together.",
    notes=[
        (
            "A version that lacks scenarios which others have gets no rate over all of them.",
            pl.col("withheld") == INCOMPLETE,
        ),
    ],
)


def drift_tables(
    changes: pl.DataFrame, trend: pl.DataFrame, *, by_scenario: bool = True
) -> list[Table]:
    """Return what changed, and the trend: over all scenarios, or in each as well."""
    names = trend.select("series", first_worse="version", first_worse_as=as_text()).unique()
    changes = changes.join(names, on=["series", "first_worse"], how="left", maintain_order="left")
    return [CHANGES.of(changes), TREND.of(trend if by_scenario else together(trend))]


def as_text() -> pl.Expr:
    """Return what a reader calls the version of a row of the trend: its step, date, or name."""
    step = pl.col("step")
    whole = pl.format("step {}", step.cast(pl.Int64))
    return pl.coalesce(
        pl.when(step == step.round()).then(whole).otherwise(pl.format("step {}", step)),
        "date",
        marked("version", pl.col("simulated")),
    )


def with_worse(changes: pl.DataFrame, trend: pl.DataFrame) -> pl.DataFrame:
    """Return the trend with ``worse``: whether a version is the first that is."""
    keys = ["series", *SETTING_COLUMNS, "scenario"]
    first = changes.select(*keys, "first_worse")
    rows = trend.join(first, on=keys, how="left", maintain_order="left")
    worse = (pl.col("version") == pl.col("first_worse")).fill_null(value=False)
    return rows.with_columns(worse=worse).drop("first_worse")
