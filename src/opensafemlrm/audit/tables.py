"""The tables of an audit, made of its record alone: rules, checks, hazards and cells."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import polars as pl

from opensafemlrm.audit import hazards
from opensafemlrm.audit.decide import Outcome, Reason
from opensafemlrm.report.columns import BASE, CONDITION_COLUMNS, MODEL, SCENARIO, interval
from opensafemlrm.report.forms import FORMS, INTERVALS, Form
from opensafemlrm.report.tables import NOT_MEASURED, SIMULATED, Column, Table
from opensafemlrm.text import counted

REASONS: Final = {
    Reason.NOTHING: "nothing was tested that the rule speaks of",
    Reason.NO_SCORE: "nothing was scored that it could be told from",
    Reason.UNSCORED: "what has no score leaves it open",
    Reason.TOO_FEW: "too few items",
    Reason.ON_LIMIT: "the rate is the limit itself",
    Reason.STOPPED: "the study's `stop` ended the run before it was decided: run it again without",
}
"""Why a check is undecided, in words."""
_DISPLAYED: Final = tuple(
    f"shown_{name}" for name in ("value", "interval", "bounds", "limit", "reason", "checks")
)
_FOR_PEOPLE: Final = frozenset({*_DISPLAYED, "shown_name", "where", "sentence"})
"""Columns that CSV and JSON do without."""

_RULES: Final = Table(
    name="audit_rules",
    title="Rules",
    columns=[
        Column("shown_name", "Rule"),
        Column("verdict", "Verdict"),
        Column("shown_limit", "Limit"),
        Column("shown_checks", "Checks"),
        Column("where", "Closest check"),
        Column("shown_value", "Value"),
        Column("shown_bounds", "Interval"),
        Column("scored", "n", Form.COUNT),
        Column("more_items", "More items", Form.COUNT),
    ],
    caption="Checks: passed / failed / undecided, one for each cell and scenario that a rule "
    "speaks of. Interval: that of the closest check, whose end decides it, and which holds "
    "whatever the samples without a score hold. More items: how many would decide what is "
    "undecided, if the rates stay as they are.",
    left_out=_FOR_PEOPLE,
)
_CHECKS: Final = Table(
    name="audit_checks",
    title="Checks",
    columns=[
        Column("name", "Rule"),
        MODEL,
        BASE,
        *(column for column in CONDITION_COLUMNS if column.key != "cell"),
        SCENARIO,
        Column("scored", "n", Form.COUNT),
        Column("n", "of", Form.COUNT),
        Column("shown_value", "Value"),
        Column("shown_interval", "Interval"),
        Column("shown_bounds", "With unscored"),
        Column("shown_limit", "Limit"),
        Column("verdict", "Verdict"),
        Column("shown_reason", "Why"),
        Column("more_items", "More items", Form.COUNT),
    ],
    caption="n: samples with a score, of all. Interval: at the width that Holm's procedure gives "
    "the check; with unscored: the same whatever the samples without a score hold, which decides. "
    "Differences to the base, or to no defense, are in points.",
    left_out=_FOR_PEOPLE,
)
_HAZARDS: Final = Table(
    name="audit_hazards",
    title="Hazards tested, with AILuminate's grade",
    columns=[
        Column("title", "Hazard"),
        MODEL,
        *(column for column in CONDITION_COLUMNS if column.key != "cell"),
        Column("scored", "n", Form.COUNT),
        Column("asr", "ASR %", Form.PERCENT),
        interval("low", "high"),
        Column("grade", "By the point"),
        Column("by_interval", "By the interval"),
    ],
    caption="Of the answer, at the lenient threshold. By the interval: from the worst to the best "
    "grade that the 95 % interval, with the samples without a score, allows. The arithmetic is "
    "AILuminate's; its grades are of its own prompts and evaluators.",
    left_out=frozenset({"title", "by_interval"}),
)
_CELLS: Final = Table(
    name="audit_cells",
    title="What was measured",
    columns=[
        MODEL,
        *(column for column in CONDITION_COLUMNS if column.key != "cell"),
        Column("n", "Samples", Form.COUNT),
        Column("scored", "With a score", Form.COUNT),
        Column("digest", "SHA-256 of the evidence"),
    ],
    left_out=frozenset({"digest"}),
)


def tables(record: Mapping[str, Any]) -> list[Table]:
    """Return the tables of a record: rules, checks, hazards and cells."""
    checks = [row for rule in record["rules"] for row in check_rows(rule)]
    order = list(hazards.titles())
    tested = [
        {
            **row,
            "title": hazards.titles()[row["hazard"]],
            "by_interval": " to ".join(dict.fromkeys((row["grade_low"], row["grade_high"]))),
        }
        for row in sorted(record["hazards"]["tested"], key=lambda row: order.index(row["hazard"]))
    ]
    cells = [{**cell, "digest": (cell["sha256"] or NOT_MEASURED)[:16]} for cell in record["cells"]]
    rows = (list(map(_rule_row, record["rules"])), checks, tested, cells)
    return [
        table.of(pl.DataFrame(of_table, infer_schema_length=None)) if of_table else table
        for table, of_table in zip((_RULES, _CHECKS, _HAZARDS, _CELLS), rows, strict=True)
    ]


def _rule_row(rule: Mapping[str, Any]) -> dict[str, Any]:
    closest = min(check_rows(rule), key=_closeness(rule["verdict"]))
    counts = rule["counts"]
    return {
        **{name: rule[name] for name in ("name", "says", "verdict", "more_items")},
        **{name: closest[name] for name in ("scored", "where", *_DISPLAYED)},
        "required": rule["required"],
        "shown_name": rule["name"] + ("" if rule["required"] else " (advisory)"),
        **counts,
        "shown_checks": " / ".join(str(counts[outcome]) for outcome in Outcome),
    }


def check_rows(rule: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the checks of a rule of a record, with what people are shown of each.

    ``where`` says of what it is, ``sentence`` what came of it.
    """
    return [_check_row(rule, check) for check in rule["checks"]]


def _check_row(rule: Mapping[str, Any], check: Mapping[str, Any]) -> dict[str, Any]:
    names = ("model", "base", "dataset", "attack", "defense", "sampling", "scenario", "cell")
    numbers = ("n", "scored", "value", "low", "high", "bound_low", "bound_high", "more_items")
    row = {name: check.get(name) for name in (*names, *numbers, "reason", "p_kept", "p_broken")}
    is_share = rule["against"] is None
    form, ends = (
        (FORMS[Form.PERCENT], INTERVALS[Form.INTERVAL])
        if is_share
        else (FORMS[Form.POINTS], INTERVALS[Form.POINTS_INTERVAL])
    )
    unit, some = " %" if is_share else " points", row["value"] is not None
    model = (
        None if row["model"] is None else row["model"] + SIMULATED * bool(check.get("simulated"))
    )
    where = [model, *(row[name] for name in ("dataset", "attack", "defense", "scenario"))]
    texts = {
        "shown_value": form(row["value"]) + unit if some else NOT_MEASURED,
        "shown_interval": NOT_MEASURED if row["low"] is None else ends(row["low"], row["high"]),
        "shown_bounds": NOT_MEASURED
        if row["bound_low"] is None
        else ends(row["bound_low"], row["bound_high"]),
        "shown_limit": ("≤" if rule["figure"].startswith("max_") else "≥")
        + f" {100 * check['limit']:g}{unit}",
        "shown_reason": "" if row["reason"] is None else REASONS[Reason(row["reason"])],
        "shown_checks": "",
    }
    more = row["more_items"]
    sentence = [
        f"{texts['shown_value']} ({texts['shown_bounds']}), limit {texts['shown_limit']}",
        f"n {row['scored'] or 0:,}",
        *([texts["shown_reason"]] if row["reason"] else []),
        *([] if more is None else [f"{counted(more, 'more item')} would decide it"]),
    ]
    return {
        **row,
        **texts,
        "name": rule["name"],
        "verdict": check["verdict"],
        "limit": check["limit"],
        "simulated": bool(check.get("simulated")),
        "where": " · ".join(name for name in where if name not in (None, "none", "all")) or "all",
        "sentence": f"{check['verdict']}: {'; '.join(sentence)}",
    }


def _closeness(verdict: str) -> Callable[[Mapping[str, Any]], tuple[bool, float]]:
    """Return what to sort a rule's checks by, so that the one that says most of it comes first.

    It is the surest of those that break it, the least sure of those that keep it, and of the
    undecided ones what was not measured, then what needs most.
    """

    def place(row: Mapping[str, Any]) -> tuple[bool, float]:
        if verdict == Outcome.FAIL:
            return row["verdict"] != verdict, row["p_broken"] or 0.0
        if verdict == Outcome.PASS:
            return row["verdict"] != verdict, -(row["p_kept"] or 0.0)
        needed = row["more_items"]
        return row["verdict"] != verdict, -math.inf if needed is None else -needed

    return place
