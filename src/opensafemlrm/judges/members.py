"""Judges made of judges: what each member said is kept in the verdict's rationale, as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from opensafemlrm.components import Judge
from opensafemlrm.judges.asking import total_usage
from opensafemlrm.types import Label, Unscored, Verdict

_MAX_SAID: Final = 300
_KEY: Final = "members"


@dataclass(frozen=True, slots=True)
class Member:
    """What one member of a panel or a cascade said of a text."""

    judge: str
    label: Label
    score: float | None
    reason: Unscored | None
    requests: int
    said: str
    """How its rationale begins; empty where it has members of its own."""
    members: tuple[Member, ...] = ()


def rationale_of(judges: Sequence[Judge], verdicts: Sequence[Verdict]) -> str:
    """Return the members' verdicts as one text; :func:`members_in` reads it back."""
    rows = [
        {
            "judge": judge.label,
            "label": verdict.label.value,
            "score": verdict.score,
            "reason": verdict.reason,
            "requests": verdict.requests,
            **_said(verdict.rationale),
        }
        for judge, verdict in zip(judges, verdicts, strict=True)
    ]
    return json.dumps({_KEY: rows})


def _said(rationale: str) -> dict[str, Any]:
    """Return how a member's rationale begins, or what its own members said, all of it."""
    if members_in(rationale):
        return {"said": "", _KEY: json.loads(rationale)[_KEY]}
    return {"said": rationale[:_MAX_SAID]}


def members_in(rationale: str) -> list[Member]:
    """Return the members' verdicts that a panel or a cascade kept; none in any other rationale."""
    if not rationale.startswith(f'{{"{_KEY}": ['):
        return []
    try:
        return [_member(row) for row in json.loads(rationale)[_KEY]]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []


def _member(row: dict[str, Any]) -> Member:
    return Member(
        judge=str(row["judge"]),
        label=Label(row["label"]),
        score=row["score"],
        reason=None if row["reason"] is None else Unscored(row["reason"]),
        requests=int(row["requests"]),
        said=str(row["said"]),
        members=tuple(_member(inner) for inner in row.get(_KEY, ())),
    )


def with_members(verdict: Verdict, judges: Sequence[Judge], verdicts: Sequence[Verdict]) -> Verdict:
    """Return ``verdict`` with what the members said and all that they cost."""
    return replace(
        verdict,
        rationale=rationale_of(judges, verdicts),
        usage=total_usage(member.usage for member in verdicts),
        requests=sum(member.requests for member in verdicts),
        latency=sum(member.latency for member in verdicts),
    )
