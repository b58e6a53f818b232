"""What reading a reply gives: its segments, and what is known of its reasoning."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from opensafemlrm.types import TraceStatus


class SegmentKind(StrEnum):
    """What a stretch of a reply is."""

    REASONING = "reasoning"
    ANSWER = "answer"
    MARKUP = "markup"
    """Tags, the final-answer heading and message headers: neither reasoning nor answer."""


class Segment(NamedTuple):
    """A stretch of a reply; the texts of all segments, joined, are the reply."""

    kind: SegmentKind
    text: str


@dataclass(frozen=True, slots=True)
class Reading:
    """A reply read in one format. Its segments lose no character and are never empty."""

    status: TraceStatus
    segments: tuple[Segment, ...]
    format: str = ""
    """The format it was read in; empty where detection found no marks of any."""

    def text_of(self, kind: SegmentKind) -> str | None:
        """Return the text of one kind, ``None`` if blank.

        A reply that is one segment comes back as it is; otherwise each stretch loses the blank
        space around it, and stretches are joined by a blank line.
        """
        found = [text for of, text in self.segments if of is kind]
        if len(found) == 1 == len(self.segments):
            return None if found[0].isspace() else found[0]
        return "\n\n".join(filter(None, map(str.strip, found))) or None


class Builder:
    """Collects segments in order; ``upto`` takes everything that is not yet in one."""

    __slots__ = ("done", "segments", "text")

    def __init__(self, text: str) -> None:
        self.text, self.done = text, 0
        self.segments: list[Segment] = []

    def upto(self, end: int, kind: SegmentKind) -> None:
        """Add the text up to ``end`` as one segment, none if it is empty."""
        if end > self.done:
            self.segments.append(Segment(kind, self.text[self.done : end]))
            self.done = end

    def has(self, kind: SegmentKind) -> bool:
        """Whether there is any text of ``kind`` that is not blank."""
        return any(of is kind and not text.isspace() for of, text in self.segments)

    def finish(self) -> Reading:
        """Take the rest as the answer: closed where there is reasoning, absent where not."""
        self.upto(len(self.text), SegmentKind.ANSWER)
        reasoned = self.has(SegmentKind.REASONING)
        return Reading(TraceStatus.CLOSED if reasoned else TraceStatus.ABSENT, tuple(self.segments))

    def unclosed(self) -> Reading:
        """Take the rest as reasoning that never ended."""
        self.upto(len(self.text), SegmentKind.REASONING)
        return Reading(TraceStatus.UNCLOSED, tuple(self.segments))
