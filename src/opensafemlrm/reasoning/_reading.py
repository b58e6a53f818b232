"""What reading a reply gives: its segments, and what is known of its reasoning."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from opensafemlrm.types import TraceStatus

# Tokens that end a reply, where a server left them in.
_STOP_TOKENS: Final = re.compile(
    r"(?:\s*(?:<\|(?:im_end|eot_id|eom_id|endoftext|end_of_text|end_of_msg|end_of_turn|end_of_sentence"
    r"|END_OF_TURN_TOKEN|assistant_end|content_model_end_sampling|end|return|user|tts_eos)\|>"
    r"|\[\|endofturn\|\]|<｜end▁of▁sentence｜>|<end_of_turn>|<turn\|>|<(?:seed:)?eos>|</s>"
    r"|<SPECIAL_12>|\[(?:EOS|EOT|unused10)\]))+\s*\Z"
)
_STOP_REACH: Final = 200
# Blank space and what shows as none: a byte order mark, zero-width spaces and joiners.
_BLANK: Final = re.compile(r"[\s\ufeff\u200b-\u200d\u2060]*")


def is_blank(text: str) -> bool:
    """Whether ``text`` shows nothing."""
    return _BLANK.fullmatch(text) is not None


def end_of_words(text: str, start: int = 0) -> int:
    """Return where the tokens begin that end a reply, looked for from ``start`` on."""
    reach = max(start, len(text) - _STOP_REACH)
    if not text[reach:].rstrip().endswith((">", "]")):
        return len(text)  # as nearly all do: to search costs a look at each character
    stop = _STOP_TOKENS.search(text, reach)
    return len(text) if stop is None or ("</s>" in stop[0] and "<s>" in text) else stop.start()


class SegmentKind(StrEnum):
    """What a stretch of a reply is."""

    REASONING = "reasoning"
    ANSWER = "answer"
    MARKUP = "markup"
    """Tags, the final-answer heading, message headers, stop tokens: neither of the two."""
    INLINE = "inline"
    """A mark inside a sentence, which goes on behind it."""


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

    @property
    def is_marked(self) -> bool:
        """Whether a mark of the format stands in the reply; tokens that end a reply are none."""
        return any(
            kind in (SegmentKind.MARKUP, SegmentKind.INLINE) and not _STOP_TOKENS.fullmatch(text)
            for kind, text in self.segments
        )

    def text_of(self, kind: SegmentKind) -> str | None:
        """Return the text of one kind, ``None`` if blank.

        A reply that is one segment comes back as it is; otherwise each stretch loses the blank
        space around it, and stretches are joined by a blank line, or by a space where only a mark
        inside a sentence stands between them.
        """
        if len(self.segments) == 1:
            of, text = self.segments[0]
            return text if of is kind and not is_blank(text) else None
        joined = ""
        between = "\n\n"
        for of, text in self.segments:
            if of is kind and not is_blank(text):
                stretch = text.strip()
                joined = f"{joined}{between}{stretch}" if joined else stretch
                between = " "
            elif of is not kind and of is not SegmentKind.INLINE:
                between = "\n\n"
        return joined or None


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
        return any(of is kind and not is_blank(text) for of, text in self.segments)

    def finish(self) -> Reading:
        """Take the rest as the answer: closed where there is reasoning, absent where not."""
        self._end(SegmentKind.ANSWER)
        reasoned = self.has(SegmentKind.REASONING)
        return Reading(TraceStatus.CLOSED if reasoned else TraceStatus.ABSENT, tuple(self.segments))

    def unclosed(self) -> Reading:
        """Take the rest as reasoning that never ended."""
        self._end(SegmentKind.REASONING)
        return Reading(TraceStatus.UNCLOSED, tuple(self.segments))

    def _end(self, kind: SegmentKind) -> None:
        """Take in the rest of the text, but for the tokens that end a reply."""
        self.upto(end_of_words(self.text, self.done), kind)
        self.upto(len(self.text), SegmentKind.MARKUP)
