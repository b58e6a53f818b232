"""What an audit found, as plain values: the same for the same store and policy, byte for byte.

So it has no clock and no path: its dates are those on which the replies were made. Whether a store
still says what a record says is found by making it again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import version
from typing import Any, Final

import orjson
import polars as pl
from polars import selectors as cs

from opensafemlrm.analysis.intervals import Z
from opensafemlrm.audit import hazards
from opensafemlrm.audit.decide import Outcome, Reason, decide, together
from opensafemlrm.audit.measure import COUNTS, NAMES, bounds, ends, measure
from opensafemlrm.audit.policy import Figure, Policy, Rule, parse
from opensafemlrm.audit.scope import CELL, Scope, read
from opensafemlrm.redaction import without_keys_in_comments
from opensafemlrm.store.named import named_cells
from opensafemlrm.store.source import Source
from opensafemlrm.store.tables import RUNS, TABLES
from opensafemlrm.types import Part

FORMAT: Final = 1
"""The version of the record."""
METHOD: Final = (
    "Each check is decided by an exact interval that holds whatever the samples without a score "
    "hold. Required checks are held together by Holm's procedure, half of the error for passing "
    "and half for failing: with the confidence named, none of their verdicts is wrong."
)
LIMITS: Final = (
    "It speaks of items like these, in these scenarios and under these attacks, and of nothing "
    "that was not asked.",
    "The judge's own errors are in no interval.",
    "One draw of each reply at each repeat: another seed gives other replies.",
)
_EVIDENCE: Final = (
    *("sample", "item_key", "item", "scenario", "expected", "repeat", "status", "error_code"),
    *("response_model", "reasoning_status", "part", "label", "score", "reason", "refusal"),
    *("understood", "by_rule", "score_so_far", "stopped", "threshold_lenient", "threshold_strict"),
)
"""Columns of the tidy table that a figure can depend on."""
_DATED: Final = ("generations", "counts")
"""Tables with a row for each reply, or for imported ones, and when it was made."""
_CREATED: Final = "SELECT cell, MIN(created) AS first, MAX(created) AS last FROM {} GROUP BY cell"
_CHECK: Final = (
    *(name for name in NAMES if name != "cell"),
    *("cell", "simulated", *COUNTS, "limit", "value", "low", "high"),
    *("if_least", "if_greatest", "bound_low", "bound_high", "p_kept", "p_broken"),
    *("verdict", "reason", "more_items"),
)


def build(
    source: Source,
    policy: Policy,
    cells: Collection[str] | None = None,
    judge: str | None = None,
) -> dict[str, Any]:
    """Audit ``cells`` (keys) of a store, or all of them, by a policy; return the record.

    Verdicts of the policy's judge count; if it names none, those of ``judge``, or of the only one.
    Raises PolicyError and OptionError where the policy does not fit the store, and StoreError.
    """
    scope = read(source, policy, cells, judge)
    checks = _decided(scope, policy)
    rules = [_rule(rule, checks.filter(rule=n)) for n, rule in enumerate(policy.rules)]
    required = [entry for entry in rules if entry["required"]]
    verdict = together(Outcome(entry["verdict"]) for entry in required)
    dates, runs = _dates(source, scope), source.query(RUNS.select(), RUNS.schema()).sort("started")
    environments = [json.loads(text) for text in dict.fromkeys(runs["environment"])]
    return {
        "format": FORMAT,
        "title": policy.title,
        "verdict": verdict.value,
        "why": _why(verdict, policy, required),
        "confidence": policy.confidence,
        "method": METHOD,
        "policy": {"sha256": policy.sha256, "text": policy.text},
        "studies": [without_keys_in_comments(text) for text in dict.fromkeys(runs["study"])],
        "judge": scope.judge,
        "models": scope.models,
        "evaluated": None if dates is None else [day.isoformat() for day in dates],
        "expires": (
            None if dates is None else (dates[0] + timedelta(days=policy.valid_days)).isoformat()
        ),
        "made_by": {"opensafemlrm": version("opensafemlrm"), "environments": environments},
        "components": _components(source, scope),
        "cells": _cells(scope),
        "rules": rules,
        "hazards": _hazards(scope, policy),
        "limits": list(LIMITS),
    }


def _decided(scope: Scope, policy: Policy) -> pl.DataFrame:
    """Return all checks of all rules, decided together."""
    rows = [
        scope.checks(policy, number).with_columns(
            rule=pl.lit(number),
            is_max=pl.lit(rule.figure.is_max),
            required=pl.lit(not rule.advisory),
            limit=pl.lit(rule.limit),
        )
        for number, rule in enumerate(policy.rules)
    ]
    if not rows:
        return pl.DataFrame(schema={"rule": pl.Int32})
    checks = pl.concat(rows)
    measured, nothing = checks.filter(pl.col("n") > 0), checks.filter(pl.col("n").is_null())
    decided = decide(measured, policy.confidence)
    least, greatest = bounds(decided)
    decided = decided.with_columns(if_least=least, if_greatest=greatest)
    nothing = nothing.with_columns(
        verdict=pl.lit(Outcome.UNDECIDED.value), reason=pl.lit(Reason.NOTHING.value)
    )
    return pl.concat([decided, nothing], how="diagonal").sort("rule", maintain_order=True)


def _rule(rule: Rule, checks: pl.DataFrame) -> dict[str, Any]:
    """Return a rule with its checks."""
    rows = checks.with_columns(pl.when(cs.float().is_finite()).then(cs.float()))
    more = [row for row in rows["more_items"] if row is not None]
    outcomes = [Outcome(verdict) for verdict in rows["verdict"]]
    verdict = together(outcomes)
    return {
        "name": rule.name or rule.says,
        "says": rule.says,
        "figure": rule.figure.value,
        "part": rule.of_part,
        "threshold": rule.threshold,
        "against": rule.compared_with,
        "required": not rule.advisory,
        "verdict": verdict.value,
        "counts": {outcome.value: outcomes.count(outcome) for outcome in Outcome},
        "more_items": sum(more) if more and verdict is Outcome.UNDECIDED else None,
        "checks": [
            {name: row[name] for name in _CHECK if row[name] is not None}
            for row in rows.iter_rows(named=True)
        ],
    }


def _why(verdict: Outcome, policy: Policy, required: list[dict[str, Any]]) -> str:
    if not policy.rules:
        return "The policy has no rule: nothing was decided."
    if not required:
        return "Every rule of the policy is advisory: nothing was decided."
    names = {
        outcome: [entry["name"] for entry in required if entry["verdict"] == outcome]
        for outcome in Outcome
    }
    if verdict is Outcome.PASS:
        return f"All {len(required)} required rules are kept."
    which = names[verdict]
    words = "broken" if verdict is Outcome.FAIL else "undecided"
    return f"{len(which)} of {len(required)} required rules {words}: {'; '.join(which)}."


def _cells(scope: Scope) -> list[dict[str, Any]]:
    """Return the cells, with how much was scored in each and the digest of all that was."""
    digests = {}
    frame = scope.evidence.frame.with_columns(cs.categorical().cast(pl.String))
    frame = frame.sort("sample", "part", *_EVIDENCE, nulls_last=True)
    for (cell,), rows in frame.partition_by("cell", as_dict=True, maintain_order=True).items():
        digest = hashlib.sha256()
        for row in rows.select(_EVIDENCE).iter_rows():
            digest.update(orjson.dumps(row) + b"\n")
        whole = rows.filter(part=Part.FULL.value)
        counts = {"n": len(whole), "scored": int(whole["score"].count())}
        digests[cell] = {**counts, "sha256": digest.hexdigest()}
    nothing = {"n": 0, "scored": 0, "sha256": None}
    return [
        {**row, **digests.get(row["cell"], nothing)}
        for row in scope.cells.select(CELL).iter_rows(named=True)
    ]


def _hazards(scope: Scope, policy: Policy) -> dict[str, Any]:
    """Return the grade of every hazard that was tested, and the hazards that nothing tested."""
    frame = scope.evidence.frame.with_columns(pl.col("dataset", "scenario").cast(pl.String))
    pairs = frame.select("dataset", "scenario").unique()
    known = pl.DataFrame(
        [(d, s, hazards.hazard_of(d, s, policy.hazards)) for d, s in pairs.rows()],
        schema={**pairs.schema, "hazard": pl.String},
        orient="row",
    )
    named = frame.join(known, on=["dataset", "scenario"]).drop_nulls("hazard")
    named = named.with_columns(scenario="hazard").drop("hazard")
    evidence = dataclasses.replace(scope.evidence, frame=named)
    rule = Rule(max_asr=1.0, part="answer", scenario=("each",))
    rows = measure(evidence, rule, None).filter(
        pl.col("scored") > 0, pl.col("model").is_in(scope.models)
    )
    _, (low, high) = ends(rows, Z)
    tested = [
        {
            **{name: row[name] for name in ("model", "dataset", "attack", "defense", "sampling")},
            "hazard": row["scenario"],
            **{name: row[name] for name in ("n", "scored", "hits", "simulated")},
            "asr": row["rate"],
            "low": float(low[i]),
            "high": float(high[i]),
            "grade": hazards.grade(row["rate"], row["scenario"]),
            "grade_low": hazards.grade(float(high[i]), row["scenario"]),
            "grade_high": hazards.grade(float(low[i]), row["scenario"]),
        }
        for i, row in enumerate(rows.iter_rows(named=True))
    ]
    seen = {row["hazard"] for row in tested}
    return {
        "tested": tested,
        "untested": [name for name in hazards.titles() if name not in seen],
        "not_mapped": sorted({row[1] for row in known.rows() if row[2] is None}),
    }


def _dates(source: Source, scope: Scope) -> tuple[date, date] | None:
    """Return the day of the oldest and of the newest reply of the cells."""
    number = pl.Float64()
    schema = {"cell": pl.Binary(), "first": number, "last": number}
    rows = pl.concat([source.query(_CREATED.format(table), schema) for table in _DATED])
    cells = [bytes.fromhex(cell) for cell in scope.cells["cell"]]
    rows = rows.filter(pl.col("cell").is_in(cells))
    if rows.is_empty():
        return None
    first, last = (
        datetime.fromtimestamp(moment, UTC).date()
        for moment in rows.select(pl.col("first").min(), pl.col("last").max()).row(0)
    )
    return first, last


def _components(source: Source, scope: Scope) -> list[dict[str, Any]]:
    """Return what the cells are made of, and the judge: everything that changes their results."""
    table = TABLES["components"]
    rows = source.query(table.select(), table.schema()).sort("kind", "label", "key")
    kinds = ("model", "dataset", "attack", "defense")
    labels = {kind: set(scope.cells[kind]) for kind in kinds} | {"judge": {scope.judge}}
    return [
        {"kind": kind, "label": label, "key": key.hex(), "identity": json.loads(identity)}
        for key, kind, label, identity in rows.select(
            "key", "kind", "label", "identity"
        ).iter_rows()
        if any((name or "").partition("#")[0] == label for name in labels[kind])
    ]


def dumps(record: Mapping[str, Any]) -> str:
    """Return the record as JSON, ASCII alone, the same for the same record."""
    text = json.dumps(record, indent=1, ensure_ascii=True, allow_nan=False)
    return text.replace("\x7f", "\\u007f") + "\n"


def timestamp(record: Mapping[str, Any], *, iso: bool = False) -> str:
    """Return the beginning of the newest reply's day: in seconds, or as ISO 8601; 1970 if none."""
    day = date.fromisoformat((record["evaluated"] or ["1970-01-01"])[-1])
    moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if iso else f"{moment.timestamp():.0f}"


def figure_of(entry: Mapping[str, Any]) -> str:
    """Return what a rule's figure is called, with its part: ``answer ASR``."""
    figure = Figure(entry["figure"])
    part = entry["part"]
    return figure.words if part is None else f"{part} {figure.words}"


_NOT_COMPARED: Final = ("made_by", "studies")
"""Which version and machine made it, and what other runs may have added to the store."""
_TOLERANCE: Final = 1e-9
"""Another processor may round a rate's last digit otherwise."""


def differences(source: Source, record: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each thing that the store, audited anew, says otherwise.

    The policy is the one in the record, the cells those that it names. Raises PolicyError and
    OptionError where it does not fit the store any more, and StoreError.
    """
    cells = {cell["cell"] for cell in record["cells"]}
    if not cells & set(named_cells(source)["cell"]):
        yield "the store has none of the record's cells"
        return
    policy = parse(record["policy"]["text"], "the record's policy")
    now = build(source, policy, cells, record.get("judge"))
    for name in dict.fromkeys([*record, *now]):
        if name not in _NOT_COMPARED:
            yield from _apart(record.get(name), now.get(name), name)
    if not set(record["studies"]) <= set(now["studies"]):
        yield "studies: the record names one that the store has no run of"


def not_covered(source: Source, record: Mapping[str, Any]) -> int:
    """Return how many cells of the store the record does not speak of. Raises StoreError."""
    covered = {cell["cell"] for cell in record["cells"]}
    return len(set(named_cells(source)["cell"]) - covered)


def _apart(then: Any, now: Any, path: str) -> Iterator[str]:
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys([*then, *now]):
            yield from _apart(then.get(key), now.get(key), f"{path}.{key}")
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for i, (one, other) in enumerate(zip(then, now, strict=True)):
            yield from _apart(one, other, f"{path}[{_name(one, i)}]")
    elif not _same(then, now):
        yield f"{path}: the record says {_short(then)}, the store {_short(now)}"


def _name(value: Any, place: int) -> str:
    """Return what a list's entry is called, where it has names."""
    if not isinstance(value, Mapping):
        return str(place)
    names = ("name", "model", "dataset", "attack", "defense", "scenario", "hazard")
    labels = [str(value[name]) for name in names if value.get(name) not in (None, "none", "all")]
    return " · ".join(labels) or str(place)


def _same(then: Any, now: Any) -> bool:
    numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in (then, now))
    return math.isclose(then, now, abs_tol=_TOLERANCE) if numbers else bool(then == now)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 70 else f"{text[:66]} …"
