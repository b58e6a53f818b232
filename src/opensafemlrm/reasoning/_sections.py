"""Formats that mark the answer in free text: by a heading, or by a box."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from opensafemlrm.reasoning._reading import Builder, Reading, SegmentKind

_BOX: Final = "\\boxed{"
_BRACE: Final = re.compile(r"\\.|[{}]", re.DOTALL)
_NO_WORDS: Final = re.compile(r"[\W_]*")
_FLAGS: Final = re.IGNORECASE | re.MULTILINE


@dataclass(frozen=True, slots=True)
class HeadingFormat:
    """A heading before the answer, and for some formats headings that begin the reasoning."""

    final: re.Pattern[str]
    begins: re.Pattern[str] | None = None
    words: tuple[str, ...] = ()
    """Words in lower case, some of which stand in every heading; none given: look at every text."""

    def may_be_in(self, text: str) -> bool:
        """Whether there is any point in looking for a heading: mostly there is none."""
        if not self.words or not text.isascii():  # other alphabets have more than one lower case
            return True
        lowered = text.lower()
        return any(words in lowered for words in self.words)


def _titled(words: str) -> re.Pattern[str]:
    """Match a line that begins with ``words`` as a heading, in bold, or before a colon."""
    return re.compile(
        rf"^ {{0,3}}(?:(?:#{{1,6}} {{0,3}}(?:\*\*)?|\*\*)(?:{words}):?(?:\*\*)?:?|(?:{words}):)",
        _FLAGS,
    )


MULBERRY: Final = HeadingFormat(
    final=re.compile(r"^ {0,3}#{1,6} {0,3}the final answer is {0,3}:?", _FLAGS),
    begins=re.compile(
        r"^ {0,3}#{1,6} {0,3}(?:image description|rationales|let['’]s think step by step)", _FLAGS
    ),
    words=("the final answer is", "image description", "rationales", "s think step by step"),
)
QVQ: Final = HeadingFormat(final=_titled("(?:the )?final answer(?: is)?"))
LLAMAV_O1: Final = HeadingFormat(final=_titled("conclusion|final answer"))


def read_headings(text: str, headings: HeadingFormat, *, truncated: bool) -> Reading:
    """Read ``text`` up to its last final heading as reasoning, what follows as the answer.

    Without that heading: reasoning that never ended, if a heading began it or if free text was
    cut; else the model ended its reply without reasoning, and all of it is the answer.
    """
    out = Builder(text)
    final = max(headings.final.finditer(text), key=re.Match.start, default=None)
    if final is None:
        began = headings.begins.search(text) is not None if headings.begins else truncated
        return out.unclosed() if began else out.finish()
    out.upto(final.start(), SegmentKind.REASONING)
    out.upto(final.end(), SegmentKind.MARKUP)
    return out.finish()


def read_boxed(text: str, *, truncated: bool) -> Reading:
    r"""Read the content of the last ``\boxed{…}`` and what follows it as the answer.

    Without a box: reasoning that never ended if the reply was cut, else all is the answer.
    """
    out = Builder(text)
    start = text.rfind(_BOX)
    if start == -1:
        return out.unclosed() if truncated else out.finish()
    inner = start + len(_BOX)
    while start and text[start - 1] == "$":
        start -= 1
    out.upto(start, SegmentKind.REASONING)
    out.upto(inner, SegmentKind.MARKUP)
    close = _closing_brace(text, inner)
    out.upto(close, SegmentKind.ANSWER)
    # What closes the box and ends the sentence is markup; words after it belong to the answer.
    rest = _NO_WORDS.match(text, close)
    out.upto(rest.end() if rest else close, SegmentKind.MARKUP)
    return out.finish()


def _closing_brace(text: str, start: int) -> int:
    depth = 1
    for brace in _BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if depth == 0:
            return brace.start()
    return len(text)
