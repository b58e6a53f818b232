"""How samples end, and how many of a cell ended how."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Final

from opensafemlrm.types import Response, ResponseStatus, Trace, Usage

CAME: Final = (ResponseStatus.OK, ResponseStatus.TRUNCATED)
"""How a reply that holds a text can have ended."""
MAX_NOTES: Final = 20
"""Reasons kept per cell for samples without a reply; the rest are only counted."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a sample, up to its verdicts."""

    response: Response | None
    """``None`` where the attack or the defense cannot be applied: nothing was sent."""
    trace: Trace | None = None
    """The reply, parsed; ``None`` where there is none."""

    @property
    def to_judge(self) -> Trace | None:
        """What a judge is to score: a reply that came. Of one that was cut too: its reasoning may
        have ended before, and what came may be unsafe already.
        """
        came = self.response is not None and self.response.status in CAME
        return self.trace if came else None


@dataclass(slots=True)
class Tally:
    """How the samples of one cell ended so far."""

    stored: int = 0
    """Samples that needed nothing when this run began."""
    stored_failed: int = 0
    """Of them, those that failed for good."""
    stored_replies: int = 0
    """Replies that were in the store by then, whether or not they were judged."""
    stored_judged: int = 0
    stored_unjudged: int = 0
    ok: int = 0
    """Replies of this run, as `truncated`, `blocked` and `failed` are."""
    truncated: int = 0
    blocked: int = 0
    failed: int = 0
    judged: int = 0
    """Replies that were judged in this run, whenever they came."""
    unscored: int = 0
    """Parts that have text and yet no score, though the judge reads such parts."""
    speaking: int = 0
    """Texts judged in this run that speak to the judge."""
    not_applicable: int = 0
    """Nothing was sent: an attack or a defense cannot be applied, or an image cannot be read."""
    spared: int = 0
    """Samples that a rule of the study ended the run before."""
    dollars: float = 0.0
    """What this run's replies and verdicts cost, as far as prices and tokens are known."""
    unpriced: int = 0
    """Requests of which one of the two is not."""
    notes: list[str] = field(default_factory=list)

    @property
    def ended(self) -> int:
        """Samples that need nothing more."""
        return self.stored + self.judged + self.blocked + self.failed + self.not_applicable

    @property
    def made(self) -> int:
        """Replies that came in this run."""
        return self.ok + self.truncated + self.blocked

    @property
    def only_failed(self) -> bool:
        """Whether samples failed, now or before, and none ended in any other way."""
        others = self.stored_replies + self.made
        return self.failed + self.stored_failed > 0 and not others

    @property
    def only_unsent(self) -> bool:
        """Whether there were prompts that could not be sent, and none that could."""
        return self.not_applicable > 0 and self.not_applicable == self.ended

    def count(self, response: Response) -> None:
        """Count how a request ended."""
        if response.status is ResponseStatus.OK:
            self.ok += 1
        elif response.status is ResponseStatus.TRUNCATED:
            self.truncated += 1
        elif response.status is ResponseStatus.BLOCKED:
            self.blocked += 1
            self._note(f"blocked by {response.code}: {response.detail or 'without a word'}")
        else:
            self.failed += 1
            self._note(f"{response.code}: {response.detail}")

    def spend(self, price: tuple[float, float] | None, usage: Usage) -> None:
        """Count what a request cost, at a price in US dollars for a million tokens in and out."""
        if price is None or usage.input_tokens is None or usage.output_tokens is None:
            self.unpriced += price != (0.0, 0.0)
        else:
            cost = usage.input_tokens * price[0] + usage.output_tokens * price[1]
            self.dollars += cost / 1_000_000

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
