"""Whether a judge gives scores: one that gives none, or no more, is not paid for long.

It is told of every judge within a judge by itself, however deep: a panel whose member is gone
gives scores all the same, where the others agree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from opensafemlrm.calls import verdicts_of
from opensafemlrm.components import Judge, children, models_in
from opensafemlrm.errors import JudgeStoppedError
from opensafemlrm.judges.fixed_texts import ITEM, UNSAFE
from opensafemlrm.judges.panel import Member, members_in
from opensafemlrm.text import for_terminal
from opensafemlrm.types import Item, JudgeRequest, Key, Unscored, Verdict

MAX_UNSCORED: Final = 20
"""Texts in a row without one score after which a judge is looked at; as many as for models."""
MAX_AT_END: Final = 5
"""The same, where a run ends with them."""
Place: TypeAlias = tuple[str, ...]
"""Where a judge stands: the labels of those that it is within, and its own."""

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
    """What one judge gave."""

    asks_models: bool
    scored: bool = False
    """Whether it ever gave a score."""
    is_gone: bool = False
    """Whether it gave none for a text that it had scored before."""
    reasons: Counter[Unscored] = field(default_factory=Counter)
    """Why the texts since its last score have none."""
    keys: set[Key] = field(default_factory=set)
    """Verdicts since then that it has no part in."""
    example: str = ""

    def score(self) -> None:
        """Note a score."""
        self.scored = True
        if not self.is_gone:
            self.reasons.clear()
            self.keys.clear()

    @property
    def is_dead(self) -> bool:
        """Whether it is not to be asked any more."""
        return self.is_gone or (not self.scored and self.reasons.total() >= MAX_UNSCORED)


class ScoreWatch:
    """Counts the texts that a judge, or one within it, left without a score.

    What a judge that asks models says without asking them is its rule's verdict, and says nothing
    of the models.
    """

    def __init__(self, judge: Judge) -> None:
        self._top: Place = (judge.label,)
        self._records = dict(_records(judge, ()))
        self._looking = False
        self._answered: dict[Place, tuple[Item, JudgeRequest]] = {}
        """A text that each gave a score for: the last."""

    def __getstate__(self) -> dict[str, Any]:
        """Leave the texts behind, which other processes have no use for."""
        return {**self.__dict__, "_answered": {}}

    def remember(self, rationales: Iterable[str], *, scored: bool) -> None:
        """Note who gave scores before, by the verdicts of a store.

        ``scored`` says that the whole judge did; ``rationales`` are of its verdicts.
        """
        self._records[self._top].scored |= scored
        for rationale in rationales if len(self._records) > 1 else ():
            for place, statement, _ in _members_of(self._top, members_in(rationale)):
                if place in self._records:
                    self._records[place].scored |= _is_score(statement, self._records[place])

    def note(
        self, verdict: Verdict, text: tuple[Item, JudgeRequest] | None = None, key: Key = b""
    ) -> None:
        """Count a verdict that the judge has just given, on ``text`` if that is known."""
        for place, statement, words in _within(self._top, verdict):
            record = self._records.get(place)
            if record is None or statement.reason in _NOBODYS_FAULT:
                continue
            if statement.reason is not None:
                record.reasons[statement.reason] += 1
                record.keys.add(key)
                record.example = words or record.example
            elif _is_score(statement, record):
                record.score()
                if text is not None:
                    self._answered[place] = text

    async def look(self, judge: Judge, limit: int = MAX_UNSCORED) -> list[Verdict]:
        """Ask who gave scores, and then none for ``limit`` texts in a row, for what it can score.

        That is the last text that it had scored, or a fixed one. Where it has a score again, those
        between are to blame; where it has none, it is gone. Returns the verdicts, for what they
        cost.
        """
        probes: list[Verdict] = []
        while not self._looking and (place := self._suspect(limit)) is not None:
            self._looking = True
            try:
                item, request = self._answered.get(place, (ITEM, UNSAFE))
                probes += await verdicts_of(judge, item, [request])
            finally:
                self._looking = False
            record = self._records[place]
            statements = _within(self._top, probes[-1])
            if any(at == place and _is_score(statement, record) for at, statement, _ in statements):
                record.score()
            else:
                record.is_gone = True
        return probes

    def _suspect(self, limit: int) -> Place | None:
        for place, record in self._records.items():
            if record.scored and not record.is_gone and record.reasons.total() >= limit:
                return place
        return None

    def add(self, other: ScoreWatch) -> None:
        """Add what another process counted."""
        for place, record in other._records.items():
            own = self._records[place]
            own.scored, own.is_gone = own.scored or record.scored, own.is_gone or record.is_gone
            own.reasons.update(record.reasons)
            own.keys |= record.keys
            own.example = own.example or record.example
            if own.scored and not own.is_gone:
                own.score()  # what follows a score of another process is not known

    def problem(self) -> JudgeStoppedError | None:
        """Return why the judge has to be stopped, ``None`` where it has not."""
        for place, record in self._innermost_first():
            if record.is_dead:
                which = "last " if record.scored else "first "
                return JudgeStoppedError(place[-1], _why(record, which))
        return None

    def scoreless(self) -> JudgeStoppedError | None:
        """Return who is gone, or gave no score at all, however few the texts; else ``None``."""
        for place, record in self._innermost_first():
            if not record.scored and record.reasons:
                return JudgeStoppedError(place[-1], _why(record))
        return self.problem()

    def unfinished(self, limit: int = MAX_UNSCORED) -> set[Key]:
        """Return the verdicts to be had again, whoever else had a part in them.

        Those since the last score of who is gone, of who never gave one, and of who left ``limit``
        texts in a row without one. What a whole judge that never gave one said stays as it is until
        the next run (``Store.reopen_verdicts``).
        """
        keys = set[Key]()
        for place, record in self._records.items():
            is_open = record.is_gone or not record.scored or record.reasons.total() >= limit
            if is_open and (record.scored or place != self._top):
                keys |= record.keys
        return keys

    def _innermost_first(self) -> list[tuple[Place, _Record]]:
        """Return the records in an order that names who is at fault before whom it keeps back."""
        return sorted(self._records.items(), key=lambda pair: -len(pair[0]))


def _records(judge: Judge, within: Place) -> Iterator[tuple[Place, _Record]]:
    place = (*within, judge.label)
    yield place, _Record(any(True for _ in models_in(judge)))
    for child in children(judge):
        if isinstance(child, Judge):
            yield from _records(child, place)


def _within(top: Place, verdict: Verdict) -> Iterator[tuple[Place, Verdict | Member, str]]:
    """Yield what the judge at ``top`` and those within it said, each with how it said so."""
    members = members_in(verdict.rationale)
    yield top, verdict, "" if members else verdict.rationale
    yield from _members_of(top, members)


def _members_of(
    place: Place, members: Iterable[Member]
) -> Iterator[tuple[Place, Verdict | Member, str]]:
    for member in members:
        inner = (*place, member.judge)
        yield inner, member, member.said
        yield from _members_of(inner, member.members)


def _is_score(statement: Verdict | Member, record: _Record) -> bool:
    return statement.score is not None and (statement.requests > 0 or not record.asks_models)


def _why(record: _Record, which: str = "") -> str:
    counts = record.reasons.most_common()
    reasons = ", ".join(f"{reason.value} {count:,}" for reason, count in counts)
    before = ", nor for one that it had scored before" if record.scored else ""
    return (
        f"it gave no score for any of the {which}{record.reasons.total():,} texts ({reasons})"
        f"{before}; {advice(counts[0][0])}. An example of what came: {shape(record.example)}"
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
