"""Whether a server read a whole prompt: the tokens it counts, against those the text must have.

Some servers drop the front of a prompt that is longer than their context, and answer 200: a judge
would score what it never saw. What a text must have is a bound below every tokenizer's count:

- Tokenizers split at blanks first, so that a word of a text is one token at least. Blanks
  themselves, lines of dashes and the like are not counted: dozens of them may be one token. The few
  vocabularies with tokens of several words (SuperBPE, 2025) save a third of what others count for a
  text, 1.3 a word, which leaves more than :data:`TOKENS_A_WORD`.
- Of scripts without blanks, and of what is longer than any word, :data:`MAX_CHARACTERS` count as
  one; a repeated character counts once.

Pictures only add tokens, and so do templates.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from typing import Final

from opensafemlrm.types import Prompt, Response, Usage

TOKENS_A_WORD: Final = 0.8
MAX_CHARACTERS: Final = 8
"""Of a script without blanks, such as Chinese, which has 1 to 2 characters a token."""
MAX_LETTERS: Final = 16
"""Of what is longer than a word, such as Base64, which has 2 to 3 characters a token."""
MIN_TOKENS: Final = 100
"""Below this, what a template adds or a server rounds is more than what a cut takes."""
MIN_COUNT: Final = 64
"""No server's context is so small: a lower count of a prompt of less than :data:`LONG` tokens is
one that a server fills in."""
LONG: Final = 1_000
_UNSPACED: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)
_BLANKS: Final = " \n\t\r\v\f\x1c\x1d\x1e\x1f"
_REPEATED: Final = re.compile(r"(.)\1{3,}")
_LETTER: Final = re.compile(r"[^\W_]")
_SIGNS: Final = bytes(
    code for code in range(128) if not (_LETTER.match(chr(code)) or chr(code).isspace())
)
"""ASCII less letters, digits and blanks: what is made of these alone is no word."""
_NO_SIGNS: Final = dict.fromkeys(_SIGNS)
_SEPARATED: Final = bytes.maketrans(b"\x1c\x1d\x1e\x1f", b"    ")
"""Blanks of text that are none of bytes."""


@lru_cache(maxsize=16)
def least_tokens(text: str) -> int:
    """Return how many tokens ``text`` has at least, in any tokenizer."""
    written = text.split()
    if text.isascii():  # bytes are translated many times as fast
        words = float(len(text.encode().translate(_SEPARATED, _SIGNS).split()))
        odd = [word for word in written if len(word) > MAX_LETTERS]
    else:
        words, odd = float(len(text.translate(_NO_SIGNS).split())), written
    for word in odd:
        if len(word) > MAX_LETTERS or not word.isascii():
            words -= word.translate(_NO_SIGNS) != ""
            once = _REPEATED.sub(r"\1", word)
            spaced, unspaced = _UNSPACED.subn("", once)
            words += unspaced / MAX_CHARACTERS
            if _LETTER.search(spaced):
                words += max(1, len(spaced) / MAX_LETTERS)
    return int(TOKENS_A_WORD * words)


@lru_cache(maxsize=16)
def _at_most(text: str) -> float:
    """Return what :func:`least_tokens` is at most: nearly every prompt has more, and is read no
    further.
    """
    if text.isascii():
        words, length = 1 + sum(map(text.count, _BLANKS)), len(text) / MAX_LETTERS
    else:
        words, length = len(text.split()), len(text) / MAX_CHARACTERS
    return TOKENS_A_WORD * (words + length)


def whole(response: Response, prompt: Prompt) -> Response:
    """Return ``response``, or a failure where the server cannot have read the whole prompt."""
    tokens = most_counted(response.usage)
    if not tokens:
        return response
    texts = [turn.text for turn in prompt.turns]
    # The first of several is often a policy that many prompts share: what it has is known.
    shared = len(texts) > 1
    least = sum(map(least_tokens, texts[:shared])) + sum(map(_at_most, texts[shared:]))
    for text in texts[shared:]:
        if least <= tokens:
            return response
        least += least_tokens(text) - _at_most(text)
    if not is_cut(tokens, least := round(least)):
        return response
    detail = (
        f"the server counts {tokens:,} tokens in a prompt that has at least {least:,}, so it read "
        "only a part: give it a longer context (OLLAMA_CONTEXT_LENGTH, llama.cpp's --ctx-size)"
    )
    failed = Response.failed("prompt_cut", detail, transient=True)
    return replace(failed, usage=response.usage, latency=response.latency, retries=response.retries)


def most_counted(usage: Usage) -> int | None:
    """Return the tokens of the prompt that a server counted, with those it had in its cache.

    Some count them among the others, some do not.
    """
    if usage.input_tokens is None:
        return None
    return usage.input_tokens + (usage.cached_tokens or 0)


def is_cut(tokens: int, least: int) -> bool:
    """Whether a server that counted ``tokens`` cannot have read a text of ``least`` or more."""
    if least < MIN_TOKENS or tokens >= least:
        return False
    return tokens >= MIN_COUNT or least >= LONG
