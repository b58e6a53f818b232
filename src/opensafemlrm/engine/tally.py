"""How samples end, and how many of a cell ended how."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Final

from opensafemlrm.types import Response, ResponseStatus, Trace

MAX_NOTES: Final = 20
"""Reasons kept per cell for samples that failed or were not sent; the rest are only counted."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a sample, up to its verdicts."""

    response: Response | None
    """``None`` where the attack or the defense cannot be applied: nothing was sent."""
    trace: Trace | None = None
    """The reply, parsed; ``None`` where there is none."""
    reason: str = ""
    """Why nothing was sent."""

    @property
    def to_judge(self) -> Trace | None:
        """What a judge is to score: the reply, if it is a whole answer."""
        whole = self.response is not None and self.response.status is ResponseStatus.OK
        return self.trace if whole else None


@dataclass(slots=True)
class Tally:
    """How the samples of one cell ended so far."""

    stored: int = 0
    """Done before this run began."""
    stored_failed: int = 0
    """Of them, those that failed for good."""
    ok: int = 0
    truncated: int = 0
    blocked: int = 0
    failed: int = 0
    judged: int = 0
    unscored: int = 0
    """Parts that have text and yet no score."""
    not_applicable: int = 0
    """Nothing was sent: an attack or a defense cannot be applied, or an image cannot be read."""
    notes: list[str] = field(default_factory=list)

    @property
    def ended(self) -> int:
        """Samples that need nothing more."""
        without_verdicts = self.truncated + self.blocked + self.failed + self.not_applicable
        return self.stored + self.judged + without_verdicts

    @property
    def only_failed(self) -> bool:
        """Whether samples failed, now or before, and none ended in any other way."""
        others = self.stored - self.stored_failed + self.ok + self.truncated + self.blocked
        return self.failed + self.stored_failed > 0 and not others

    @property
    def only_unsent(self) -> bool:
        """Whether there were prompts that could not be sent, and none that could."""
        return self.not_applicable > 0 and self.not_applicable == self.ended

    def count(self, outcome: Outcome) -> None:
        """Count a sample, before it is judged."""
        response = outcome.response
        if response is None:
            self.skip(outcome.reason)
        elif response.status is ResponseStatus.OK:
            self.ok += 1
        elif response.status is ResponseStatus.TRUNCATED:
            self.truncated += 1
        elif response.status is ResponseStatus.BLOCKED:
            self.blocked += 1
        else:
            self.failed += 1
            self._note(f"{response.code}: {response.detail}")

    def skip(self, reason: str) -> None:
        """Count a sample for which nothing is sent."""
        self.not_applicable += 1
        self._note(reason)

    def add(self, other: Tally) -> None:
        """Add what another process counted."""
        for counter in fields(self):
            if counter.name != "notes":
                total = getattr(self, counter.name) + getattr(other, counter.name)
                setattr(self, counter.name, total)
        for note in other.notes:
            self._note(note)

    def _note(self, text: str) -> None:
        if len(self.notes) < MAX_NOTES:
            self.notes.append(text)
