"""Which tags of a reply count, since replies also talk about tags."""

from __future__ import annotations

import itertools
import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Final, NamedTuple

from opensafemlrm.reasoning._reading import end_of_words, is_blank
from opensafemlrm.reasoning.formats import Format

_PAIRED_QUOTES: Final = frozenset(("“”", "‘’", "«»", "„“", "「」", "『』"))
_PLAIN_QUOTES: Final = frozenset(("''", '""'))
_QUOTES: Final = _PAIRED_QUOTES | _PLAIN_QUOTES | {"()"}
_STOPS: Final = frozenset(",.;:)?!")
# At the beginning of a line, or right behind a tag.
_FENCE: Final = re.compile(r"(?:^ {0,8}|(?<=[>▷\]]))```+([^\n`]*)$", re.MULTILINE)
_TICK: Final = re.compile(r"(?<![^\W\d_])`|`(?![^\W\d_])")  # not one that stands for an apostrophe
_XML: Final = re.compile(r"<(/?)([\w:-]+)>")
# How far a line is looked at around a tag, in characters. A bound keeps hostile text linear.
_REACH: Final = 200
_WORD: Final = re.compile(r"[^\W_]+")
# Words beside a tag that is talked about, not used.
_TALK_BEFORE: Final = frozenset(
    _WORD.findall(
        "a an each every no of or the this and as like named add called emit end forget insert "
        "missing output print put type use using write writes closing final opening tag tags token "
        "after at before by in to via with without"
    )
)
_TALK_AFTER: Final = frozenset(
    _WORD.findall(
        "element mark marker marks tag tags token tokens and or to appears are closes comes ends "
        "is means must should was"
    )
)
# Words that say so even where the tag begins the line.
_TALK_OF: Final = frozenset(_WORD.findall("is are means tag tags element elements token tokens"))
# What begins a call of a tool: a thought that was left open has ended before it.
_TOOL_CALLS: Final = (
    *("<tool_call>", "<tool_calls>", "<|tool_call:start|>", "<|tool_calls_section_begin|>"),
    *("<|tools_prefix|>", "<|START_ACTION|>", "<|open|>tools<|sep|>", "[TOOL_CALLS]"),
)


class Use(Enum):
    """How a reply uses a tag."""

    COUNTS = "it is one"
    MENTIONED = "a sentence runs through it"
    QUOTED = "it stands in code or in quotation marks"


class Tag(NamedTuple):
    """A tag as it stands in a reply."""

    start: int
    end: int
    name: str
    """As the format spells it."""
    use: Use


@dataclass(frozen=True, slots=True)
class TagSet:
    """The tags of a format, ready to be searched for."""

    openers: dict[str, str]
    closers: frozenset[str]
    answer_openers: frozenset[str]
    answer_closers: frozenset[str]
    inline: frozenset[str]
    tool_calls: frozenset[str]
    answer_tags: frozenset[str]
    """Tags around the answer, and the tools' as well."""
    names: tuple[str, ...]
    pattern: re.Pattern[str]

    @classmethod
    @lru_cache(maxsize=256)
    def of(cls, form: Format) -> TagSet:
        """Compile the tags of ``form``, once."""
        tags = {tag for pair in (*form.blocks, *form.answers) for tag in pair} | set(form.inline)
        # What all tags begin with stands before the choice: it is searched for many times faster.
        firsts = {tag[0] for tag in tags}
        first = firsts.pop() if len(firsts) == 1 else ""
        calls = {tag for tag in _TOOL_CALLS if tag[0] == first} - tags
        names = tuple(sorted(tags | calls, key=len, reverse=True))  # the longest first
        choice = "|".join(
            f"({_tag_pattern(name, loose=form.loose, skipped=len(first))})" for name in names
        )
        return cls(
            dict(form.blocks),
            frozenset(closer for _, closer in form.blocks),
            frozenset(opener for opener, _ in form.answers),
            frozenset(closer for _, closer in form.answers),
            frozenset(form.inline),
            frozenset(calls),
            frozenset(tag for pair in form.answers for tag in pair) | calls,
            names,
            re.compile(f"{re.escape(first)}(?:{choice})"),
        )


def _tag_pattern(tag: str, *, loose: bool, skipped: int) -> str:
    """Return a pattern for ``tag`` less its first ``skipped`` characters (one or none)."""
    xml = _XML.fullmatch(tag) if loose else None
    if xml is None:
        # Servers may put spaces between special tokens and what stands between them.
        return re.sub(r"(?<=>)(?=\w)|(?<=\w)(?=<)", r"\\s{0,2}", re.escape(tag[skipped:]))
    # Hunyuan's tags may bear a suffix: <think:opensource>.
    name = rf"{re.escape(xml[2])}(?::[\w-]{{1,40}})?"
    rest = (
        rf"\s{{0,2}}(?:[/\\]\s{{0,2}}{name}|{name}\s?/)\s{{0,2}}>"
        if xml[1]
        else rf"\s{{0,2}}{name}(?:\s[^<>/]{{0,80}})?>"
    )
    return ("" if skipped else "<") + f"(?i:{rest})"


class Marks:
    """The tags of one text, and the ends of its blocks. Takes time linear in the text."""

    __slots__ = (
        *("_code", "_fences", "_form", "_matches", "_no_end", "_no_spare", "_stop", "_text"),
        *("_ticks", "_truncated", "sorts", "tags"),
    )

    def __init__(self, text: str, form: Format, sorts: TagSet, *, truncated: bool) -> None:
        self._text, self._form, self._truncated, self.sorts = text, form, truncated, sorts
        self._ticks = "`" in text
        self._stop = end_of_words(text)
        # Ends, and what stands in for one, that no later search will find: keeps the search linear.
        self._no_end: set[str] = set()
        self._no_spare: set[str] = set()
        self._fences: list[int] = []
        self._code: list[tuple[int, int]] = []
        if self._ticks:
            self._find_code()
        self.tags = [
            Tag(*tag.span(), sorts.names[(tag.lastindex or 1) - 1], self._use(*tag.span()))
            for tag in sorts.pattern.finditer(text)
        ]
        self._quote_elements()
        self._matches = self._matched()

    def block_end(self, at: int, closer: str) -> tuple[int, int, int] | None:
        """Return the span that ends the block open before tag number ``at``, and the next tag.

        ``None`` if the block never ends. An end that is talked about, an answer that begins, and at
        last an end in quotation marks stand in for a missing one, unless the reply was cut.
        """
        tags, sorts = self.tags, self.sorts
        matched = self._matches.get(at - 1, 0)
        spare: tuple[int, int, int] | None = None
        quoted: tuple[int, int, int] | None = None
        if self._truncated and closer in self._no_end:
            return None
        for number in range(at, len(tags)):
            tag = tags[number]
            if tag.name == closer:
                if tag.use is Use.COUNTS or self._form.one_token:
                    if spare and self._ends_answer(number) and not self._truncated:
                        return spare
                    nested = matched > number and not self.ends_reply(tags[matched])
                    return self.last_end(matched if nested else number, closer)
                if tag.use is Use.MENTIONED:
                    spare = spare or (tag.start, tag.end, number + 1)
                else:
                    quoted = quoted or (tag.start, tag.end, number + 1)
            elif tag.use is Use.COUNTS and (
                tag.name in sorts.answer_openers or tag.name in sorts.tool_calls
            ):
                spare = spare or (tag.start, tag.start, number)
                if self._form.special:
                    return spare
            if closer in self._no_end and (spare or (quoted and closer in self._no_spare)):
                return spare or quoted
        self._no_end.add(closer)
        if spare is None:
            self._no_spare.add(closer)
        return None if self._truncated else spare or quoted or self._closing_box(at)

    def _ends_answer(self, number: int) -> bool:
        """Whether an end, by its number, stands behind marked answer alone and ends the reply."""
        before = self.tags[number - 1]
        return (
            before.name in self.sorts.answer_closers
            and self.ends_reply(self.tags[number])
            and self._is_blank(before.end, self.tags[number].start)
        )

    def last_end(self, number: int, closer: str) -> tuple[int, int, int]:
        """Return the span of an end, moved on to a later one that has no beginning of its own.

        A thought that nests another, or that ends twice, ends at its last end; one with nothing
        behind it ends the reply instead, and no thought.
        """
        last = number
        for later in range(number + 1, len(self.tags)):
            tag = self.tags[later]
            if tag.use is not Use.COUNTS or tag.name in self.sorts.inline:
                continue
            if tag.name != closer or tag.name in self.sorts.answer_closers:
                break
            if self.ends_reply(tag):
                break
            last = later
        first = last
        while first > number and self._is_blank(self.tags[first - 1].end, self.tags[first].start):
            first -= 1
        return self.tags[first].start, self.tags[last].end, last + 1

    def _is_blank(self, start: int, end: int) -> bool:
        return not self._text[start:end].strip()

    def ends_reply(self, tag: Tag) -> bool:
        """Whether no words stand behind ``tag``."""
        return tag is self.tags[-1] and _WORD.search(self._text, tag.end, self._stop) is None

    @property
    def ends_with_answer(self) -> bool:
        """Whether no words stand behind the marks around the answer, or it is left open."""
        for tag in reversed(self.tags):
            if tag.name in self.sorts.answer_closers:
                return _WORD.search(self._text, tag.end, self._stop) is None
        return True

    def _closing_box(self, at: int) -> tuple[int, int, int] | None:
        """Return the place before a box that ends the reply: the answer of a thought left open."""
        if len(self._form.inline) != 2 or len(self.tags) < at + 2:
            return None
        first, last = self.tags[-2:]
        if (first.name, last.name) != self._form.inline or not self.ends_reply(last):
            return None
        return first.start, first.start, len(self.tags) - 2

    @property
    def is_cut(self) -> bool:
        """Whether the reply was cut."""
        return self._truncated

    def is_talk(self, tag: Tag) -> bool:
        """Whether the words beside a tag say that the sentence is about it."""
        before = _WORD.findall(self._line_before(tag.start))
        after = _WORD.match(self._line_after(tag.end).lstrip())
        return (bool(before) and before[-1].lower() in _TALK_BEFORE) or (
            after is not None and after[0].lower() in _TALK_AFTER
        )

    def on_one_line(self, start: int, end: int) -> bool:
        """Whether no line ends between two places that are close together."""
        return end - start <= _REACH and self._text.find("\n", start, end) == -1

    def _find_code(self) -> None:
        """Note where fences stand, and the spans of those that are closed.

        A fence with a language after it always opens: an earlier one that is still open was left
        open by mistake, and is taken for text, so that it cannot hide the end of the reasoning.
        """
        opened: int | None = None
        for fence in _FENCE.finditer(self._text):
            start, end = fence.span()
            self._fences.append(start)
            if opened is None or fence[1].strip():
                opened = start
            else:
                self._code.append((opened, end))
                opened = None

    def _quote_elements(self) -> None:
        """Take an opening tag and its end for quoted where they stand in one pair of marks."""
        for number, (tag, end) in enumerate(itertools.pairwise(self.tags)):
            if (
                end.name == self.sorts.openers.get(tag.name)
                and tag.start > 0
                and self._text[tag.start - 1] + self._text[end.end : end.end + 1] in _QUOTES
                and self.on_one_line(tag.end, end.start)
            ):
                self.tags[number : number + 2] = (
                    tag._replace(use=Use.QUOTED),
                    end._replace(use=Use.QUOTED),
                )

    def _matched(self) -> dict[int, int]:
        """Return which end, by its number, belongs to an opening tag, as thoughts nest."""
        matches: dict[int, int] = {}
        opened: list[int] = []
        for number, tag in enumerate(self.tags):
            if tag.use is not Use.COUNTS:
                continue
            if tag.name in self.sorts.openers:
                opened.append(number)
            elif opened and self.sorts.openers[self.tags[opened[-1]].name] == tag.name:
                matches[opened.pop()] = number
        return matches

    def _use(self, start: int, end: int) -> Use:
        if self._quoted(start, end):
            return Use.QUOTED
        return Use.MENTIONED if self._mentioned(start, end) else Use.COUNTS

    def _quoted(self, start: int, end: int) -> bool:
        text = self._text
        if start > 0 and end < len(text):
            around = text[start - 1] + text[end]
            if around in _PAIRED_QUOTES:
                return True
            # A plain mark after a word closes a quotation that came before.
            if around in _PLAIN_QUOTES and not (
                start > 1 and (text[start - 2].isalnum() or text[start - 2] in ".!?,;")
            ):
                return True
        if not self._ticks:
            return False
        region = bisect_right(self._code, (start, len(text))) - 1
        if region >= 0 and start < self._code[region][1]:
            # An even number of fences behind: they pair up among themselves, and the one that
            # seems to enclose the tag was left open before it.
            return (len(self._fences) - bisect_left(self._fences, end)) % 2 == 1
        return len(_TICK.findall(self._line_before(start))) % 2 == 1 and (
            _TICK.search(self._line_after(end)) is not None
        )

    def _mentioned(self, start: int, end: int) -> bool:
        after = self._line_after(end)
        before = self._line_before(start)
        if is_blank(before):
            about = _WORD.match(after, 1) if after[:1] == " " else None
            ends = "/" in self._text[start:end]
            return not ends and about is not None and about[0] in _TALK_OF
        if before[-1] not in " \t":
            return False
        before = before.rstrip()
        if not (before[-1].isalnum() or before[-1] in ",("):
            return False
        word = after.lstrip()
        return after[:1] in _STOPS if word == after else word[:1].islower()

    def _line_before(self, start: int) -> str:
        return self._text[max(0, start - _REACH) : start].rpartition("\n")[2]

    def _line_after(self, end: int) -> str:
        return self._text[end : end + _REACH].partition("\n")[0]
