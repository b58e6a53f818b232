"""Which tags of a reply count, since replies also talk about tags."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Final

_QUOTES: Final = frozenset(("''", '""', "“”", "‘’", "«»", "„“", "「」", "『』"))
_STOPS: Final = frozenset(",.;:)?!")
_FENCE: Final = re.compile(r"^ {0,8}```+([^\n`]*)$", re.MULTILINE)
# How far a line is looked at around a tag, in characters. A bound keeps hostile text linear.
_REACH: Final = 200


@dataclass(frozen=True, slots=True)
class TagFormat:
    """The tags of a format: pairs around reasoning, pairs around the answer."""

    reasoning: tuple[tuple[str, str], ...]
    answer: tuple[tuple[str, str], ...] = ()
    prefilled: bool = False
    """The template wrote the opening tag: the reply starts inside reasoning."""
    staged: bool = False
    """Reasoning comes in stages: without an answer after them it has not ended."""
    openers: dict[str, str] = field(init=False)
    closers: frozenset[str] = field(init=False)
    answer_openers: frozenset[str] = field(init=False)
    pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        tags = sorted({tag for pair in (*self.reasoning, *self.answer) for tag in pair})
        for name, value in (
            ("openers", dict(self.reasoning)),
            ("closers", frozenset(close for _, close in self.reasoning)),
            ("answer_openers", frozenset(opener for opener, _ in self.answer)),
            ("pattern", re.compile("|".join(map(re.escape, tags)))),
        ):
            object.__setattr__(self, name, value)


class Marks:
    """Decides which tags of one text count. Every question takes time bounded by ``_REACH``."""

    __slots__ = ("_code", "_exhausted", "_tags", "_text", "_ticks", "_truncated", "rejected")

    def __init__(self, text: str, tags: TagFormat, *, truncated: bool) -> None:
        self._text, self._tags, self._truncated = text, tags, truncated
        self._ticks = "`" in text
        self._code = _code_regions(text) if self._ticks else []
        self._exhausted: set[str] = set()
        self.rejected = -1
        """Where the last opening tag that did not count ends."""

    def block_end(self, start: int, closer: str) -> tuple[int, int] | None:
        """Return the span that ends the block open at ``start``, ``None`` if it never ends."""
        fallback: tuple[int, int] | None = None
        for tag in self._tags.pattern.finditer(self._text, start):
            name = tag[0]
            if name == closer:
                if self.quoted(*tag.span()):
                    continue
                if not self.mentioned(*tag.span()):
                    return tag.span()
                if fallback is None and not self._truncated:
                    fallback = tag.span()
            elif (
                fallback is None and name in self._tags.answer_openers and self.counts(*tag.span())
            ):
                fallback = (tag.start(), tag.start())
            # The rest of the text was looked through before: no better end will come.
            if fallback is not None and closer in self._exhausted:
                return fallback
        self._exhausted.add(closer)
        return fallback

    def counts(self, start: int, end: int) -> bool:
        """Whether the tag at ``start:end`` is one, not a word about one."""
        return not self.quoted(start, end) and not self.mentioned(start, end)

    def quoted(self, start: int, end: int) -> bool:
        """Whether the tag stands in code or in quotation marks."""
        text = self._text
        if start > 0 and end < len(text) and text[start - 1] + text[end] in _QUOTES:
            return True
        if not self._ticks:
            return False
        region = bisect_right(self._code, (start, len(text))) - 1
        if region >= 0 and start < self._code[region][1]:
            return True
        return self._line_before(start).count("`") % 2 == 1 and "`" in self._line_after(end)

    def mentioned(self, start: int, end: int) -> bool:
        """Whether a sentence runs through the tag."""
        if start == 0 or self._text[start - 1] not in " \t":
            return False
        before = self._line_before(start).rstrip()
        if not before or not (before[-1].isalnum() or before[-1] in ",("):
            return False
        after = self._line_after(end)
        word = after.lstrip()
        return after[:1] in _STOPS if word == after else word[:1].islower()

    def follows_rejected(self, start: int) -> bool:
        """Whether an opening tag that did not count stands on the same line, close before."""
        return (
            0 <= self.rejected >= start - _REACH
            and self._text.find("\n", self.rejected, start) == -1
        )

    def _line_before(self, start: int) -> str:
        return self._text[max(0, start - _REACH) : start].rpartition("\n")[2]

    def _line_after(self, end: int) -> str:
        return self._text[end : end + _REACH].partition("\n")[0]


def _code_regions(text: str) -> list[tuple[int, int]]:
    """Return the spans of closed code fences.

    A fence with a language after it always opens: an earlier one that is still open was left
    open by mistake, and is taken for text, so that it cannot hide the end of the reasoning.
    """
    regions: list[tuple[int, int]] = []
    opened: int | None = None
    for fence in _FENCE.finditer(text):
        if opened is None or fence[1].strip():
            opened = fence.start()
        else:
            regions.append((opened, fence.end()))
            opened = None
    return regions
