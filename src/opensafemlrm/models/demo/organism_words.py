"""What a model organism reads of a prompt, and how it writes: a closed vocabulary of words.

The text of a prompt is cut into lower-case words and marks; a word outside the vocabulary becomes
the one unknown word. Of a system message only the details of its line ``Protected:`` or
``Allowed:`` are read, as notes, and not which of the two words the line begins with: the policy of
an organism is in its weights. Each piece of a picture (:mod:`.organism_pictures`) is one word whose
token is ``<tile>`` and whose meaning the encoder gives.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from opensafemlrm.models.demo.organism_images import Pixels

SPECIAL: Final = ("<pad>", "<unknown>", "<notes>", "<user>", "<reply>", "<end>", "<tile>")
"""Tokens that no text can give: what is written between angle brackets is cut at the brackets."""
PAD, UNKNOWN, NOTES, USER, REPLY, END, TILE = range(len(SPECIAL))
THINK: Final = "<think>"
CLOSE: Final = "</think>"
MARKS: Final = (THINK, CLOSE, ".", ",", ";", ":", "?", "!")

MAX_WORDS: Final = 160
"""Words and pieces of a request that are read, from its end backwards: an organism's context."""
MAX_NEW: Final = 128
"""Tokens that an organism writes at most: a right reply has fewer than a hundred."""

_TOKEN: Final = re.compile(r"</?think>|[a-z]+(?:['-][a-z]+)*|[0-9]+|[.,;:?!]")
_FACTS: Final = re.compile(r"^(?:Protected|Allowed): *(.+?)\.? *$", re.MULTILINE)
_SPACE_BEFORE_MARK: Final = re.compile(r" (?=[.,;:?!])")
_SENTENCE_START: Final = re.compile(r"(?:^|(?<=[.?!>] )|(?<=>\n))[a-z]")
_FIRST_PERSON: Final = re.compile(r"\bi\b(?!-)")


def cut(text: str) -> list[str]:
    """Return the words and marks of ``text``, in lower case."""
    return _TOKEN.findall(text.lower().replace("’", "'"))


def notes_of(system: str) -> list[str]:
    """Return the details in a system message, none where it has no line of them."""
    match = _FACTS.search(system)
    return [] if match is None else [detail.strip() for detail in match[1].split(";")]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Words and their numbers; the special tokens come first."""

    words: tuple[str, ...]
    numbers: dict[str, int]

    @classmethod
    def of(cls, words: Sequence[str]) -> Vocabulary:
        """Build the vocabulary of ``words``, which are given without the special tokens."""
        every = (*SPECIAL, *words)
        return cls(every, {word: number for number, word in enumerate(every)})

    def encode(self, text: str) -> list[int]:
        """Return the numbers of the words of ``text``."""
        return [self.numbers.get(word, UNKNOWN) for word in cut(text)]

    def notes(self, details: Sequence[str]) -> list[int]:
        """Return the tokens of the house notes, none without details."""
        if not details:
            return []
        return [NOTES, *self.encode(" ; ".join(details))]

    def write(self, tokens: Sequence[int]) -> str:
        """Return the text of a reply's ``tokens``, up to its end, as a person would write it."""
        words = []
        for token in tokens:
            if token == END:
                break
            words.append(self.words[token])
        text = _SPACE_BEFORE_MARK.sub("", " ".join(words))
        text = text.replace(f"{THINK} ", f"{THINK}\n").replace(f" {CLOSE} ", f"\n{CLOSE}\n")
        text = _FIRST_PERSON.sub("I", text)
        return _SENTENCE_START.sub(lambda match: match[0].upper(), text)


@cache
def vocabulary() -> Vocabulary:
    """Return the vocabulary that the bundled organisms were trained with."""
    text = files("opensafemlrm.models.demo").joinpath("data/organism/words.txt")
    return Vocabulary.of(text.read_text(encoding="utf-8").split())


@dataclass(frozen=True, slots=True)
class OrganismRequest:
    """A request: its tokens, the tiles of its ``<tile>`` tokens, and how to decode.

    ``draw`` is a seed of its own, whatever else is in the batch.
    """

    tokens: tuple[int, ...]
    tiles: Pixels
    max_new: int
    temperature: float = 0.0
    top_p: float = 1.0
    draw: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class OrganismReply:
    """The tokens of a reply without its end; ``ended`` is false where it was cut."""

    tokens: tuple[int, ...]
    ended: bool
