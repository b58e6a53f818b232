"""Formats that mark the answer in free text: by a heading, by a box, or by a user's pattern."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from opensafemlrm.reasoning._reading import Builder, Reading, SegmentKind
from opensafemlrm.reasoning.formats import Format
from opensafemlrm.types import TraceStatus

_BOX: Final = re.compile(r"\\boxed\s?\{")
_BEFORE_BOX: Final = re.compile(r"(?:\$|\*|\\\[|\\\(|\s)+\Z")
_BEFORE_REACH: Final = 20
_BRACE: Final = re.compile(r"\\.|[{}]", re.DOTALL)
_NO_WORDS: Final = re.compile(r"[\W_]*")


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.MULTILINE)


def read_headings(text: str, form: Format, *, truncated: bool) -> Reading:
    """Read ``text`` up to its last final heading as reasoning, what follows as the answer.

    A sentence that can only begin a reply (Granite's) is markup, and the first final one after it
    counts. Without a final heading: reasoning that never ended, if a heading began it or if free
    text was cut; else the model ended its reply without reasoning, and all of it is the answer.
    """
    out = Builder(text)
    opening = _opening(text, form)
    if opening is not None:
        out.upto(opening.end(), SegmentKind.MARKUP)
    for pattern in form.final:
        finals = _compiled(pattern).finditer(text, out.done)
        final = next(finals, None) if opening else max(finals, key=re.Match.start, default=None)
        if final is not None:
            out.upto(final.start(), SegmentKind.REASONING)
            out.upto(final.end(), SegmentKind.MARKUP)
            return out.finish()
    began = bool(_begun(text, form)) if form.begins else truncated
    return out.unclosed() if began else out.finish()


def is_headed(text: str, form: Format, *, truncated: bool) -> bool:
    """Whether the headings of ``text`` are this format's own, not those of ordinary Markdown.

    They are where a heading that begins reasoning stands before the final one; in a reply that was
    cut, where two that begin it stand in their order, or the only one there is.
    """
    begun = _begun(text, form)
    finals = (_compiled(pattern).search(text, min(begun, default=0)) for pattern in form.final)
    if begun and any(final is not None for final in finals):
        return True
    enough = min(2, len(form.begins))
    return truncated and len(begun) >= enough and begun == sorted(begun)


def _opening(text: str, form: Format) -> re.Match[str] | None:
    """Return the sentence that begins reasoning, of a format that has one alone."""
    return _compiled(form.begins[0]).match(text) if len(form.begins) == 1 else None


def _begun(text: str, form: Format) -> list[int]:
    """Return where each heading that begins reasoning stands first, in the format's order."""
    firsts = (_compiled(pattern).search(text) for pattern in form.begins)
    return [first.start() for first in firsts if first is not None]


def read_boxed(text: str, *, truncated: bool) -> Reading:
    r"""Read the content of the last ``\boxed{…}`` and what follows it as the answer.

    Without a box: reasoning that never ended if the reply was cut, else all is the answer.
    """
    out = Builder(text)
    box = max(_BOX.finditer(text), key=re.Match.start, default=None)
    if box is None:
        return out.unclosed() if truncated else out.finish()
    start, inner = box.span()
    close = _closing_brace(text, inner)
    if close is None and truncated:
        return out.unclosed()
    before = _BEFORE_BOX.search(text, max(0, start - _BEFORE_REACH), start)
    out.upto(before.start() if before else start, SegmentKind.REASONING)
    out.upto(inner, SegmentKind.MARKUP)
    close = len(text) if close is None else close
    out.upto(close, SegmentKind.ANSWER)
    # What closes the box and ends the sentence is markup; words after it belong to the answer.
    rest = _NO_WORDS.match(text, close)
    out.upto(rest.end() if rest else close, SegmentKind.MARKUP)
    return out.finish()


def _closing_brace(text: str, start: int) -> int | None:
    depth = 1
    for brace in _BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if depth == 0:
            return brace.start()
    return None


def read_regex(text: str, form: Format, *, truncated: bool) -> Reading:
    """Read the groups ``reasoning`` and ``answer`` of a user's pattern.

    What the pattern matches outside them is markup; what it does not match is the answer. Without
    a match: reasoning that never ended if the reply was cut, else all is the answer.
    """
    out = Builder(text)
    match = re.compile(form.regex, re.DOTALL).search(text)
    if match is None:
        return out.unclosed() if truncated else out.finish()
    out.upto(match.start(), SegmentKind.ANSWER)
    groups = [
        (match.span(name), kind)
        for name, kind in (("reasoning", SegmentKind.REASONING), ("answer", SegmentKind.ANSWER))
        if match.start(name) >= 0
    ]
    for (start, end), kind in sorted(groups):
        out.upto(start, SegmentKind.MARKUP)
        out.upto(end, kind)
    out.upto(match.end(), SegmentKind.MARKUP)
    reading = out.finish()
    if truncated and not out.has(SegmentKind.ANSWER):
        return Reading(TraceStatus.UNCLOSED, reading.segments)
    return reading
