"""Whether a judge gives scores at all: one that gives none is not paid for long."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from opensafemlrm.components import Judge, children, models_in
from opensafemlrm.errors import JudgeStoppedError
from opensafemlrm.judges.members import members_in
from opensafemlrm.text import for_terminal
from opensafemlrm.types import Unscored, Verdict

MAX_UNSCORED: Final = 20
"""Texts without one score after which a judge is stopped; as many as for models."""
_MAX_SHOWN: Final = 40
_NOBODYS_FAULT: Final = (Unscored.NOT_APPLICABLE, Unscored.NO_TEXT)
_ADVICE: Final = {
    Unscored.JUDGE_TRUNCATED: "its replies were cut: raise the judge's `max_tokens`",
    Unscored.JUDGE_REFUSED: "it turns the texts down, or its provider does: choose another model "
    "for the judge",
    Unscored.JUDGE_FAILED: "its server rejects the requests: check the options of its model",
}
_READABLE: Final = (
    "its replies hold no score that can be read: choose another model or another prompt for the "
    "judge, or try `structured: true`"
)


@dataclass(slots=True)
class _Record:
    asks_models: bool
    scored: bool = False
    reasons: Counter[Unscored] = field(default_factory=Counter)
    example: str = ""


class ScoreWatch:
    """Counts the texts that a judge, or one member of it, left without a score.

    A first score settles it for good. What a judge that asks models says without asking them is
    its rule's verdict, and says nothing of the models.
    """

    def __init__(self, judge: Judge) -> None:
        members = [child for child in children(judge) if isinstance(child, Judge)]
        self._judge = judge.label
        self._records = {
            one.label: _Record(any(True for _ in models_in(one))) for one in (*members, judge)
        }

    def note(self, verdict: Verdict) -> None:
        """Count a verdict that the judge has just given."""
        said = verdict.rationale
        entries = [(self._judge, verdict.score, verdict.reason, verdict.requests, said)]
        entries += [(m.judge, m.score, m.reason, m.requests, m.said) for m in members_in(said)]
        for label, score, reason, requests, text in entries:
            record = self._records.get(label)
            if record is None or record.scored or reason in _NOBODYS_FAULT:
                continue
            if reason is None:
                record.scored = score is not None and (requests > 0 or not record.asks_models)
                continue
            record.reasons[reason] += 1
            record.example = text or record.example

    def add(self, other: ScoreWatch) -> None:
        """Add what another process counted."""
        for label, record in other._records.items():
            own = self._records[label]
            own.scored = own.scored or record.scored
            own.reasons.update(record.reasons)
            own.example = own.example or record.example

    def problem(self) -> JudgeStoppedError | None:
        """Return why the judge has to be stopped, ``None`` where it has not."""
        for label, record in self._records.items():
            if not record.scored and record.reasons.total() >= MAX_UNSCORED:
                return JudgeStoppedError(label, _why(record, "first "))
        return None

    def scoreless(self) -> JudgeStoppedError | None:
        """Return that the judge gave no score at all, however few the texts; ``None`` if it did."""
        record = self._records[self._judge]
        if record.scored or not record.reasons:
            return None
        return JudgeStoppedError(self._judge, _why(record))


def _why(record: _Record, which: str = "") -> str:
    counts = record.reasons.most_common()
    reasons = ", ".join(f"{reason.value} {count:,}" for reason, count in counts)
    return (
        f"it gave no score for any of the {which}{record.reasons.total():,} texts ({reasons}); "
        f"{advice(counts[0][0])}. An example of what came: {shape(record.example)}"
    )


def advice(reason: Unscored) -> str:
    """Return what is likely, and what to do, where a judge's texts have no score for a reason."""
    return _ADVICE.get(reason, _READABLE)


def shape(text: str) -> str:
    """Return the length of ``text`` and how it begins and ends, never the whole of it."""
    if not text:
        return "nothing"
    shown = min(_MAX_SHOWN, len(text) // 3)
    begin, end = for_terminal(text[:shown]), for_terminal(text[len(text) - shown :])
    return f"{len(text):,} characters, “{begin} … {end}”"
