"""Text of others inside a judge's prompt: fenced so that it can neither leave nor rewrite it.

Items, replies and reasoning are hostile. Three ways in are shut: a template is filled in one pass,
so braces and ``%s`` in a value stay text; the fence carries a token derived from what it encloses
and checked not to occur there; and control tokens of chat templates, which some servers would read
as the end of the message, are broken by a space.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Mapping
from typing import Final

_SLOT: Final = re.compile(r"\{\{([a-z_]+)\}\}")
# Tokens that end a turn, begin one or stand for an image in common chat templates. Where the
# server tokenizes them from plain text, a judged reply could speak as the judge. Each alternative
# begins with one of _BEGINS: a text without any of them, as most are, is not searched at all.
_CONTROL: Final = re.compile(
    r"<(?=[|｜]|/?s>|(?:start|end)_of_turn>|(?:start_of_|end_of_)?image(?:_soft_token)?>|<?/?SYS>)"
    r"|\[(?=/?INST\]|IMG\])|\|(?=>)|｜(?=>)"
)
_BEGINS: Final = ("<", "[", "|", "｜")


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
    for begins in _BEGINS:
        if begins in whole:
            return _CONTROL.sub(r"\g<0> ", whole)
    return whole
