"""Where requests to a hosted model go, with which key, and what of it must never be shown."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, unquote_plus

from yarl import URL

from opensafemlrm.errors import ModelError
from opensafemlrm.models.http.proxies import proxy_for
from opensafemlrm.models.http.transport import Timeouts, Transport

_KEY_NAMES: Final = re.compile("key|token|code|secret|sig|auth|pass", re.IGNORECASE)
"""Names of query parameters that hold keys."""
_MIN_KEY_LENGTH: Final = 8
"""Characters from which on a key cannot be a word of a model's own."""
_MIN_VALUE_LENGTH: Final = 4
"""Characters from which on any value of a query is struck out of messages: shorter ones, such as
the version in ``?v=4``, occur in codes such as ``http_404``, and are no secret."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where requests go."""

    url: URL
    key: str | None = field(repr=False)
    label: str
    """The model, as tables call it."""
    key_env: str
    key_header: str = "Authorization"
    """Where the key goes: as a bearer token, or alone in a header of the vendor's own."""
    headers: tuple[tuple[str, str], ...] = ()
    """More headers of every request."""

    @property
    def address(self) -> str:
        """The address without credentials or query."""
        return str(self.url.with_user(None).with_query(None))

    def open(self, timeouts: Timeouts) -> Transport:
        """Return a transport to it, for one event loop.

        Raises ModelError for a proxy that cannot be used, or that would see the key.
        """
        try:
            proxy = proxy_for(self.url)
        except ValueError as error:
            raise ModelError(f"{self.label}: {error}") from None
        if proxy is not None and self.key and self.url.scheme == "http":
            raise ModelError(
                f"{self.label}: the proxy would see the key in {self.key_env}: use https:// in "
                f"base_url, or put {self.url.host} into NO_PROXY"
            )
        headers = {
            "Accept": "application/json",
            # Replies are small, and a compressed one could unfold to anything.
            "Accept-Encoding": "identity",
            "User-Agent": "opensafemlrm",
            **dict(self.headers),
        }
        if self.key:
            bearer = self.key_header == "Authorization"
            headers[self.key_header] = f"Bearer {self.key}" if bearer else self.key
        return Transport(headers, timeouts, proxy)

    def secrets(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return what is struck out of messages, and what is struck out of the model's text too.

        In messages, the key and every value of the address's query that could be a secret, in each
        form in which a server may repeat it. In text, only what is a key by its name and length:
        values such as a version, or the key EMPTY that local servers are given, occur in innocent
        text as well.
        """
        values: set[str] = set()
        keys = {self.key} if self.key else set()
        for part in re.split("[&;]", self.url.raw_query_string):
            name, _, value = part.partition("=")
            if _KEY_NAMES.search(name):
                keys.update((value, unquote(value), unquote_plus(value)))
            elif len(value) >= _MIN_VALUE_LENGTH:
                values.update((value, unquote(value), unquote_plus(value)))
        # The longest first, so that no piece of a longer one is left.
        ordered = sorted({*keys, *values} - {""}, key=len, reverse=True)
        long = (key for key in ordered if key in keys and len(key) >= _MIN_KEY_LENGTH)
        return tuple(ordered), tuple(long)
