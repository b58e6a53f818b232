"""What hosted models share: options, key and address; a codec says how the vendor is spoken to."""

from __future__ import annotations

import contextlib
import os
import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass, field, replace
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Final

import orjson
from pydantic import Field
from yarl import URL

from opensafemlrm import redaction
from opensafemlrm.components import Model
from opensafemlrm.errors import ImageError, ModelError
from opensafemlrm.models.base import CatalogModel
from opensafemlrm.models.billing import Price
from opensafemlrm.models.catalog import system_in_user
from opensafemlrm.models.clock import Clock
from opensafemlrm.models.hosted.probe import form_of, harmless
from opensafemlrm.models.hosted.whole_prompt import whole
from opensafemlrm.models.http.batches import Batches
from opensafemlrm.models.http.client import Client, Limits, Probe
from opensafemlrm.models.http.codec import Codec, Request, dumps
from opensafemlrm.models.http.endpoint import Endpoint
from opensafemlrm.models.http.parameters import RESPONSE_FORMAT, SYSTEM_ROLE, Parameters
from opensafemlrm.models.http.proxies import is_loopback
from opensafemlrm.types import Capability, Prompt, Response, Sampling

_VARIABLE: Final = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_LONG_NAME: Final = 16
"""Letters and digits from which on a name without an underscore may be a key."""


class State:
    """What changes while a model is in use."""

    def __init__(self, clock: Clock, codec: Codec) -> None:
        self.clock, self.codec = clock, codec
        self.client: Client | Batches | None = None
        self.parameters = Parameters()


@dataclass(frozen=True, slots=True)
class HostedModel(CatalogModel):
    """A model behind a vendor's HTTP API.

    ``base_url`` is the server's address, up to and with its version; or a list of servers of the
    same model, which share the requests, ``concurrency`` of them in all: what one cannot take goes
    to the others. The key comes from an environment variable alone, and goes nowhere but into the
    request. The vendor's own variable is read for the vendor's host alone; for any other,
    ``api_key_env`` names the one to read. Servers on this machine need none.

    Where a model is served, how many requests run at once, how long they may take and how its
    reasoning is parsed do not change what it writes, so these options are no part of its identity:
    replies that one server gave are taken for those of another. Give a ``revision`` where that
    would be wrong.
    """

    key_required: ClassVar[bool] = True
    vendor_key_env: ClassVar[str]
    """The environment variable that the vendor's own key is kept in."""
    default_url: ClassVar[str]
    url_env: ClassVar[str | None] = None
    """The environment variable that may name another address."""

    extra_body: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """More fields of the request. ``null`` leaves a field out that would be sent otherwise, such
    as ``temperature``."""
    base_url: str | tuple[str, ...] | None = field(default=None, compare=False)
    api_key_env: str | None = field(default=None, compare=False)
    """The name of the environment variable that holds the key, if it is not the vendor's own."""
    insecure: bool = field(default=False, compare=False)
    """Send the key over plain ``http://``, where others on the way can read it."""
    concurrency: Annotated[int, Field(ge=1)] = field(default=32, compare=False)
    adaptive: bool = field(default=False, compare=False)
    """Find out how many requests the server can take at once; ``concurrency`` is the most."""
    timeout: Annotated[float, Field(gt=0)] = field(default=300.0, compare=False)
    """Seconds that one try may take, from its first byte to its last."""
    max_retries: Annotated[int, Field(ge=0)] = field(default=5, compare=False)
    give_up_after: Annotated[int, Field(ge=1)] = field(default=20, compare=False)
    """Requests that may fail in a row, after their retries, before the server counts as down."""
    price: Price | None = field(default=None, compare=False)
    """US dollars for a million tokens, in and out; what ``--max-cost`` counts by."""
    clock: InitVar[Clock | None] = None
    _state: State = field(init=False, repr=False, compare=False)
    _is_schema_asked: bool = field(init=False, default=False, repr=False, compare=False)
    """Whether ``extra_body`` holds a schema that a judge wants, and can do without."""

    def __post_init__(self, clock: Clock | None) -> None:
        CatalogModel.__post_init__(self)
        if self.api_key_env is not None and not _is_variable(self.api_key_env):
            # Not repeated: it may well be the key itself.
            raise ValueError("api_key_env is the name of an environment variable, never the key")
        taken = [name for name in self.codec.reserved if name in self.extra_body]
        if taken:
            raise ValueError(f"extra_body may not set {', '.join(taken)}")
        try:
            extra = orjson.loads(orjson.dumps(dict(self.extra_body)))
        except TypeError as error:
            raise ValueError(f"extra_body holds something that is not JSON: {error}") from error
        for url in self._urls():
            key = self._key_env(url)
            redaction.note([os.environ.get(key, "").strip()] if key else [])
        object.__setattr__(self, "extra_body", extra)
        object.__setattr__(self, "_state", State(clock or Clock(), self.codec))

    @property
    @abstractmethod
    def codec(self) -> Codec:
        """How the vendor's requests are written and its replies read."""

    def check_ready(self) -> None:
        """Raise ModelError where the address or the key is missing or wrong."""
        self.endpoints()

    @property
    def sent_fields(self) -> Mapping[str, Any]:
        """More fields of every request, which the model's reasoning needs; see ``extra_body``."""
        return {}

    def servers(self) -> Mapping[str, Model]:
        """Return the model asked at each of a list of addresses alone."""
        if not isinstance(self.base_url, tuple) or len(self.base_url) == 1:
            return {}
        addresses = [Endpoint(url, None, self.label, None).address for url in self._urls()]
        models = [replace(self, base_url=url, clock=self._state.clock) for url in self.base_url]
        return dict(zip(addresses, models, strict=True))

    def outages(self) -> Sequence[str]:
        """Return a sentence for each of several servers that was out while others answered."""
        client = self._state.client
        return client.outages() if isinstance(client, Client) else ()

    async def aclose(self) -> None:
        """Close the connections of the running event loop. May be called twice."""
        if self._state.client is not None:
            await self._state.client.aclose()

    async def _ask(self, prompt: Prompt, sampling: Sampling) -> Response:
        client = self._state.client or self._open()
        sending = _Sending(self, prompt, sampling)
        probe = Probe(form_of(prompt), lambda: dumps(self._body(harmless(prompt), sampling)))
        parameters = self._state.parameters
        at_once = parameters.is_settled or isinstance(client, Batches)
        turn = contextlib.nullcontext() if at_once else parameters.first_alone()
        try:
            async with turn:
                body, limit = sending.encoded(), sampling.max_tokens
                response = await client.ask(body, limit, probe, sending.revised)
        except ImageError as error:
            return Response.failed("image_unreadable", str(error), transient=True)
        # Nobody else has it yet; to copy it takes longer than to read it.
        object.__setattr__(response, "sent", sending.settings)
        return whole(response, prompt)

    def _body(self, prompt: Prompt, sampling: Sampling) -> dict[str, Any]:
        """Return the body of the request. Raises ImageError."""
        prefill = Capability.PREFILL in self.capabilities and prompt.is_prefilled
        turns = self._turns(prompt)
        if self._state.parameters.system_in_user:
            turns = system_in_user(turns)
        request = Request(
            self.model,
            turns,
            sampling,
            {**self.sent_fields, **self.extra_body},
            self._setup.template,
            is_prefilled=prefill,
        )
        codec = self._state.codec
        body = codec.encode(request)
        self._state.parameters.apply(codec.settings(body))
        return body

    def _open(self, base_url: str | None = None) -> Client | Batches:
        """Make the client, for the options' address or ``base_url``. Raises ModelError."""
        endpoints = self.endpoints(base_url)
        limits = Limits(
            self.concurrency, self.timeout, self.max_retries, self.give_up_after, self.adaptive
        )
        self._state.client = client = self._client(endpoints, limits)
        return client

    def endpoints(self, base_url: str | None = None) -> list[Endpoint]:
        """Return the servers, with the key for each.

        Raises ModelError where address or key are missing or wrong.
        """
        try:
            keys = [(url, self._key_env(url)) for url in self._urls(base_url)]
        except ValueError as error:
            raise ModelError(f"{self.label}: {error}") from error
        codec = self.codec
        return [
            Endpoint(url, self._key(url, env), self.label, env, codec.key_header, codec.headers)
            for url, env in keys
        ]

    def _client(self, endpoints: Sequence[Endpoint], limits: Limits) -> Client | Batches:
        """Return what sends the requests."""
        return Client(endpoints, limits, self._state.clock, self.codec)

    def _urls(self, base_url: str | None = None) -> list[URL]:
        """Return where requests are posted. Raises ValueError, without repeating an address."""
        named = os.environ.get(self.url_env) if self.url_env else None
        given, path = base_url or self.base_url, self.codec.path(self.model)
        if given in (None, "") and named:
            try:
                return [_address(named, path)]
            except ValueError as error:
                raise ValueError(f"{self.url_env} is wrong: {error}") from error
        addresses = [given or self.default_url] if isinstance(given, str | None) else given
        if not addresses or len(set(addresses)) < len(addresses):
            raise ValueError("base_url is an address, or a list of addresses that differ")
        return [_address(address, path) for address in addresses]

    def _key_env(self, url: URL) -> str | None:
        """Return the variable whose key may go to ``url``, ``None`` where none has to.

        Raises ValueError where a key is needed and none is named for this host, or where it would
        go over a connection that others can read.
        """
        local = is_loopback(url)
        host, vendor = url.host or "", URL(self.default_url)
        own = vendor.host or ""
        is_own = host == own or host.endswith(f".{own}") or (local and is_loopback(vendor))
        name = self.api_key_env or (self.vendor_key_env if is_own else None)
        if name is None and self.key_required and not local:
            raise ValueError(
                f"{host} is not {own}, so {self.vendor_key_env} is not for it: name the "
                "environment variable with its key in `api_key_env`, or write "
                f"vllm/{self.model} for a server that takes no key"
            )
        has_key = name is not None or any(map(redaction.is_key_name, url.query))
        if has_key and url.scheme == "http" and not local and not self.insecure:
            raise ValueError(
                f"a key would go to {host} over http://, where others can read it: use https:// "
                "in base_url, or set `insecure: true` in a network that you trust"
            )
        return name

    def _key(self, url: URL, key_env: str | None) -> str | None:
        key = os.environ.get(key_env, "").strip() if key_env else ""
        if not key:
            if key_env and self.key_required and not is_loopback(url):
                raise ModelError(
                    f"{self.label} needs a key for {url.host}: set the environment variable "
                    f"{key_env}, name another one in `api_key_env`, or write "
                    f"vllm/{self.model} for a server that takes no key"
                )
            return None
        if not (key.isascii() and key.isprintable()):
            raise ModelError(f"{self.label}: {key_env} holds characters no key can have")
        return key


class _Sending:
    """One prompt on its way, with what the server is known not to take."""

    def __init__(self, model: HostedModel, prompt: Prompt, sampling: Sampling) -> None:
        self._model, self._prompt, self._sampling = model, prompt, sampling
        self._parameters = model._state.parameters
        self._body: dict[str, Any] = {}
        self._changes = 0

    def encoded(self) -> bytes:
        """Return the body of the request. Raises ImageError."""
        self._changes = self._parameters.changes
        self._body = self._model._body(self._prompt, self._sampling)
        return dumps(self._body)

    def revised(self, refused: Sequence[str]) -> bytes | None:
        """Return the body without a parameter that was refused, ``None`` if it cannot do without.

        What the study itself sets is never left out: the failure says so, and it can be fixed.
        """
        codec = self._model.codec
        own = set(codec.settings(dict(self._model.extra_body)))
        if self._model._is_schema_asked:
            own.discard(RESPONSE_FORMAT)
        fields = {n: v for n, v in codec.settings(self._body).items() if n not in own}
        has_system = any(t.role == SYSTEM_ROLE for t in self._model._turns(self._prompt))
        known = self._changes != self._parameters.changes
        if known or self._parameters.learn(refused, fields, codec, has_system=has_system):
            return self.encoded()
        return None

    @property
    def settings(self) -> str:
        """What the request set beside its prompt, as JSON."""
        # A judge's schema is part of its key.
        unrecorded = (*self._model._state.codec.reserved, RESPONSE_FORMAT)
        sent = {name: value for name, value in self._body.items() if name not in unrecorded}
        if self._body.get(RESPONSE_FORMAT) != self._model.extra_body.get(RESPONSE_FORMAT):
            sent[RESPONSE_FORMAT] = self._body.get(RESPONSE_FORMAT)
        if self._parameters.system_in_user:
            sent[SYSTEM_ROLE] = "user"
        return _struck_out(dumps(sent).decode())


@lru_cache(256)
def _struck_out(settings: str) -> str:
    """Return the settings without known secrets: those of most requests are the same."""
    return redaction.known()(settings)


def _is_variable(name: str) -> bool:
    """Whether a name can be that of a variable with a key: one that is set, or is written as one.

    Many a key could be a name as well, but for its small letters, its length or its form.
    """
    if not _VARIABLE.fullmatch(name):
        return False
    usual = name.isupper() and (len(name) < _LONG_NAME or "_" in name)
    return name in os.environ or (usual and redaction.without_secrets(name) == name)


def _address(base_url: str, path: str) -> URL:
    """Return where requests are posted. Raises ValueError, without repeating the address."""
    url = URL(base_url)
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("base_url must look like https://HOST/v1")
    if url.user or url.password:
        raise ValueError(
            "base_url may not hold a user or a password: put the key into an environment variable "
            "and name it in api_key_env"
        )
    base = url.path.rstrip("/")
    return url.with_path(base if base.endswith(path) else base + path).with_query(url.query)
