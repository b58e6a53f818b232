"""The tables of blind spots: against the base, against the rest, in groups, and how consistent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Final

from opensafemlrm.analysis.blindspots import BlindSpotRow, BlindSpots
from opensafemlrm.analysis.consistency import ConsistencyRow
from opensafemlrm.analysis.grouped import GroupedRow
from opensafemlrm.report.columns import condition_columns, judge_columns, notes
from opensafemlrm.report.tables import Column, Form, Table, WhenConstant, unneeded_fields

_REST: Final = frozenset(
    f.name for f in fields(BlindSpotRow) if f.name.startswith("rest_") or f.name == "asr_rest"
)
_BASE: Final = frozenset(
    {"base", "method", "scored_base", "unsafe_base", "asr_base", "difference", "low", "high"}
    | {"ratio", "ratio_low", "ratio_high", "p_value", "holm", "bh", "rank", "shrunken_model"}
    | {"shrunken_base", "shrunken_difference", "shrunken_ratio"}
)


def blindspot_tables(result: BlindSpots) -> list[Table]:
    """Return ``blindspots`` (against the base), ``rest`` (against the model's other scenarios) and,
    where rankings could be compared, ``consistency``.
    """
    tables = [blindspot_table(result.rows), rest_table(result.rows)]
    return [*tables, consistency_table(result.consistency)] if result.consistency else tables


def blindspot_table(rows: Sequence[BlindSpotRow]) -> Table:
    """Return the table of scenarios, each against the base."""
    left_out = unneeded_fields(rows)
    return Table(
        name="blindspots",
        title="Safety blind spots: what each scenario lost against the base",
        row_type=BlindSpotRow,
        rows=rows,
        columns=[
            *condition_columns(left_out, "model", "base"),
            *judge_columns(),
            Column("method", "Method", constant=WhenConstant.CAPTION),
            Column("scenario", "Scenario"),
            Column("scored_model", "n", Form.COUNT),
            Column("asr_model", "ASR %", Form.PERCENT),
            Column("asr_base", "base %", Form.PERCENT),
            Column("difference", "lost", Form.POINTS),
            Column("ratio", "ratio", Form.RATIO),
            Column("ratio_low", "95 % CI", Form.RATIO_INTERVAL, upto="ratio_high"),
            Column("holm", "p Holm", Form.P_VALUE),
            Column("shrunken_ratio", "shrunken", Form.RATIO),
            Column("rank", "rank", Form.COUNT),
        ],
        caption="lost: ASR minus the base's, in percentage points; ratio: ASR over the base's.",
        notes=notes(
            rows,
            "p: exact test (McNemar's where paired, Fisher's where not), adjusted by Holm over the "
            "scenarios of one model and setting; csv and json have it raw and by "
            "Benjamini-Hochberg too, and the interval of what was lost.",
            "shrunken: the ratio of rates that are drawn towards the mean over scenarios, the more "
            "so the fewer samples there are (empirical Bayes). rank: by the difference of these "
            "rates; 1 has lost most.",
            "ratio –: the base has no unsafe reply, so that only a lower end (≥) is known."
            if any(row.ratio is None and row.ratio_low is not None for row in rows)
            else "",
        ),
        left_out=left_out | _REST,
    )


def rest_table(rows: Sequence[BlindSpotRow]) -> Table:
    """Return the table of scenarios, each against the model's own other scenarios."""
    left_out = unneeded_fields(rows)
    return Table(
        name="rest",
        title="Each scenario against the same model's other scenarios",
        row_type=BlindSpotRow,
        rows=rows,
        columns=[
            *condition_columns(left_out, "model"),
            *judge_columns(),
            Column("scenario", "Scenario"),
            Column("scored_model", "n", Form.COUNT),
            Column("asr_model", "ASR %", Form.PERCENT),
            Column("asr_rest", "others %", Form.PERCENT),
            Column("rest_difference", "difference", Form.POINTS),
            Column("rest_low", "95 % CI", Form.POINTS_INTERVAL, upto="rest_high"),
            Column("rest_ratio", "ratio", Form.RATIO),
            Column("rest_holm", "p Holm", Form.P_VALUE),
        ],
        caption="difference: ASR minus that of all other scenarios, in percentage points.",
        notes=notes(rows, "p: Fisher's exact test, adjusted by Holm over the scenarios."),
        left_out=left_out | _BASE,
    )


def consistency_table(rows: Sequence[ConsistencyRow]) -> Table:
    """Return the table that says whether rankings of the scenarios agree."""
    left_out = unneeded_fields(rows)
    return Table(
        name="consistency",
        title="Do models, and datasets, agree on the worst scenarios?",
        row_type=ConsistencyRow,
        rows=rows,
        columns=[
            Column("across", "Across"),
            Column("measure", "Ranked by"),
            *condition_columns(left_out, "model"),
            *judge_columns(),
            Column("raters", "rankings", Form.COUNT),
            Column("scenarios", "scenarios", Form.COUNT),
            Column("w", "W", Form.DECIMAL),
            Column("p_value", "p", Form.P_VALUE),
            Column("worst", "worst scenario"),
        ],
        caption="W: Kendall's coefficient of concordance, 0 not at all, 1 wholly; p by permutation "
        "of every ranking.",
        notes=notes(
            rows,
            "Pairs that share a base are not independent where the difference is ranked.",
        ),
        left_out=left_out | {"cell"},
    )


def grouped_table(rows: Sequence[GroupedRow]) -> Table:
    """Return the table of a group of models over a group of bases."""
    left_out = unneeded_fields(rows)
    return Table(
        name="grouped",
        title="Mean ASR of several models over the mean of several bases",
        row_type=GroupedRow,
        rows=rows,
        columns=[
            Column("models", "Models", constant=WhenConstant.CAPTION, simulated="simulated"),
            Column("bases", "Bases", constant=WhenConstant.CAPTION),
            *condition_columns(left_out, "models")[1:],
            *judge_columns(),
            Column("method", "Method", constant=WhenConstant.CAPTION),
            Column("scenario", "Scenario"),
            Column("asr_models", "models %", Form.PERCENT),
            Column("asr_bases", "bases %", Form.PERCENT),
            Column("ratio", "ratio", Form.RATIO),
            Column("ratio_low", "95 % CI", Form.RATIO_INTERVAL, upto="ratio_high"),
            Column("difference", "difference", Form.POINTS),
            Column("low", "95 % CI", Form.POINTS_INTERVAL, upto="high"),
        ],
        caption="Every model of a group has the same weight; all: every scenario has.",
        notes=notes(
            rows,
            "counts: no items are known, so that the models' replies are taken as independent."
            if any(row.method == "counts" for row in rows)
            else "",
        ),
        left_out=left_out | {"cell"},
    )
