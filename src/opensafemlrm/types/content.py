"""Content keys: equal content gives equal keys."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import orjson

JSON: TypeAlias = "Mapping[str, JSON] | Sequence[JSON] | str | int | float | bool | None"
Key: TypeAlias = bytes
"""A content key: the first 16 bytes of a SHA-256."""

_CANONICAL: Final = (
    orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
)


def content_key(*parts: Any) -> Key:
    """Return the 16-byte key of ``parts`` (JSON values or bytes), equal for equal content.

    Keys of mappings are sorted, so the order in which options are written does not matter. Text
    may hold any code point, lone surrogates included.
    """
    pieces: list[bytes] = []
    for part in parts:
        blob = part if isinstance(part, bytes) else canonical_json(part)
        pieces.append(b"%d:" % len(blob))
        pieces.append(blob)
    return hashlib.sha256(b"".join(pieces)).digest()[:16]


def canonical_json(value: Any) -> bytes:
    """Serialise ``value`` so that equal content gives equal bytes.

    Raises ValueError for NaN and infinities, and TypeError for what is not JSON.
    """
    if value is None:
        return b"null"
    try:
        blob = orjson.dumps(value, option=_CANONICAL)
    except TypeError:
        # Lone surrogates and whole numbers beyond 64 bits, which only the standard library writes.
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    if b"null" in blob and not isinstance(value, str):
        json.dumps(value, allow_nan=False)  # orjson writes NaN as null, which is something else
    return blob
