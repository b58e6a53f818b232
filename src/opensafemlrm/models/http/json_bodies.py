"""JSON that a server sent: read strictly or leniently, and never into more memory than it may take.

A byte of JSON can become a hundred of Python's objects: `{},` does. What holds more values than any
reply has is not read.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

import orjson

from opensafemlrm.models.http.codec import UnusableError

MAX_VALUES: Final = 2**18
"""Commas, colons and opening brackets outside of strings: one for each value, and its name."""
_MAX_LENIENT: Final = 2 * 1024 * 1024
"""Bytes that the standard library reads, which takes many times as much memory as orjson."""
_MAX_SHOWN: Final = 2**14
_SIGNS: Final = (b",", b":", b"{", b"[")
_SIGN: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[,:{\[]', re.DOTALL)
_NOT_STRICT: Final = "the server's JSON is not strict; U+FFFD stands for what is not Unicode"


def parse(body: bytes) -> tuple[Any, str | None]:
    """Return what the JSON in ``body`` says, and a note where text had to be repaired.

    Raises UnusableError.
    """
    if _is_too_much(body):
        why = f"the JSON holds more than {MAX_VALUES:,} values"
        raise UnusableError("too_large", why, transient=False)
    try:
        return orjson.loads(body), None
    except orjson.JSONDecodeError:
        return _parse_leniently(body)


def parse_object(body: bytes) -> dict[str, Any] | None:
    """Return the object that strict JSON in ``body`` holds, ``None`` where there is none."""
    if _is_too_much(body):
        return None
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _is_too_much(body: bytes) -> bool:
    if len(body) <= MAX_VALUES or sum(map(body.count, _SIGNS)) <= MAX_VALUES:
        return False  # strings included: hardly any body has to be looked at more closely
    signs = 0
    for match in _SIGN.finditer(body):
        signs += match[0] in _SIGNS
        if signs > MAX_VALUES:
            return True
    return False


def _parse_leniently(body: bytes) -> tuple[Any, str]:
    # orjson refuses lone surrogates, NaN and line feeds within a text: real servers send them.
    text = body[:_MAX_LENIENT].decode("utf-8-sig", "replace").strip()
    why = "it is not strict, and too large to be read in another way"
    if len(body) <= _MAX_LENIENT:
        try:
            return _repaired(json.loads(text, strict=False)), _NOT_STRICT
        except (ValueError, RecursionError) as error:
            why = str(error)
    if not text:
        raise UnusableError("empty_body", "the body is empty", transient=True)
    if text[0] in "{[":
        raise UnusableError("bad_json", f"the JSON cannot be read: {why}", transient=True)
    raise UnusableError("not_json", f"not JSON; it begins: {text[:_MAX_SHOWN]}", transient=True)


def _repaired(value: Any) -> Any:
    if isinstance(value, str):
        return repaired(value)
    if isinstance(value, list):
        return [_repaired(inner) for inner in value]
    if isinstance(value, dict):
        return {repaired(key): _repaired(inner) for key, inner in value.items()}
    return value


def repaired(text: str) -> str:
    """Put U+FFFD for lone surrogates, which neither SQLite nor UTF-8 can hold."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
