"""What a server sent, read into a :class:`~opensafemlrm.types.Response`.

Servers are not trusted to keep to the documented shape: whatever they send becomes a reply, a
block or a failure with a code, never an exception, and never text that the model did not write.
"""

from __future__ import annotations

import functools
from typing import Any, Final, NamedTuple

from opensafemlrm.models.http import provider_errors
from opensafemlrm.models.http.codec import Codec, ParsedReply, UnusableError
from opensafemlrm.models.http.finish_reasons import is_known_ending
from opensafemlrm.models.http.json_bodies import parse, repaired
from opensafemlrm.models.http.parameters import refused_parameters
from opensafemlrm.redactor import Redactor
from opensafemlrm.types import Response, ResponseStatus

MAX_DETAIL_LENGTH: Final = 300
"""Characters of a server's own message that are kept."""
MAX_CODE_LENGTH: Final = 100
MAX_NAME_LENGTH: Final = 200
_MAX_MESSAGE: Final = 2**14
"""Characters that are searched for secrets before a message is cut to its length."""

_NOTHING: Final = Redactor(())


class Timing(NamedTuple):
    """What is known of a request before its reply is read."""

    latency: float = 0.0
    retries: int = 0


class Reader:
    """Reads bodies of a vendor's.

    ``secrets`` are struck out of everything that is not the model's own text, and ``keys`` out of
    that too: a server that echoes a key must not get it into a store.
    """

    def __init__(
        self, codec: Codec, secrets: Redactor = _NOTHING, keys: Redactor = _NOTHING
    ) -> None:
        self._codec, self._secrets, self._keys = codec, secrets, keys

    def clip(self, text: str, length: int = MAX_DETAIL_LENGTH) -> str:
        """Return ``text`` on one line, without secrets, storable, at most ``length`` long."""
        return clip(text, self._secrets, length)

    def reply(self, body: bytes, max_tokens: int, timing: Timing) -> Response:
        """Read the body of a reply with status 200."""
        try:
            return self._read(body, max_tokens, timing)
        except UnusableError as why:
            return self._without_text(why, timing)

    def error(self, status: int, body: bytes, timing: Timing) -> Response:
        """Read the body of a reply with any other status."""
        try:
            payload, _ = parse(body)
        except UnusableError:
            payload = body[:_MAX_MESSAGE].decode("utf-8", "replace")
        return self._without_text(rejection(payload, status), timing)

    def _without_text(self, why: UnusableError, timing: Timing) -> Response:
        return Response(
            ResponseStatus.BLOCKED if why.blocked else ResponseStatus.FAILED,
            code=self.clip(why.code, MAX_CODE_LENGTH) or "unknown",
            detail=self.clip(why.detail),
            transient=why.transient,
            latency=timing.latency,
            retries=timing.retries,
            refused=why.refused,
        )

    def _read(self, body: bytes, max_tokens: int, timing: Timing) -> Response:
        payload, note = parse(body)
        try:
            payload = self._keys.value(payload)
            reply = self._decode(payload, max_tokens)
        except RecursionError as error:
            why = "the reply is nested too deeply"
            raise UnusableError("bad_shape", why, transient=False) from error
        if reply.status is ResponseStatus.FAILED:
            why = f"the server broke off: {reply.finish}"
            raise UnusableError("aborted", why, transient=True)
        notes = [note] if note else []
        notes += [f"not kept: {', '.join(reply.left_out)}"] if reply.left_out else []
        if reply.status is ResponseStatus.OK and not is_known_ending(reply.finish):
            notes.append(f"an unknown finish reason: {reply.finish}")
        return Response(
            reply.status,
            reply.text,
            reply.reasoning,
            reply.is_summary,
            reply.is_hidden,
            self.clip(reply.finish, MAX_CODE_LENGTH) if reply.finish else reply.finish,
            reply.usage,
            timing.latency,
            timing.retries,
            self.clip(reply.code, MAX_CODE_LENGTH) if reply.code else None,
            self.clip("; ".join(notes)) if notes else None,
            model=self._model_in(payload),
        )

    def _decode(self, payload: Any, max_tokens: int) -> ParsedReply:
        why = UnusableError("bad_shape", "the reply is not a JSON object", transient=False)
        if isinstance(payload, dict):
            if payload.get("error") or "error" in (payload.get("object"), payload.get("type")):
                raise rejection(payload)
            try:
                return self._codec.decode(payload, max_tokens)
            except UnusableError as unusable:
                why = unusable
        # Some servers send their errors with status 200, in a shape of their own.
        raise why if why.blocked or not provider_errors.says_error(payload) else rejection(payload)

    def _model_in(self, payload: dict[str, Any]) -> str | None:
        name = payload.get(self._codec.model_field)
        return self.clip(name, MAX_NAME_LENGTH) or None if isinstance(name, str) else None


def clip(text: str, secrets: Redactor, length: int = MAX_DETAIL_LENGTH) -> str:
    """Return ``text`` on one line, without ``secrets``, storable, at most ``length`` long."""
    return (_remembered if len(text) <= _SHORT else _clipped)(text, secrets, length)


def _clipped(text: str, secrets: Redactor, length: int) -> str:
    text = secrets(text[:_MAX_MESSAGE])
    text = " ".join(repaired(text).replace("\0", " ").split())
    return text if len(text) <= length else text[: length - 1] + "…"


_remembered: Final = functools.lru_cache(1024)(_clipped)
_SHORT: Final = 64
"""Characters up to which a text is remembered: names and finish reasons come again."""


def finish_of(value: Any) -> str | None:
    """Return a finish reason, ``None`` where the server gave none."""
    return value if isinstance(value, str) and value else None


def count(value: Any) -> int | None:
    """Return a count that a 64-bit column can hold, or ``None``."""
    return value if type(value) is int and 0 <= value < 2**63 else None


_CACHED: Final = frozenset(
    ("cached_tokens", "prompt_cache_hit_tokens", "cachedContentTokenCount",
     "cache_read_input_tokens", "cache_creation_input_tokens")
)  # fmt: skip


def cached(usage: dict[str, Any]) -> int | None:
    """Return the tokens of a prompt that a server says it had in its cache, or put there."""
    details = [usage.get("prompt_tokens_details"), usage.get("input_tokens_details")]
    places = [usage, *(detail for detail in details if isinstance(detail, dict))]
    counts = [n for place in places for name in _CACHED & place.keys() if (n := count(place[name]))]
    return sum(counts) or None


def rejection(payload: Any, status: int = 200) -> UnusableError:
    """Return why the server turned a request down, as an error body says."""
    error = provider_errors.read(payload, status)
    if error.blocked_by:
        return UnusableError(error.blocked_by, error.message, transient=False, blocked=True)
    return UnusableError(
        error.code,
        error.message or "no message",
        transient=error.transient,
        refused=refused_parameters(payload, status, error.message),
    )
