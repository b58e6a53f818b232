"""What a vendor's HTTP API is to the client: where requests go, how they are written, and read."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import orjson

from opensafemlrm.types import JSON, ResponseStatus, Sampling, Turn, Usage


class UnusableError(Exception):
    """A reply that holds no text of the model."""

    def __init__(  # what an error says
        self,
        code: str,
        detail: str,
        *,
        transient: bool,
        blocked: bool = False,
        refused: tuple[str, ...] = (),
    ) -> None:
        self.code, self.detail, self.transient, self.blocked = code, detail, transient, blocked
        self.refused = refused
        """Parameters that the server does not take."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request, whichever vendor it goes to."""

    model: str
    turns: tuple[Turn, ...]
    sampling: Sampling
    extra: Mapping[str, Any] = field(default_factory=dict)
    """More fields of the body; ``None`` leaves a field out that would be sent otherwise."""
    template: Mapping[str, Any] | None = None
    """Arguments of the chat template."""
    is_prefilled: bool = False
    """Whether the last turn begins the reply."""


class ParsedReply(NamedTuple):
    """What a whole reply says, whichever vendor's shape it had."""

    status: ResponseStatus
    text: str
    reasoning: str | None = None
    is_summary: bool = False
    is_hidden: bool = False
    finish: str | None = None
    code: str | None = None
    usage: Usage = Usage()
    left_out: tuple[str, ...] = ()
    """Parts of the reply that are no text of the model."""


class Codec(ABC):
    """One vendor's API."""

    key_header: ClassVar[str] = "Authorization"
    """Where the key goes: as a bearer token, or alone in a header of the vendor's own."""
    headers: ClassVar[tuple[tuple[str, str], ...]] = ()
    """More headers of every request."""
    reserved: ClassVar[tuple[str, ...]]
    """Fields of the body that are set here alone."""
    model_field: ClassVar[str] = "model"
    """Where a reply names the model that answered."""
    optional: ClassVar[tuple[str, ...]] = ()
    """Fields that a request can do without, where the server does not take them."""
    weaker: ClassVar[Mapping[str, JSON]] = {}
    """What such a field is set to before it is left out."""
    other_names: ClassVar[Mapping[str, str]] = {}
    """What a field is called on servers that do not know it by its name."""

    @abstractmethod
    def path(self, model: str) -> str:
        """Return what comes after the base address."""

    @abstractmethod
    def encode(self, request: Request) -> dict[str, Any]:
        """Return the body of a request. Raises ImageError for an image that cannot be sent."""

    @abstractmethod
    def decode(self, payload: Any, max_tokens: int) -> ParsedReply:
        """Return what a parsed body says. Raises UnusableError where it says nothing usable."""

    def settings(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the part of a body, or of an ``extra_body``, that holds the sampling."""
        return body


def without_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that are to be sent."""
    return {name: value for name, value in fields.items() if value is not None}


def dumps(value: Any) -> bytes:
    """Serialise the body of a request."""
    try:
        return orjson.dumps(value)
    except TypeError:
        # Text with lone surrogates, which only the standard library writes (as escapes).
        return json.dumps(value).encode("ascii")
