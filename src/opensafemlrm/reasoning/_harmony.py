"""The harmony format: messages in channels, ``<|channel|>analysis<|message|>…<|end|>``."""

from __future__ import annotations

import re
from typing import Final

from opensafemlrm.reasoning._reading import Builder, Reading, SegmentKind

_TOKEN: Final = re.compile(r"<\|(start|channel|message|end|return|call)\|>")
_CHANNEL: Final = re.compile(r"(?:<\|channel\|>|^)\s{0,3}(analysis|commentary|final)\b")
_BEGIN: Final = re.compile(
    r"\s*(?:<\|(?:start|channel|end)\|>|(?:analysis|commentary|final)[^<\n]{0,80}<\|message\|>)"
)
# A header is a role, a channel and a recipient; a longer one is not looked through further.
_HEADER_REACH: Final = 500
# What is left of the headers where a server strips special tokens: words, grown together with the
# next unless another header follows.
_STRIPPED: Final = re.compile(r"assistant(analysis|commentary|final)")
_STRIPPED_BEGIN: Final = re.compile(r"\s*(?:assistant)?(analysis|commentary|final)")
_GROWN: Final = re.compile(r"analysis(?![^\S\n]|[:_])|(?:commentary|final)(?![^\S\n]|[a-z.,:;_])")


def is_harmony(text: str) -> bool:
    """Whether ``text`` begins as a harmony message, with its special tokens or stripped of them.

    A stripped one begins with the name of a channel, and there is a stripped header further on; or
    it begins with ``analysis`` and a capital.
    """
    if _BEGIN.match(text) is not None:
        return "<|message|>" in text
    begin = _STRIPPED_BEGIN.match(text)
    if begin is None or begin[1] == "final":
        return False
    grown = begin[1] == "analysis" and text[begin.end() : begin.end() + 1].isupper()
    return grown or _STRIPPED.search(text, begin.end()) is not None


def _stripped_begin(text: str) -> re.Match[str] | None:
    begin = None if "<|" in text else _STRIPPED_BEGIN.match(text)
    if begin is None or _GROWN.match(text, begin.start(1)) or _STRIPPED.search(text, begin.end()):
        return begin
    return None


def read_harmony(text: str) -> Reading:
    """Read the channel ``analysis`` as reasoning; ``final`` and ``commentary`` reach the user.

    A header runs from its first token to ``<|message|>``; the template may have written its start.
    """
    if (begin := _stripped_begin(text)) is not None:
        return _read_stripped(text, begin)
    out = Builder(text)
    kind = SegmentKind.ANSWER
    header: int | None = 0 if _CHANNEL.match(text) and _BEGIN.match(text) else None
    is_open = False  # whether a message has begun that has not ended
    for token in _TOKEN.finditer(text):
        if token[1] == "message":
            if header is None and is_open:
                continue  # the model writes about the token
            header = token.start() if header is None else header
            channel = _CHANNEL.search(text[header : token.start()][:_HEADER_REACH])
            analysis = channel is not None and channel[1] == "analysis"
            kind = SegmentKind.REASONING if analysis else SegmentKind.ANSWER
            out.upto(token.end(), SegmentKind.MARKUP)
            header, is_open = None, True
        elif token[1] in ("start", "channel"):
            if header is None:
                out.upto(token.start(), kind)
                header = token.start()
        elif header is None:
            out.upto(token.start(), kind)
            out.upto(token.end(), SegmentKind.MARKUP)
            kind, is_open = SegmentKind.ANSWER, False
    if header is not None:
        out.upto(len(text), SegmentKind.MARKUP)
    return out.unclosed() if kind is SegmentKind.REASONING and header is None else out.finish()


def _read_stripped(text: str, begin: re.Match[str]) -> Reading:
    out = Builder(text)
    kind = _kind_of(begin)
    out.upto(begin.end(), SegmentKind.MARKUP)
    for header in _STRIPPED.finditer(text, out.done):
        out.upto(header.start(), kind)
        out.upto(header.end(), SegmentKind.MARKUP)
        kind = _kind_of(header)
    return out.unclosed() if kind is SegmentKind.REASONING else out.finish()


def _kind_of(header: re.Match[str]) -> SegmentKind:
    return SegmentKind.REASONING if header[1] == "analysis" else SegmentKind.ANSWER
