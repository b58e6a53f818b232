"""Formats that mark reasoning by pairs of tags, such as ``<think>…</think>``.

Which tags count, since replies also talk about tags:

* A tag inside a closed code fence, inside inline code or in quotation marks is *quoted*: it never
  counts.
* A tag that a sentence runs through (``the </think> tag, called </think>.``: a word and a space
  before it, and after it a stop, or a space and a lower case letter) is *mentioned*. It does not
  count, unless a block is open, no other end is found and the reply was not cut.
* An opening tag inside an open block is text: blocks do not nest, the first end ends them.
* An end without a beginning ends reasoning that the chat template opened, once, where no block
  came before it. Later lone ends are text, as servers treat them.
* An answer tag ends an open block where no end was found: models forget ``</think>``.

Everything outside reasoning blocks is what a user sees, and so is the answer.
"""

from __future__ import annotations

from collections.abc import Iterable

from opensafemlrm.reasoning._marks import Marks, TagFormat
from opensafemlrm.reasoning._reading import Builder, Reading, SegmentKind
from opensafemlrm.types import TraceStatus


def read_tags(text: str, tags: TagFormat, *, named: bool, truncated: bool) -> Reading:
    """Read ``text`` in a format of tags.

    ``named`` says that the format is known from elsewhere, so that a lone end in mid-sentence is
    taken where there is no better one; ``truncated`` that the reply was cut, so that it is not.
    """
    return _Reader(text, tags, named=named, truncated=truncated).read()


class _Reader:
    """Goes from tag to tag, in or out of a reasoning block."""

    __slots__ = ("_at", "_guess", "_inside", "_marks", "_mentioned", "_out", "_settled", "_tags")

    def __init__(self, text: str, tags: TagFormat, *, named: bool, truncated: bool) -> None:
        self._tags, self._out = tags, Builder(text)
        self._marks = Marks(text, tags, truncated=truncated)
        self._at = 0
        self._settled = False  # whether it is known how this reply begins
        self._guess = named and not truncated
        self._mentioned: tuple[int, int] | None = None  # a lone end, for want of a better one
        opener, closer = tags.reasoning[0]
        prefilled = tags.prefilled and not text.lstrip().startswith(opener)
        self._inside = closer if prefilled else None  # the end tag of the open block

    def read(self) -> Reading:
        out, text = self._out, self._out.text
        while True:
            if self._inside is not None:
                end = self._marks.block_end(self._at, self._inside)
                if end is None:
                    return out.unclosed()
                self._end_reasoning(*end)
            tag = self._tags.pattern.search(text, self._at)
            if tag is not None:
                self._at = tag.end()
                self._meet(tag.start(), tag.end(), tag[0])
            elif self._mentioned is not None and not self._settled:
                self._end_reasoning(*self._mentioned)
            else:
                break
        out.upto(len(text), SegmentKind.ANSWER)
        if self._tags.staged and out.has(SegmentKind.REASONING) and not out.has(SegmentKind.ANSWER):
            return Reading(TraceStatus.UNCLOSED, tuple(out.segments))
        return out.finish()

    def _meet(self, start: int, end: int, name: str) -> None:
        """Take in a tag that stands outside reasoning blocks."""
        marks = self._marks
        if name in self._tags.closers:
            if not self._settled:
                self._meet_lone_end(start, end)
        elif not marks.counts(start, end):
            if name in self._tags.openers:
                marks.rejected = end
        else:
            # Before the first answer tag, in a reply without any other, stands the reasoning.
            bare = not self._settled and name in self._tags.answer_openers
            self._out.upto(start, SegmentKind.REASONING if bare else SegmentKind.ANSWER)
            self._out.upto(end, SegmentKind.MARKUP)
            self._inside = self._tags.openers.get(name)
            self._settled = True

    def _meet_lone_end(self, start: int, end: int) -> None:
        marks = self._marks
        if marks.quoted(start, end) or marks.follows_rejected(start):
            return
        if not marks.mentioned(start, end):
            self._end_reasoning(start, end)
        elif self._guess and self._mentioned is None:
            self._mentioned = (start, end)

    def _end_reasoning(self, start: int, end: int) -> None:
        self._out.upto(start, SegmentKind.REASONING)
        self._out.upto(end, SegmentKind.MARKUP)
        self._inside, self._settled, self._at = None, True, end


def unwrap(text: str, pairs: Iterable[tuple[str, str]]) -> str:
    """Return ``text`` without the answer tags that enclose all of it, whichever they are."""
    inner = text.strip()
    for opener, closer in pairs:
        if inner.startswith(opener) and inner.endswith(closer):
            inner = inner[len(opener) : -len(closer)].strip()
            text = inner
    return text
