"""From a raw reply to its reasoning, its answer, and what is known of the reasoning.

:func:`parse` is the one call most code needs. :func:`read` gives the segments below it: they lose
no character of the reply. Formats are rows of :data:`FORMATS`, or a user's own by :func:`resolve`;
``auto`` detects those whose marks no ordinary reply carries. A text search that finds nothing
leaves the whole reply as the answer.
"""

from __future__ import annotations

import dataclasses
from typing import Final

from opensafemlrm.reasoning._harmony import is_harmony, read_harmony
from opensafemlrm.reasoning._reading import Builder, Reading, Segment, SegmentKind
from opensafemlrm.reasoning._sections import is_headed, read_boxed, read_headings, read_regex
from opensafemlrm.reasoning._tags import read_tags
from opensafemlrm.reasoning.formats import (
    DETECTED,
    FORMATS,
    SPECIAL_TOKENS_KEPT,
    Format,
    Reader,
    format_of_model,
    resolve,
)
from opensafemlrm.types import Response, ResponseStatus, Trace, TraceStatus

__all__ = [
    "FORMATS",
    "SPECIAL_TOKENS_KEPT",
    "VERSION",
    "Format",
    "Reading",
    "Segment",
    "SegmentKind",
    "format_of_model",
    "parse",
    "read",
    "resolve",
]

VERSION: Final = "2-A"
"""Comparability: the number changes when the same reply is parsed otherwise."""

# What every mark of a tag format holds; most replies of judges and base models hold none of it.
_MARKED: Final = ("<", "▷", "[THINK]", "[/THINK]", "[unused1")


def parse(response: Response, reasoning_format: str | Format = "auto") -> Trace:
    """Parse a reply that came (whole or truncated) into reasoning and answer.

    What the server split off wins over tags. A reasoning field that is there and blank says that
    the server looked, and found none: a template's opening tag is then not assumed. Reasoning
    without any text is vLLM's way of saying that the end never came: unclosed. A reply whose
    reasoning was partly kept back counts as a summary, as what is there is not the whole trace. An
    unclosed trace has no answer, whatever stood between earlier blocks. A reply that carries none
    of the marks of the format that is named, but another's, is read in that one. Raises
    UnknownNameError for an unknown format.
    """
    form = resolve(reasoning_format)
    given = response.reasoning
    if given and not given.isspace():
        return _parse_server_reasoning(response, given, form)
    truncated = response.status is ResponseStatus.TRUNCATED
    # A count of reasoning tokens alone hides nothing where the reasoning stands in the text.
    kept_back = response.reasoning_hidden or response.reasoning_is_summary
    if form.prefilled and (kept_back or (given is not None and not truncated)):
        form = dataclasses.replace(form, prefilled=False)
    reading = _read(response.text, form, truncated=truncated)
    if kept_back and reading.status is TraceStatus.ABSENT:
        answer = response.text if response.text.strip() else None
        return Trace(TraceStatus.HIDDEN, None, answer, response.text, "server")
    if not reading.format:
        answer = reading.text_of(SegmentKind.ANSWER)
        return Trace(TraceStatus.ABSENT, None, answer, response.text, "no marks detected")
    how = "given" if reading.format == form.name else "detected"
    unclosed = reading.status is TraceStatus.UNCLOSED
    return Trace(
        reading.status,
        reading.text_of(SegmentKind.REASONING),
        None if unclosed else reading.text_of(SegmentKind.ANSWER),
        response.text,
        f"{reading.format}, {how}",
    )


def _parse_server_reasoning(response: Response, given: str, form: Format) -> Trace:
    """Parse a reply whose reasoning the server gave; tags that it left in either are read too."""
    text = response.text
    full = f"{given}\n\n{text}" if text.strip() else given
    truncated = response.status is ResponseStatus.TRUNCATED
    partly = response.reasoning_is_summary or response.reasoning_hidden
    if not text.strip() and not partly:  # an end that the server overlooked
        whole = _read(given, form, truncated=truncated)
        answer = whole.text_of(SegmentKind.ANSWER)
        if whole.status is TraceStatus.CLOSED and answer is not None:
            thought = whole.text_of(SegmentKind.REASONING)
            return Trace(TraceStatus.CLOSED, thought, answer, full, "server")
    given = _unwrapped(given, form)
    thought = given.strip()
    # Some servers send the reasoning once more, before the answer.
    before, _, rest = text.partition(thought)
    if not before.strip() and rest[:1] == "\n" and rest.strip():
        text = rest.strip()
    reading = _detect(text, truncated=truncated, served=True)
    if not reading.format and form.reader is Reader.HARMONY:
        reading = read_harmony(text)
    elif not reading.format:  # answer tags alone are of no format that can be detected
        tagged = form if form.reader is Reader.TAGS else FORMATS["think"]
        tagged = dataclasses.replace(tagged, prefilled=False)
        reading = read_tags(text, tagged, named=False, truncated=truncated, served=True)
    more = reading.text_of(SegmentKind.REASONING)
    if reading.status is TraceStatus.UNCLOSED or not text.strip():
        status, answer = TraceStatus.UNCLOSED, None
    else:
        status, answer = TraceStatus.CLOSED, reading.text_of(SegmentKind.ANSWER)
    if more is not None and more.strip() != thought:
        given = f"{given}\n\n{more}"
    return Trace(TraceStatus.SUMMARY if partly else status, given, answer, full, "server")


def _unwrapped(given: str, form: Format) -> str:
    """Return reasoning that a server gave, less the marks that it left around it."""
    for opener, closer in (*form.blocks, *FORMATS["think"].blocks):
        inner = given.strip()
        if inner.startswith(opener) or inner.endswith(closer):
            inner = inner.removeprefix(opener).removesuffix(closer).strip()
            given = inner or given
    label = f"{form.label}\n"
    return given.removeprefix(label) if form.label else given


def read(text: str, reasoning_format: str | Format = "auto", *, truncated: bool = False) -> Reading:
    """Read ``text`` into segments whose texts, joined, are ``text`` exactly.

    ``truncated`` says that the reply was cut: free text without its final mark is then unclosed.
    Takes time linear in the text. Raises UnknownNameError for an unknown format.
    """
    return _read(text, resolve(reasoning_format), truncated=truncated)


def _read(text: str, form: Format, *, truncated: bool) -> Reading:
    if form.reader is Reader.AUTO:
        return _detect(text, truncated=truncated)
    reading = _read_as(form, text, truncated=truncated)
    is_free = form.reader in (Reader.BOXED, Reader.HEADINGS)
    if form.reader is not Reader.NONE and (is_free or not reading.is_marked):
        other = _detect(text, truncated=truncated)
        # Tags are surer than the boxes and headings of free text, where they are whole.
        is_surer = other.status is TraceStatus.CLOSED and (
            FORMATS[other.format].reader is not Reader.HEADINGS
        )
        if other.format and (not reading.is_marked or is_surer):
            return other
    return _as(form, reading)


def _read_as(form: Format, text: str, *, truncated: bool) -> Reading:
    match form.reader:
        case Reader.TAGS:
            return read_tags(text, form, named=True, truncated=truncated)
        case Reader.HEADINGS:
            return read_headings(text, form, truncated=truncated)
        case Reader.BOXED:
            return read_boxed(text, truncated=truncated)
        case Reader.REGEX:
            return read_regex(text, form, truncated=truncated)
        case Reader.HARMONY:
            return read_harmony(text)
        case _:
            return Builder(text).finish()


def _detect(text: str, *, truncated: bool, served: bool = False) -> Reading:
    """Read in the format whose marks come first, as the whole answer where there are none."""
    if is_harmony(text):
        return _as(FORMATS["harmony"], read_harmony(text))
    best: Reading | None = None
    best_at = float("inf")
    lowered, is_marked = text.lower(), False
    for mark in _MARKED:
        is_marked = is_marked or mark in text
    for form in DETECTED:
        tags = form.reader is Reader.TAGS
        if (tags and not is_marked) or not form.may_mark(text, lowered):
            continue
        if tags:
            reading = read_tags(text, form, named=False, truncated=truncated, served=served)
            at = _first_mark(reading)
        elif served or not is_headed(text, form, truncated=truncated):
            continue
        else:
            reading = read_headings(text, form, truncated=truncated)
            at = len(text)  # headings count only where no tags do: a thought may have any
        if at < best_at:
            best, best_at = _as(form, reading), at
    return Builder(text).finish() if best is None else best


def _as(form: Format, reading: Reading) -> Reading:
    return Reading(reading.status, reading.segments, form.name)


def _first_mark(reading: Reading) -> float:
    """Return where the first mark that counted stands; infinity if none did."""
    at = 0
    for kind, text in reading.segments:
        if kind in (SegmentKind.MARKUP, SegmentKind.INLINE):
            return at
        at += len(text)
    return float("inf")
