"""Formats that mark reasoning by pairs of tags, such as ``<think>…</think>``.

Which tags count, since replies also talk about tags:

* A tag inside a closed code fence, inside inline code or in quotation marks is *quoted*.
* A tag that a sentence runs through (``the </think> tag, called </think>.``: a word and a space
  before it, and after it a stop, or a space and a lower case letter) is *mentioned*.
* Neither counts, with two exceptions: where the closing tag is one token of its own, a model that
  writes it has ended its thought; and an end that does not count still ends a block that has no
  other, so that no answer is lost, unless the reply was cut.
* An opening tag inside an open block is text, unless it only repeats the one before. A block ends
  at the end that belongs to it, as thoughts nest, or at the last of several ends that have no
  beginning of their own, as models write an end twice.
* An end without a beginning ends reasoning that the chat template opened, once, where no block
  came before it. Later lone ends are text, as servers treat them.
* An answer tag, or the call of a tool, ends an open block where no end was found: models forget
  ``</think>``. A cut reply has no answer that its reasoning does not end before. Where the tags are
  special tokens, an answer tag is none that the model only wrote about: it ends a block at once.
* A word that every thought begins with, such as ``thought``, is markup.

Everything outside reasoning blocks is what a user sees, and so is the answer.
"""

from __future__ import annotations

import re

from opensafemlrm.reasoning._marks import Marks, Tag, TagSet, Use
from opensafemlrm.reasoning._reading import Builder, Reading, SegmentKind, is_blank
from opensafemlrm.reasoning.formats import Format
from opensafemlrm.types import TraceStatus


def read_tags(
    text: str, form: Format, *, named: bool, truncated: bool, served: bool = False
) -> Reading:
    """Read ``text`` in a format of tags.

    ``named`` says that the format is known from elsewhere, so that a lone end in mid-sentence is
    taken where there is no better one, whatever its sentence says; ``truncated`` that the reply
    was cut, so that it is not; ``served`` that a server took reasoning out of the text before, so
    that what stands before an answer tag is none.
    """
    if not (named or form.prefilled) and TagSet.of(form).pattern.search(text) is None:
        return Builder(text).finish()  # a reply may well have thought, and no tag of that name
    return _Reader(text, form, named=named, truncated=truncated, served=served).read()


class _Reader:
    """Goes from tag to tag, in or out of a reasoning block."""

    __slots__ = (
        *("_form", "_has_answers", "_inside", "_marks", "_named", "_next", "_out", "_rejected"),
        *("_served", "_settled"),
    )

    def __init__(
        self, text: str, form: Format, *, named: bool, truncated: bool, served: bool
    ) -> None:
        sorts = TagSet.of(form)
        self._form, self._named, self._served, self._out = form, named, served, Builder(text)
        self._marks = Marks(text, form, sorts, truncated=truncated)
        # Plain answer tags alone may stand in any reply: they are marks of a format that is known.
        plain = form.loose and not form.staged and not (named or served)
        self._has_answers = not plain or any(
            tag.use is Use.COUNTS and tag.name not in sorts.answer_tags for tag in self._marks.tags
        )
        self._next = 0  # the number of the next tag
        self._settled = False  # whether it is known how this reply begins
        self._rejected: int | None = None  # where the last opening tag that did not count ends
        self._inside: str | None = None  # the end tag of the open block
        # A label without its tag: the server stripped it, and the end with it.
        stripped = named and not self._marks.tags and self._label_end(0) > 0
        if stripped or (form.prefilled and not self._opens()):
            self._inside = form.blocks[0][1]

    def _opens(self) -> bool:
        """Whether the reply begins with an opening tag."""
        tags = self._marks.tags
        return (
            bool(tags)
            and tags[0].name in self._marks.sorts.openers
            and is_blank(self._out.text[: tags[0].start])
        )

    def _label_end(self, start: int) -> int:
        """Return where the label that may stand at ``start`` ends; ``start`` if none does."""
        if not self._form.label:
            return start
        label = re.escape(self._form.label)
        match = re.compile(rf"\s{{0,3}}{label}(?:\s{{0,3}}\n|(?=<|\Z))").match(
            self._out.text, start
        )
        return match.end() if match else start

    def read(self) -> Reading:
        out, tags = self._out, self._marks.tags
        while True:
            if self._inside is not None:
                end = self._marks.block_end(self._next, self._inside)
                if end is None:
                    self._skip_label()
                    return out.unclosed()
                self._end_reasoning(*end)
            if self._next == len(tags):
                break
            self._next += 1
            self._meet(tags[self._next - 1])
        self._take_mentioned_end()
        reading = out.finish()
        if self._form.staged and out.has(SegmentKind.REASONING) and not out.has(SegmentKind.ANSWER):
            return Reading(TraceStatus.UNCLOSED, reading.segments)
        return reading

    def _meet(self, tag: Tag) -> None:
        """Take in a tag that stands outside reasoning blocks."""
        sorts, out = self._marks.sorts, self._out
        if tag.name in sorts.closers and tag.name not in sorts.answer_closers:
            if not self._settled:
                self._meet_lone_end(tag)
            elif self._marks.ends_reply(tag) and tag.use is Use.COUNTS:
                out.upto(tag.start, SegmentKind.ANSWER)
                out.upto(tag.end, SegmentKind.MARKUP)
        elif tag.use is not Use.COUNTS or not self._is_mark(tag):
            if tag.name in sorts.openers:
                self._rejected = tag.end
        elif tag.name in sorts.inline:
            out.upto(tag.start, SegmentKind.ANSWER)
            out.upto(tag.end, SegmentKind.INLINE)
        else:
            # Before the first answer tag, in a reply without any other, stands the reasoning.
            bare = (
                tag.name in sorts.answer_openers
                and not (self._settled or self._served)
                and self._marks.ends_with_answer
            )
            out.upto(tag.start, SegmentKind.REASONING if bare else SegmentKind.ANSWER)
            out.upto(tag.end, SegmentKind.MARKUP)
            self._open(tag)

    def _is_mark(self, tag: Tag) -> bool:
        sorts = self._marks.sorts
        return tag.name not in sorts.tool_calls and (
            self._has_answers or tag.name not in sorts.answer_tags
        )

    def _open(self, tag: Tag) -> None:
        self._inside = self._marks.sorts.openers.get(tag.name)
        self._settled = True
        tags = self._marks.tags
        while (
            self._inside is not None
            and self._next < len(tags)
            and tags[self._next].name == tag.name
            and is_blank(self._out.text[self._out.done : tags[self._next].start])
        ):
            self._out.upto(tags[self._next].end, SegmentKind.MARKUP)
            self._next += 1
        if self._inside is not None:
            self._skip_label()

    def _skip_label(self) -> None:
        """Take the label of the block that begins here for markup."""
        self._out.upto(self._label_end(self._out.done), SegmentKind.MARKUP)

    def _meet_lone_end(self, tag: Tag) -> None:
        if tag.use is Use.COUNTS and not self._follows_rejected(tag):
            self._end_reasoning(*self._marks.last_end(self._next - 1, tag.name))

    def _follows_rejected(self, tag: Tag) -> bool:
        """Whether an opening tag that did not count stands on the same line, close before."""
        return self._rejected is not None and self._marks.on_one_line(self._rejected, tag.start)

    def _take_mentioned_end(self) -> None:
        """End the reasoning at a lone end in mid-sentence, for want of a better one."""
        if self._settled or self._marks.is_cut:
            return
        rejected: int | None = None
        for number, tag in enumerate(self._marks.tags):
            if tag.name in self._marks.sorts.openers:
                rejected = tag.end
            elif (
                tag.name in self._marks.sorts.closers
                and tag.use is Use.MENTIONED
                and tag.start >= self._out.done
                and not (rejected is not None and self._marks.on_one_line(rejected, tag.start))
                and (self._named or not self._marks.is_talk(tag))
            ):
                self._end_reasoning(tag.start, tag.end, number + 1)
                return

    def _end_reasoning(self, start: int, end: int, following: int) -> None:
        if self._out.done == 0:
            self._skip_label()
        self._out.upto(start, SegmentKind.REASONING)
        self._out.upto(end, SegmentKind.MARKUP)
        self._inside, self._settled, self._next = None, True, following
