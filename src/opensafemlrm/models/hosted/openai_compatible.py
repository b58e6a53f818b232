"""Models behind an OpenAI-compatible Chat Completions server.

One request shape reaches OpenAI, vLLM, SGLang, Ollama, OpenRouter and most hosted services. It is
spoken here directly, without a vendor's SDK: the body is put together from pieces that are
serialised once, so that an image of 100 KB is never escaped again.

Source of the shape: OpenAI API reference, "Create chat completion"; the fields that other servers
add to replies are listed in ``_replies.py``.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import Field as OptionField
from dataclasses import InitVar, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

import orjson
from pydantic import Field
from yarl import URL

from opensafemlrm import images
from opensafemlrm.components import Model
from opensafemlrm.errors import ImageError, ModelError, UnknownNameError
from opensafemlrm.models import identity as _identity
from opensafemlrm.models.catalog import Setup
from opensafemlrm.models.http import batch_files as _batch_files
from opensafemlrm.models.http.client import Client, Limits
from opensafemlrm.models.http.endpoint import Endpoint
from opensafemlrm.models.http.proxies import is_loopback
from opensafemlrm.models.http.replies import Reader
from opensafemlrm.models.http.retry import Clock, SystemClock
from opensafemlrm.models.stages import in_stages
from opensafemlrm.reasoning import FORMATS
from opensafemlrm.types import (
    JSON,
    Capability,
    Image,
    Prompt,
    Response,
    Sampling,
    Turn,
)

if TYPE_CHECKING:
    from opensafemlrm.models.http.batches import Batches

_VARIABLE: Final = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_LARGE: Final = 16 * 1024
"""Bytes from which a piece of a body is sent as it is: smaller ones are cheaper to copy."""
_CONTINUE: Final = b',"add_generation_prompt":false,"continue_final_message":true'


class _State:
    """What changes while a model is in use: its client, and the pieces of bodies made so far."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.client: Client | Batches | None = None
        self.head = b""
        self.tails: dict[Sampling, bytes] = {}
        self.first: tuple[Turn, bytes] | None = None
        """The turn that the last prompt began with, and what it is in a body: a judge's policy is
        longer than all that comes after it."""


@dataclass(frozen=True, slots=True)
class OpenAICompatible(Model):
    """A model on an OpenAI-compatible server: ``openai/NAME``.

    ``base_url`` is the server's address up to and with ``/v1``; without it ``OPENAI_BASE_URL`` is
    used, and after that OpenAI's own. The key comes from the environment variable ``api_key_env``
    alone, and goes nowhere but into the request; servers on this machine need none.

    Where a model is served, how many requests run at once, how long they may take and how its
    reasoning is split do not change what it writes, so these options are no part of its identity:
    replies that one server gave are taken for those of another. Give a ``revision`` (any text: a
    commit, a quantisation, a date) where that would be wrong.
    """

    name = "openai"
    key_required: ClassVar[bool] = True
    default_url: ClassVar[str] = "https://api.openai.com/v1"
    url_env: ClassVar[str | None] = "OPENAI_BASE_URL"
    path: ClassVar[str] = "/chat/completions"
    key_header: ClassVar[str] = "Authorization"
    headers: ClassVar[tuple[tuple[str, str], ...]] = ()
    reader: ClassVar[type[Reader]] = Reader
    reserved: ClassVar[tuple[str, ...]] = ("model", "messages", "stream", "n")
    unused: ClassVar[tuple[str, ...]] = ()
    """Options that a vendor's own shape has no place for."""
    has_batches: ClassVar[bool] = True
    """Whether the vendor has OpenAI's Batch API."""
    capabilities = frozenset({Capability.JSON_SCHEMA})

    model: str
    revision: str | None = None
    """Which build of the model this is; part of its identity and of its label."""
    system_prompt: str | None = None
    """Put before the prompt's own system message; replaces what the catalogue would put there."""
    thinking: bool | None = None
    """Turns the reasoning of a model on or off whose switch the catalogue knows."""
    extra_body: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """More fields of the request, such as ``chat_template_kwargs``. ``null`` leaves a field out
    that would be sent otherwise, such as ``temperature``."""
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    image_detail: Literal["low", "high", "auto"] | None = None
    alias: str | None = field(default=None, compare=False)
    """What tables and ``pairs`` call it in place of its label."""
    format: str = field(default="auto", compare=False)
    """How the model writes its reasoning."""
    catalog: str | None = field(default=None, compare=False)
    """The row of the catalogue that it is, if its own name does not say; ``none`` for no row."""
    base_url: str | None = field(default=None, compare=False)
    api_key_env: str = field(default="OPENAI_API_KEY", compare=False)
    concurrency: Annotated[int, Field(ge=1)] = field(default=32, compare=False)
    adaptive: bool = field(default=False, compare=False)
    """Find out how many requests the server can take at once; ``concurrency`` is the most."""
    batch: bool = field(default=False, compare=False)
    """Send requests in batches, which are answered within a day and cost less; ``concurrency`` is
    how many may be in one."""
    batch_folder: Path | None = field(default=None, compare=False)
    """Where batches under way are noted; in the user's state folder if not given."""
    timeout: Annotated[float, Field(gt=0)] = field(default=300.0, compare=False)
    """Seconds that one try may take, from its first byte to its last."""
    max_retries: Annotated[int, Field(ge=0)] = field(default=5, compare=False)
    give_up_after: Annotated[int, Field(ge=1)] = field(default=20, compare=False)
    """Requests that may fail in a row, after their retries, before the server counts as down."""
    price: tuple[float, float] | None = field(default=None, compare=False)
    """US dollars for a million tokens, in and out; what ``--max-cost`` counts by."""
    clock: InitVar[Clock | None] = None
    _state: _State = field(init=False, repr=False, compare=False)
    _setup: Setup = field(init=False, repr=False, compare=False)

    def __post_init__(self, clock: Clock | None) -> None:
        if self.format not in FORMATS:
            raise UnknownNameError("reasoning format", self.format, FORMATS)
        vain = [f.name for f in fields(self) if f.name in self.unused and self._is_set(f)]
        if vain:
            raise ValueError(f"{self.name}/ takes no {', '.join(vain)}")
        if not _VARIABLE.fullmatch(self.api_key_env):
            # Not repeated: it may well be the key itself.
            raise ValueError("api_key_env is the name of an environment variable, never the key")
        taken = [key for key in self.reserved if key in self.extra_body]
        if taken:
            raise ValueError(f"extra_body may not set {', '.join(taken)}")
        try:
            extra = orjson.loads(orjson.dumps(dict(self.extra_body)))
        except TypeError as error:
            raise ValueError(f"extra_body holds something that is not JSON: {error}") from error
        if self.batch and not self.has_batches:
            raise ValueError(f"{self.name}/ has no batches: leave out batch")
        if self.base_url is not None:
            _address(self.base_url, self._path)
        setup = Setup.of(self.model, self.catalog, thinking=self.thinking)
        object.__setattr__(self, "_setup", setup)
        object.__setattr__(self, "extra_body", extra)
        object.__setattr__(self, "_state", _State(clock or SystemClock()))

    @property
    def label(self) -> str:
        """``openai/NAME``, with what sets it apart from the same model asked plainly.

        ``@revision`` where there is one; other options that change replies by their names, with
        four digits of their content: ``openai/NAME[extra_body:3f9a]``. An ``alias`` replaces it.
        """
        return _identity.label(self) if self.alias is None else self.alias

    @property
    def reasoning_format(self) -> str:
        """The format given; else the one its name is known by; else ``auto``, detected."""
        return self._setup.format if self.format == "auto" else self.format

    def identity(self) -> Mapping[str, JSON]:
        """Return name, version, model, and those options that change replies and are set.

        Options at their defaults are left out, so that an option added later changes no key.
        """
        return {**_identity.identity(self), **self._setup.identity()}

    async def generate(self, prompt: Prompt, sampling: Sampling) -> Response:
        """Send ``prompt``, again where that can help, and return how it ended.

        Raises ModelError where no request can succeed (no key, wrong address, unknown model), and
        EndpointDownError where the server has stopped answering.
        """
        if self._setup.stages:
            return await in_stages(self._ask, prompt, sampling, self._setup.stages)
        return await self._ask(prompt, sampling)

    async def _ask(self, prompt: Prompt, sampling: Sampling) -> Response:
        client = self._state.client or self._open()
        try:
            body = self._body(prompt, sampling)
        except ImageError as error:
            return Response.failed("image_unreadable", str(error), transient=True)
        return await client.ask(body, sampling.max_tokens)

    def with_json_schema(self, response_format: Mapping[str, JSON]) -> Model:
        """Return the model with a ``response_format`` in every request."""
        extra = {**self.extra_body, "response_format": response_format}
        return replace(self, extra_body=extra)

    def unbatched(self) -> Model:
        """Return the model, asked one request at a time."""
        return replace(self, batch=False) if self.batch else self

    async def aclose(self) -> None:
        """Close the connections of the running event loop. May be called twice."""
        if self._state.client is not None:
            await self._state.client.aclose()

    def _is_set(self, option: OptionField[Any]) -> bool:
        return bool(getattr(self, option.name) != option.default)

    @property
    def _path(self) -> str:
        """What is put after ``base_url``."""
        return self.path

    def _open(self, base_url: str | None = None) -> Client | Batches:
        """Make the client, for where the options say unless ``base_url`` does.

        Raises ModelError where address or key are missing or wrong.
        """
        named = os.environ.get(self.url_env) if self.url_env else None
        try:
            url = _address(base_url or self.base_url or named or self.default_url, self._path)
        except ValueError as error:
            raise ModelError(f"{self.label}: {self.url_env} is wrong: {error}") from error
        limits = Limits(
            self.concurrency, self.timeout, self.max_retries, self.give_up_after, self.adaptive
        )
        key = self._key(url)
        endpoint = Endpoint(url, key, self.label, self.api_key_env, self.key_header, self.headers)
        client: Client | Batches
        if self.batch:
            from opensafemlrm.models.http.batches import Batches  # noqa: PLC0415 # few need it

            folder = self.batch_folder or _batch_files.default_folder()
            clock = self._state.clock
            client = Batches(endpoint, self._path, folder, limits, clock, self.reader)
        else:
            client = Client(endpoint, limits, self._state.clock, self.reader)
        self._state.client = client
        return client

    def _key(self, url: URL) -> str | None:
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            if self.key_required and not is_loopback(url):
                raise ModelError(
                    f"{self.label} needs a key for {url.host}: set the environment variable "
                    f"{self.api_key_env}, name another one in api_key_env, or write "
                    f"vllm/{self.model} for a server that takes no key"
                )
            return None
        if not (key.isascii() and key.isprintable()):
            raise ModelError(f"{self.label}: {self.api_key_env} holds characters no key can have")
        return key

    def _body(self, prompt: Prompt, sampling: Sampling) -> bytes:
        """Return the body of the request."""
        return b"".join(self._pieces(prompt, sampling))

    def _pieces(self, prompt: Prompt, sampling: Sampling) -> list[bytes]:
        """Return the body in pieces, images apart, so that requests under way share them."""
        state = self._state
        if not state.head:
            state.head = b'{"model":' + dumps(self.model) + b',"messages":['
        pieces = [state.head]
        for index, turn in enumerate(self._turns(prompt)):
            if index:
                pieces.append(b",")
            if state.first is not None and turn is state.first[0]:
                pieces.append(state.first[1])
            elif any(isinstance(part, Image) for part in turn.parts):
                self._write_parts(turn, pieces)
            else:
                # Plain text: some servers take no parts in system and assistant messages.
                pieces.append(dumps({"role": turn.role, "content": turn.text}))
                if index == 0:
                    state.first = (turn, pieces[-1])
        tail = state.tails.get(sampling) or self._tail(sampling)
        if Capability.PREFILL in self.capabilities and prompt.is_prefilled:
            tail = tail[:1] + _CONTINUE + tail[1:]
        pieces.append(tail)
        return _with_small_joined(pieces)

    def _turns(self, prompt: Prompt) -> tuple[Turn, ...]:
        return self._setup.turns(prompt, self.system_prompt)

    def _write_parts(self, turn: Turn, pieces: list[bytes]) -> None:
        detail = b',"detail":%b' % dumps(self.image_detail) if self.image_detail else b""
        opening = b'{"role":%b,"content":[' % dumps(turn.role)
        for part in turn.parts:
            if isinstance(part, str):
                pieces += (opening, b'{"type":"text","text":', dumps(part), b"}")
            else:
                uri = images.data_uri_bytes(part)
                pieces += (opening, b'{"type":"image_url","image_url":{"url":"', uri, b'"')
                pieces += (detail, b"}}")
            opening = b","
        pieces.append(b"]}")

    def _tail(self, sampling: Sampling) -> bytes:
        """Return the end of the body, which is the same for all requests that sample alike."""
        asked = {
            "temperature": sampling.temperature,
            self.max_tokens_field: sampling.max_tokens,
            "seed": sampling.seed,
            "top_p": sampling.top_p,
            "stop": sampling.stop and list(sampling.stop),
            **self.extra_body,
        }
        if self._setup.template:
            given = self.extra_body.get("chat_template_kwargs") or {}
            asked["chat_template_kwargs"] = {**self._setup.template, **given}
        settings = {key: value for key, value in asked.items() if value is not None}
        tail = b"]," + dumps(settings)[1:] if settings else b"]}"
        tails = self._state.tails
        if len(tails) > 1000:  # one a seed; a run has few repeats, a search may have many
            tails.clear()
        tails[sampling] = tail
        return tail


def _with_small_joined(pieces: Iterable[bytes]) -> list[bytes]:
    """Join the pieces between large ones."""
    joined: list[bytes] = []
    small: list[bytes] = []
    for piece in pieces:
        if len(piece) < _LARGE:
            small.append(piece)
        else:
            joined += (b"".join(small), piece)
            small = []
    return [*joined, b"".join(small)]


def _address(base_url: str, api: str) -> URL:
    """Return where requests are posted. Raises ValueError, without repeating the address."""
    url = URL(base_url)
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("base_url must look like https://HOST/v1")
    if url.user or url.password:
        raise ValueError(
            "base_url may not hold a user or a password: put the key into an environment variable "
            "and name it in api_key_env"
        )
    path = url.path.rstrip("/")
    return url.with_path(path if path.endswith(api) else path + api).with_query(url.query)


def dumps(value: Any) -> bytes:
    """Serialise a value of a request."""
    try:
        return orjson.dumps(value)
    except TypeError:
        # Text with lone surrogates, which only the standard library writes (as escapes).
        return json.dumps(value).encode("ascii")
