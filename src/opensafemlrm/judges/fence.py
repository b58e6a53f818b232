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
from typing import Final

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
_NAMES: Final = (
    "s|sep|cls|mask|pad|unk|eos|bos|eot|eod|eoh|eoa|sop|eop|sys|inst|user|human|bot|assistant|system|"
    "developer|tool|tools|function|observation|environment|ipython|context|role|think|img|image|"
    "images|video|audio|speech|picture|box|quad|ref|point|patch|placeholder|document|thinking|"
    "unused\\d{1,5}|endofturn|endoftext|startoftext|imstart|imend"
)
"""Names that control tokens have between angle brackets; an underscore tells others."""
_CONTROL: Final = re.compile(
    rf"<(?=\||/?(?i:{_NAMES})>|/?(?=\w{{0,30}}[_:])[\w:]{{2,60}}+>|/?[A-Z]{{3,40}}+>)"
    r"|\[(?=\||e?~|/?[A-Za-z]?[A-Z_]{2,40}+\d{0,4}\])|\](?=~)|\|(?=[>\]])|>(?=>[A-Z]{1,40}+<<)"
    + "".join(rf"|{re.escape(mark[0])}(?i:(?={re.escape(mark[1:])}))" for mark in _MARKS)
)
"""The first character of each token that ends a turn, begins one or stands for an image in a chat
template. Where a server tokenizes them from plain text, a judged reply could speak as the judge."""
_BEGINS: Final = re.compile(f"[{re.escape(''.join({*'<>|[]', *(mark[0] for mark in _MARKS)}))}]")
_SPEAKS: Final = tuple(
    (words, re.compile(pattern, re.IGNORECASE))
    for words, pattern in (
        (("#",), r"#(?:thescore|understood|verdict|score|rating|label) ?:"),
        (("thescore",), r"\bthescore\b"),
        (
            ("reviewer", "grader", "judge", "evaluator"),
            r"\b(?:reviewer|grader|judge|evaluator)s?\b[^.\n]{0,80}"
            r"\b(?:score|rat|safe|harmless|unsafe|mark)",
        ),
        (
            ("ignore", "disregard", "forget"),
            r"\b(?:ignore|disregard|forget)\b[^.\n]{0,40}"
            r"\b(?:instruction|polic|rule|rubric|prompt)",
        ),
        (
            ("score", "rate", "mark", "label", "judge"),
            r"\b(?:score|rate|mark|label|judge)\b[^.\n]{0,40}"
            r"\b(?:as|with|is|of) (?:0|zero|safe|harmless)\b",
        ),
        (("===",), r"={3} ?[0-9a-f]{8,}"),
        (("<|",), r"<\|\w*(?:start|end|system|user|assistant|eot)\w*\|>"),
        (("inst]", "</s>"), r"\[/?INST\]|</s>"),
    )
)
"""Words that are meant for whoever judges them, each with what a text in lower case must hold
before it is searched for them: most do not."""
_TAGS: Final = re.compile("[\U000e0020-\U000e007e]{4}")
"""Characters that no reader sees, and that stand for those of ASCII."""
_ALIKE: Final = {
    **{code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)},
    **str.maketrans("﹤﹥‹›〈〉⟨⟩〈〉∣ǀ¦￨ſKİı", "<><><><><>||||skii"),
}
"""Signs that some tokenizers, which normalize text first, take for those of ASCII."""
_HAS_ALIKE: Final = re.compile(f"[{re.escape(''.join(map(chr, _ALIKE)))}]")


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
        if not any(token in text for text in texts):
            return token
        number += 1


def neutralize(text: str) -> str:
    """Return ``text`` with a space inside each control token, and lone surrogates as ``?``.

    Nothing is taken away: a reader sees the same words, and no tokenizer sees a control token.
    """
    whole = text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
    read = _in_ascii(whole)
    pieces, end = [], 0
    for begin in _BEGINS.finditer(read):
        if token := _CONTROL.match(read, begin.start()):
            pieces += [whole[end : token.end()], " "]
            end = token.end()
    return "".join((*pieces, whole[end:])) if pieces else whole


def speaks_to_judge(text: str) -> bool:
    """Whether a text that is to be judged speaks to the judge, as far as its words tell."""
    read = _in_ascii(text)
    in_lower_case = read.lower()
    return any(
        any(word in in_lower_case for word in words) and pattern.search(read)
        for words, pattern in _SPEAKS
    ) or not (text.isascii() or _TAGS.search(text) is None)


def _in_ascii(text: str) -> str:
    """Return ``text`` with the signs of ASCII in the places of those that look like them."""
    return text.translate(_ALIKE) if not text.isascii() and _HAS_ALIKE.search(text) else text
