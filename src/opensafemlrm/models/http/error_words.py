"""What the words and codes of servers' errors mean: one table for all vendors.

A message is read as words alone, in lower case: ``insufficient_quota`` and ``InsufficientQuota``
are "insufficient quota", ``--limit-mm-per-prompt`` is "limit mm per prompt". What comes of it is
coarse, and no failure is final by it (see ``client.py``): at worst a request is asked once more.
Only that a content filter spoke makes an outcome, so those words are told narrowly.
The phrases are those of ``error_words.toml``.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib.resources import files
from typing import Any, Final

NO_CREDIT: Final = "insufficient_quota"
INVALID_KEY: Final = "invalid_key"
MODEL_NOT_FOUND: Final = "model_not_found"
WRONG_ADDRESS: Final = "wrong_address"
TOO_LARGE: Final = "request_too_large"
UNFINISHED: Final = "unfinished"

STOPPING: Final = frozenset({"http_401", "http_402", "http_407", "certificate"})
"""Codes after which no further request can succeed."""
ACCOUNT: Final = frozenset({NO_CREDIT, INVALID_KEY})
"""The same, as far as words can tell."""
STOPPING_AT_FIRST: Final = frozenset({"http_404", "http_405", MODEL_NOT_FOUND, WRONG_ADDRESS})
"""The same, unless a request has succeeded: then they may be about one request."""
FORBIDDEN: Final = "http_403"
"""A key that may not use the model, or a firewall that dislikes a prompt, the very first even."""
NOT_AT_ONCE: Final = frozenset(
    {NO_CREDIT, INVALID_KEY, MODEL_NOT_FOUND, WRONG_ADDRESS, TOO_LARGE, "http_413"}
    | {"model_unavailable", "context_length", "server_options", UNFINISHED}
)
"""Codes of what asking again changes nothing about, until somebody changes the account, the server,
its flags or the time that it is given."""


_NO_NAME: Final = re.compile(
    r"error|\d+|.*validation.*|.*invalid.?(request|argument|param).*|.*bad.?request.*|.*permission.?denied.*|"
    r"forbidden|(api|server|upstream|provider|request).?error|unprocessable.*|none|null|unknown",
    re.IGNORECASE,
)
"""Codes that many errors share."""
_CAMEL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_NO_WORD: Final = re.compile(r"[\W_]+")
_FRAGMENT: Final = re.compile(r"<([a-z]+)>")
_FEW_WORDS: Final = r"(?: \S+){0,6} "


@cache
def _table() -> dict[str, Any]:
    path = files("opensafemlrm.models.http") / "error_words.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


@cache
def _pattern(name: str) -> re.Pattern[str]:
    fragments = _table()["fragments"]
    phrases = [
        _FRAGMENT.sub(lambda match: fragments[match[1]], phrase).replace(" … ", _FEW_WORDS)
        for phrase in _table()["phrases"][name]
    ]
    return re.compile("|".join(rf"\b(?:{p})" if p.isascii() else p for p in phrases))


def _has(name: str, words: str) -> bool:
    """Whether a phrase of the list ``name`` is in plain ``words``."""
    return _pattern(name).search(words) is not None


def plain(text: str) -> str:
    """Return the words of ``text`` in lower case, one space between them."""
    return _NO_WORD.sub(" ", _CAMEL.sub(" ", text)).strip().casefold()


def cause(text: str, status: int) -> str | None:
    """Return the code of what is wrong with the account, the server or its flags.

    ``None`` where the words in ``text``, codes among them, do not say that anything is.
    """
    if status in (401, 402, 407):
        return None  # no words are needed
    words = plain(text)
    is_rate = not _has("daily", words) and _has("rate", words)
    limited, is_model = status == 429, status < 500 and status not in (404, 429)
    is_model = is_model and not _has("overload", words)
    for code, name, applies in (
        (NO_CREDIT, "no_credit", True),
        (NO_CREDIT, "limit_reached", not is_rate),
        (NO_CREDIT, "daily", limited),
        (INVALID_KEY, "invalid_key", True),
        ("context_length", "context", not limited and not is_rate),
        (TOO_LARGE, "too_large", not limited),
        ("server_options", "server_options", not limited),
        (WRONG_ADDRESS, "wrong_address", is_model),
        (MODEL_NOT_FOUND, "no_model", is_model),
        ("model_unavailable", "no_model_now", is_model),
    ):
        if applies and _has(name, words):
            return code
    return None


def is_overload(text: str) -> bool:
    """Whether an error says that the same request may succeed in a moment."""
    return _has("overload", plain(text))


def is_too_large(text: str) -> bool:
    """Whether an error says that a request is too large, however often it is sent."""
    return _has("too_large", plain(text))


def is_of_world(message: str) -> bool:
    """Whether an error speaks of the account, the server or the model, in whatever way.

    Then it is no sample's own for good: it comes in more forms and languages than any list has.
    """
    return _has("of_world", plain(message))


def is_filter_code(code: str) -> bool:
    """Whether a code, or a reason to stop, is a content filter's."""
    filters = _table()["filters"]
    if code in filters["numbers"]:
        return True
    letters = "".join(letter for letter in code.casefold() if letter.isalpha())
    is_named = any(marker in letters for marker in filters["codes"])
    return is_named and not any(other in letters for other in filters["about_one"])


def filter_in(message: str, codes: list[str]) -> str | None:
    """Return the code of a content filter that the message is of, ``None`` where it is of none.

    That is the vendor's own among ``codes``, where it says anything.
    """
    words = plain(message)
    for phrase, code in _table()["filters"]["phrases"].items():
        if phrase in words:
            return str(code)
    spoke = _has("filter", words) and not _has("set_up", words)
    if not (spoke or _has("stopped_by_filter", words)) or _has("on_the_way", words):
        return None
    if _has("overload", words) or _has("invalid_key", words):
        return None
    return named(codes) or "content_filter"


def named(codes: list[str]) -> str | None:
    """Return the first of a vendor's ``codes`` that says anything."""
    own = (code for code in codes if " " not in code and not _NO_NAME.fullmatch(code))
    return next(own, None)
