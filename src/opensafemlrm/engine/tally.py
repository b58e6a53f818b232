"""How the samples of a cell ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

MAX_NOTES: Final = 20
"""Reasons kept per cell for items that could not be used; the rest are only counted."""


@dataclass(slots=True)
class Tally:
    """How the samples of one cell ended so far."""

    samples: int = 0
    stored: int = 0
    """Done before this run began."""
    ok: int = 0
    truncated: int = 0
    blocked: int = 0
    failed: int = 0
    judged: int = 0
    unscored: int = 0
    """Parts that have text and yet no score."""
    inapplicable: int = 0
    bad: int = 0
    """Items left out because an image could not be decoded (only with skip_bad)."""
    notes: list[str] = field(default_factory=list)

    @property
    def ended(self) -> int:
        """Samples that need nothing more."""
        return self.stored + self.judged + self.truncated + self.blocked + self.failed + self.lost

    @property
    def lost(self) -> int:
        """Samples for which nothing was sent."""
        return self.inapplicable + self.bad

    def note(self, text: str) -> None:
        """Keep a reason, unless there are many already."""
        if len(self.notes) < MAX_NOTES:
            self.notes.append(text)
