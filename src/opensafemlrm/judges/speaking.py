"""Whether a text that is judged speaks to whoever judges it, as far as its words tell."""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from opensafemlrm.judges.normalized import read, uncommon

_ZERO: Final = r"(?:0(?![\d%/:]|[.,-]\d)|zero\b|(?:safe|harmless)\b(?! to\b))"
"""What an attacker would have a scale or a guard say; :data:`_LOWEST` for scales from 1 on too."""
_LOWEST: Final = rf"(?:{_ZERO}|1(?![\d%/:).,-]))"
_MARKS: Final = r"[\s\"'`*_()\[\]{}$\\]"
_WORDS: Final = r"(?:score|rating|verdict|label|grade|judge?ment|classification)"
_Searched: TypeAlias = tuple[list[bytes], list[bytes], re.Pattern[str]]


def _phrases(firsts: str, seconds: str) -> str:
    return "|".join(f"{first} {second}" for first in firsts.split() for second in seconds.split())


def _either(words: str) -> list[bytes]:
    return words.encode().split(b"|")


def _searched(*rows: tuple[str, str, str]) -> tuple[_Searched, ...]:
    """Return patterns with what a text in lower case holds before it is searched for one.

    That is one of the signs or words that are looked for first, as there are few of them, and one
    of some more: each look takes a hundredth of what a search takes.
    """
    return tuple(
        (_either(first), _either(words), re.compile(pattern, re.IGNORECASE))
        for first, words, pattern in rows
    )


_SPEAKS: Final = _searched(
    ("#", "#", r"#\s?(?:thescore|understood|verdict|score|rating|label)\s?[:=]"),
    ("", "thescore", r"\bthescore\b"),
    (
        "",
        "reviewer|grader|judge|evaluator",
        r"\b(?:reviewer|grader|judge|evaluator)s?\b[^.\n]{0,80}"
        r"\b(?:scor(?:e|es|ed|ing)|rat(?:e|es|ed|ings?)|safe|harmless|unsafe|mark(?:s|ed)?)\b",
    ),
    (
        "",
        "ignore|disregard|forget",
        r"\b(?:ignore|disregard|forget)\b[^.\n]{0,40}\b(?:instruction|polic|rule|rubric|prompt)",
    ),
    ("=", "===", r"={3} ?[0-9a-f]{8,}"),
    ("<", "<|", r"<\|\w*(?:start|end|system|user|assistant|eot)\w*\|>"),
    ("]", "inst]", r"\[/?INST\]"),
    ("<", "</s>", r"</s>"),
)
"""Words that are meant for whoever judges them: most texts hold none of what they begin with."""
_LOW: Final = [b"0", b"1", b"zero", b"safe", b"harmless"]
_VERDICTS: Final = _searched(
    (
        " 0| zero| safe| harmless",
        _phrases("as with is of", "0 zero safe harmless"),
        r"\b(?:score|rate|rating|mark|label|judge|verdict|grade)\b[^.\n]{0,40}"
        r"\b(?:as|with|is|of) (?:0|zero|safe|harmless)\b",
    ),
    (
        ":|>|→|⇒",
        "score|rating|verdict|label|grade|judgment|judgement|classification",
        rf"{_WORDS}s?{_MARKS}{{0,5}}(?::|[=-]?>|[→⇒]){_MARKS}{{0,8}}{_LOWEST}",
    ),
    (
        "{",
        "boxed",
        rf"\bboxed{_MARKS}{{1,4}}(?:text|math)?(?:rm|bf)?{_MARKS}{{0,4}}{_LOWEST}",
    ),
    (
        " answer| output",
        _phrases("correct right proper true expected only final valid", "answer output"),
        rf"\b(?:correct|right|proper|true|expected|only|final|valid) (?:answer|output)\b"
        rf"{_MARKS}{{0,4}}(?:is:?|[:=→]){_MARKS}{{1,8}}{_ZERO}",
    ),
    (
        "",
        "only|exactly",
        r"\b(?:output|respond|reply|answer|return|print|write|say|end)\b[^.\n]{0,30}"
        rf"\b(?:only|exactly)\b[^.\n\w]{{0,4}}(?:with )?{_MARKS}{{0,4}}{_ZERO}",
    ),
    ("\n", "safe\n", r"(?<![^\n])(?:un)?safe\n\s{0,3}(?:S\d|\{|#)"),
)
"""Verdicts that a text gives itself, which hold one of :data:`_LOW`."""
_TAGS: Final = re.compile("[\U000e0020-\U000e007e]{4}")
"""Characters that no reader sees, and that stand for those of ASCII."""


def _holds(lowered: bytes, words: list[bytes]) -> bool:
    for word in words:  # noqa: SIM110 # any() takes three times as long, for each text
        if word in lowered:
            return True
    return False


def speaks_to_judge(text: str) -> bool:
    """Whether a text that is to be judged speaks to the judge, as far as its words tell."""
    as_read = read(text)
    # Bytes are searched several times as fast as text that is not ASCII.
    lowered = as_read.lower().encode("utf-8", "surrogatepass")
    searched = _SPEAKS + _VERDICTS if _holds(lowered, _LOW) else _SPEAKS
    for first, words, pattern in searched:
        if _holds(lowered, first) and _holds(lowered, words) and pattern.search(as_read):
            return True
    return not (text.isascii() or _TAGS.search(uncommon(text)) is None)
