"""Text of others inside a judge's prompt: fenced so that it can neither leave nor rewrite it.

Items, replies and reasoning are hostile. Three ways in are shut: a template is filled in one pass,
so braces and ``%s`` in a value stay text; the fence carries a token derived from what it encloses
and checked not to occur there; and control tokens of chat templates, which some servers would read
as the end of the message, are broken by a space, their look-alikes too.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Final

from opensafemlrm.judges.normalized import (
    FULLWIDTH,
    LOOK_ALIKES,
    Normalized,
    normalized,
    read_as,
    uncommon,
)
from opensafemlrm.reasoning import FORMATS

_SLOT: Final = re.compile(r"\{\{([a-z_]+)\}\}")
_MARKS: Final = sorted(
    {
        mark
        for form in FORMATS.values()
        for pair in (*form.blocks, *form.answers, form.inline)
        for mark in pair
        if len(mark) > 1 and not mark[0].isalnum()
    },
    key=len,
    reverse=True,
)
"""What stands around reasoning and answers, in every format that is known."""
_FIRST_NAMES: Final = (
    "s|sep|cls|mask|pad|unk|eos|bos|eot|eod|eoh|eoa|sop|eop|sys|inst|user|human|bot|assistant|system|"
    "developer|tool|tools|function|observation|environment|ipython|context|role|think|img|image|"
    "images|video|audio|speech|picture|box|quad|ref|point|patch|placeholder|document|thinking|"
    "unused\\d{1,5}|endofturn|endoftext|startoftext|imstart|imend"
)
_NAMES: Final = (
    "ai|bo[acdfhiprsuwm]|eo[bcfhiprsuwm]|obs|start|end|turn|multimodal|grounding|[gs]mask|so[hit]|nl|"
    "tool[- ]?calls?|"
    "0x[0-9a-f]{2}|(?:begin|beginning|start|end)[- ]?of[- ]?[a-z]{2,20}|"
    "(?:unused|reserved|dummy|special|extra|custom|sentinel|token|pad|mask|image|img|audio|video|"
    "loc|seg|reg|bin|codec|ctrl|control|timestamp)[-_ ]?(?:token|id)?[-_ ]?\\d{1,6}"
)
"""Names that control tokens have between angle brackets; an underscore tells others."""
_IN_SQUARE: Final = (
    "img|inst|sys|[gs]mask|multimodal|(?:begin|start|end)[- ]of[- ][a-z]{2,20}|"
    "(?:bo|eo)[smt]|(?:unused|reserved|dummy|special)[- ]?\\d{1,6}"
)
"""Those between square brackets, where code has names of its own."""
_ANY: Final = (
    rf"<(?=\||/?(?i:{_FIRST_NAMES})>|/?(?=\w{{0,30}}[_:])[\w:]{{2,60}}+>|/?[A-Z]{{3,40}}+>)"
    r"|\[(?=\||e?~|/?[A-Za-z]?[A-Z_]{2,40}+\d{0,4}\])|\](?=~)|\|(?=[>\]])|>(?=>[A-Z]{1,40}+<<)"
)
_NAMED: Final = "|".join(
    rf"{re.escape(mark[0])}(?i:(?={re.escape(mark[1:])}))"
    for mark in _MARKS
    if not (re.match(_ANY, mark) and re.match(_ANY, mark.lower()))
)
_FIRST: Final = re.compile(f"{_ANY}|{_NAMED}")
"""The first character of each token that the first edition of this fence broke."""
_CONTROL: Final = re.compile(
    rf"({_FIRST.pattern})|<(?=/?(?i:{_FIRST_NAMES}|{_NAMES})[\s/]{{0,3}}>)"
    r"|<(?=/?(?=\w{0,30}[_:])[\w:]{2,200}+>|\[\w[\w:.-]{0,80}\]>)"
    rf"|\[(?=/?(?i:{_IN_SQUARE})\])"
)
"""The first character of each token that ends a turn, begins one or stands for an image in a chat
template. Where a server tokenizes them from plain text, a judged reply could speak as the judge."""
_OTHERS: Final = "".join(sorted({mark[0] for mark in _MARKS} - {*"<>|[]"}))
_BEGINS: Final = re.compile(
    rf"<(?=[\w/:|\[])|\[(?=[\w/|~])|\](?=~)|\|(?=[>\]])|>(?=>)|[{re.escape(_OTHERS)}]"
)
"""Where one may begin."""
_MAY_BEGIN: Final = re.compile(
    rf"[{re.escape(_OTHERS + ''.join(s for s in LOOK_ALIKES if read_as(s) in [*'<>|[]']))}]"
)
_FIRST_WINDOW: Final = 160
"""Characters that hold any token of the first edition."""


def fill(template: str, values: Mapping[str, str]) -> str:
    """Put ``values`` into the ``{{slots}}`` of ``template`` in one pass.

    Raises KeyError for a slot without a value: that is a mistake in the template.
    """
    pieces = _between_slots(template)
    filled = [*pieces]
    for place in range(1, len(pieces), 2):
        filled[place] = values[pieces[place]]
    return "".join(filled)


@functools.lru_cache(maxsize=64)
def _between_slots(template: str) -> tuple[str, ...]:
    """Return ``template`` cut at its slots: text, a slot's name, text, and so on."""
    return tuple(_SLOT.split(template))


def fence_token(*texts: str) -> str:
    """Return a token of 16 hex digits, the same for the same texts, that occurs in none of them."""
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    whole = b"".join([b"%d:%b" % (len(text_bytes), text_bytes) for text_bytes in encoded])
    number = 0
    while True:
        token = hashlib.sha256(b"%b%d" % (whole, number)).hexdigest()[:16]
        if not any([token in text for text in texts]):  # noqa: C419 # a generator is slower
            return token
        number += 1


def neutralize(text: str) -> str:
    """Return ``text`` with a space inside each control token, and lone surrogates as ``?``.

    Nothing is taken away: a reader sees the same words, and no tokenizer sees a control token.
    """
    ends, _ = _tokens(text)
    if not ends and text.isascii():
        return text
    whole = text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
    return " ".join(whole[start:end] for start, end in pairwise((0, *ends, None)))


def edition(*texts: str) -> int:
    """Return the edition of the fence that these texts are shown in: 1 unless it takes a later one.

    Edition 2 also breaks tokens that are written with look-alikes that tokenizers normalize or with
    unseen signs inside, and those of more families. What both break is shown alike.
    """
    return 2 if any([_tokens(text)[1] for text in texts]) else 1  # noqa: C419 # as above


def _tokens(text: str) -> tuple[list[int], bool]:
    """Return where the first character of each control token ends, and if one is of edition 2."""
    return _look(text) if len(text) > _MAX_REMEMBERED else _remembered(text)


def _look(text: str) -> tuple[list[int], bool]:
    if (
        "<" in text
        or "[" in text
        or "|" in text
        or ">>" in text
        or "]~" in text
        or _MAY_BEGIN.search(uncommon(text))
    ):
        return _found(text)
    return [], False


def _found(text: str) -> tuple[list[int], bool]:
    read = normalized(text)
    ends, is_later = [], False
    for begin in _BEGINS.finditer(read.text):
        if token := _CONTROL.match(read.text, begin.start()):
            ends.append(end := read.end(begin.start()))
            is_later = is_later or token.lastindex is None or not _is_of_first(text, end, read)
    return ends, is_later


def _is_of_first(text: str, end: int, read: Normalized) -> bool:
    """Whether the first edition, which knew few look-alikes, read the token there too."""
    if read.text is text:
        return True
    return _FIRST.match(text[end - 1 : end + _FIRST_WINDOW].translate(FULLWIDTH)) is not None


_remembered: Final = functools.lru_cache(maxsize=256)(_look)
"""A text is looked at for its key, and again for its prompt; a question with each part."""
_MAX_REMEMBERED: Final = 20_000
