"""Where requests to a hosted model go, with which key, and what of it must never be shown."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import unquote, unquote_plus

from yarl import URL

from opensafemlrm import redaction
from opensafemlrm.errors import ModelError
from opensafemlrm.models.http.proxies import proxy_for
from opensafemlrm.models.http.transport import Timeouts, Transport
from opensafemlrm.redactor import MIN_KEY_LENGTH, Redactor


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where requests go."""

    url: URL
    key: str | None = field(repr=False)
    label: str
    """The model, as tables call it."""
    key_env: str | None
    """The environment variable that the key is in, where there may be one."""
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


def secrets_of(endpoints: Iterable[Endpoint]) -> tuple[Redactor, Redactor]:
    """Return what strikes secrets out of messages, and out of the model's text too.

    In messages, the keys, every value of an address's query that could be a secret, a proxy's
    user and password, and what of the environment is secret. In text, only what is a key by
    its name and length: values such as a version, or the key EMPTY that local servers are
    given, occur in innocent text as well.
    """
    values: set[str] = set()
    keys: set[str] = set()
    for endpoint in endpoints:
        keys.update({endpoint.key} if endpoint.key else ())
        for part in re.split("[&;]", endpoint.url.raw_query_string):
            name, _, value = part.partition("=")
            known = keys if redaction.is_key_name(name) else values
            known.update((value, unquote(value), unquote_plus(value)))
        with contextlib.suppress(ValueError):
            values.update(redaction.login_of(str(proxy_for(endpoint.url) or "")))
    redaction.note(keys)
    keys.update(redaction.of_environment())
    long = (key for key in keys if len(key) >= MIN_KEY_LENGTH)
    return Redactor({*keys, *values}), Redactor(long)
