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
from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field, fields
from typing import Annotated, Any, ClassVar, Final, Literal

import orjson
from pydantic import Field
from yarl import URL

from opensafemlrm import images
from opensafemlrm.errors import ImageError, ModelError, UnknownNameError
from opensafemlrm.models._http import Client, Endpoint, Limits, is_loopback
from opensafemlrm.models._pace import Clock, SystemClock
from opensafemlrm.reasoning import FORMATS, format_of_model
from opensafemlrm.types import (
    JSON,
    Image,
    Prompt,
    Response,
    Sampling,
    Turn,
    content_key,
    options_of,
)

_PATH: Final = "/chat/completions"
_RESERVED: Final = ("model", "messages", "stream", "n")
_DEFAULT_URL: Final = "https://api.openai.com/v1"


class _State:
    """What changes while a model is in use: its client, and the pieces of bodies made so far."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.client: Client | None = None
        self.head = b""
        self.tails: dict[Sampling, bytes] = {}


@dataclass(frozen=True, slots=True)
class OpenAICompatible:
    """A model on an OpenAI-compatible server: ``openai/NAME``.

    ``base_url`` is the server's address up to and with ``/v1``; without it ``OPENAI_BASE_URL`` is
    used, and after that OpenAI's own. The key comes from the environment variable ``api_key_env``
    alone, and goes nowhere but into the request; servers on this machine need none.

    Where a model is served, how many requests run at once, how long they may take and how its
    reasoning is split do not change what it writes, so these options are no part of its identity:
    replies that one server gave are taken for those of another. Give a ``revision`` (any text: a
    commit, a quantisation, a date) where that would be wrong.
    """

    name: ClassVar[str] = "openai"
    version: ClassVar[str] = "1-A"
    key_required: ClassVar[bool] = True

    model: str
    revision: str | None = None
    """Which build of the model this is; part of its identity and of its label."""
    system_prompt: str | None = None
    """Put before the prompt's own system message."""
    extra_body: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """More fields of the request, such as ``chat_template_kwargs``. ``null`` leaves a field out
    that would be sent otherwise, such as ``temperature``."""
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    image_detail: Literal["low", "high", "auto"] | None = None
    alias: str | None = field(default=None, compare=False)
    """What tables and ``pairs`` call it in place of its label."""
    format: str = field(default="auto", compare=False)
    """How the model writes its reasoning."""
    base_url: str | None = field(default=None, compare=False)
    api_key_env: str = field(default="OPENAI_API_KEY", compare=False)
    concurrency: Annotated[int, Field(ge=1)] = field(default=32, compare=False)
    timeout: Annotated[float, Field(gt=0)] = field(default=300.0, compare=False)
    """Seconds that one try may take, from its first byte to its last."""
    max_retries: Annotated[int, Field(ge=0)] = field(default=5, compare=False)
    give_up_after: Annotated[int, Field(ge=1)] = field(default=20, compare=False)
    """Requests that may fail in a row, after their retries, before the server counts as down."""
    clock: InitVar[Clock | None] = None
    _state: _State = field(init=False, repr=False, compare=False)

    def __post_init__(self, clock: Clock | None) -> None:
        if self.format not in FORMATS:
            raise UnknownNameError("reasoning format", self.format, FORMATS)
        taken = [key for key in _RESERVED if key in self.extra_body]
        if taken:
            raise ValueError(f"extra_body may not set {', '.join(taken)}")
        try:
            extra = orjson.loads(orjson.dumps(dict(self.extra_body)))
        except TypeError as error:
            raise ValueError(f"extra_body holds something that is not JSON: {error}") from error
        if self.base_url is not None:
            _address(self.base_url)
        object.__setattr__(self, "extra_body", extra)
        object.__setattr__(self, "_state", _State(clock or SystemClock()))

    @property
    def label(self) -> str:
        """``openai/NAME``, with what sets it apart from the same model asked plainly.

        ``@revision`` where there is one; other options that change replies by their names, with
        four digits of their content: ``openai/NAME[extra_body:3f9a]``. An ``alias`` replaces it.
        """
        if self.alias is not None:
            return self.alias
        revision = "" if self.revision is None else f"@{self.revision}"
        changed = self._changed()
        changed.pop("revision", None)
        marks = ",".join(f"{k}:{content_key(v).hex()[:4]}" for k, v in changed.items())
        return f"{self.name}/{self.model}{revision}" + (f"[{marks}]" if marks else "")

    @property
    def reasoning_format(self) -> str:
        """The format given; else the one its name is known by; else ``auto``, detected."""
        return format_of_model(self.model) if self.format == "auto" else self.format

    def identity(self) -> Mapping[str, JSON]:
        """Return name, version, model, and those options that change replies and are set.

        Options at their defaults are left out, so that an option added later changes no key.
        """
        return {
            "name": self.name,
            "version": self.version,
            "model": self.model,
            **self._changed(),
        }

    async def generate(self, prompt: Prompt, sampling: Sampling) -> Response:
        """Send ``prompt``, again where that can help, and return how it ended.

        Raises ModelError where no request can succeed (no key, wrong address, unknown model), and
        EndpointDownError where the server has stopped answering.
        """
        client = self._state.client or self._open()
        try:
            body = self._body(prompt, sampling)
        except ImageError as error:
            return Response.failed("image_unreadable", str(error), transient=True)
        return await client.ask(body, sampling.max_tokens)

    async def aclose(self) -> None:
        """Close the connections of the running event loop. May be called twice."""
        if self._state.client is not None:
            await self._state.client.aclose()

    def _changed(self) -> dict[str, JSON]:
        plain = {f.name: f.default for f in fields(self)} | {"model": self.model, "extra_body": {}}
        return {k: v for k, v in options_of(self).items() if v != plain[k]}

    def _open(self) -> Client:
        """Make the client. Raises ModelError where address or key are missing or wrong."""
        address = self.base_url or os.environ.get("OPENAI_BASE_URL") or _DEFAULT_URL
        try:
            url = _address(address)
        except ValueError as error:
            raise ModelError(f"{self.label}: OPENAI_BASE_URL is wrong: {error}") from error
        limits = Limits(self.concurrency, self.timeout, self.max_retries, self.give_up_after)
        endpoint = Endpoint(url, self._key(url), self.label, self.api_key_env)
        client = self._state.client = Client(endpoint, limits, self._state.clock)
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
        state = self._state
        if not state.head:
            state.head = b'{"model":' + _dumps(self.model) + b',"messages":['
        pieces = [state.head]
        for index, turn in enumerate(self._turns(prompt)):
            pieces.append(b'%b{"role":%b,"content":' % (b"," if index else b"", _dumps(turn.role)))
            self._write_content(turn, pieces)
            pieces.append(b"}")
        pieces.append(state.tails.get(sampling) or self._tail(sampling))
        return b"".join(pieces)

    def _turns(self, prompt: Prompt) -> tuple[Turn, ...]:
        if self.system_prompt is None:
            return prompt.turns
        first = prompt.turns[0] if prompt.turns else None
        if first is None or first.role != "system":
            return (Turn("system", (self.system_prompt,)), *prompt.turns)
        # Many chat templates take one system message only.
        parts = (self.system_prompt + "\n", *first.parts)
        return (Turn("system", parts), *prompt.turns[1:])

    def _write_content(self, turn: Turn, pieces: list[bytes]) -> None:
        if not any(isinstance(part, Image) for part in turn.parts):
            # Plain text: some servers take no parts in system and assistant messages.
            pieces.append(_dumps(turn.text))
            return
        detail = b',"detail":%b' % _dumps(self.image_detail) if self.image_detail else b""
        opening = b"["
        for part in turn.parts:
            if isinstance(part, str):
                pieces += (opening, b'{"type":"text","text":', _dumps(part), b"}")
            else:
                uri = images.data_uri(part).encode("ascii")
                pieces += (opening, b'{"type":"image_url","image_url":{"url":"', uri, b'"')
                pieces += (detail, b"}}")
            opening = b","
        pieces.append(b"]")

    def _tail(self, sampling: Sampling) -> bytes:
        """Return the end of the body, which is the same for all requests that sample alike."""
        asked = {
            "temperature": sampling.temperature,
            self.max_tokens_field: sampling.max_tokens,
            "seed": sampling.seed,
            "top_p": sampling.top_p,
            **self.extra_body,
        }
        settings = {key: value for key, value in asked.items() if value is not None}
        tail = b"]," + _dumps(settings)[1:] if settings else b"]}"
        tails = self._state.tails
        if len(tails) > 1000:  # one a seed; a run has few repeats, a search may have many
            tails.clear()
        tails[sampling] = tail
        return tail


@dataclass(frozen=True, slots=True)
class VLLM(OpenAICompatible):
    """A model on a vLLM server, or another one that needs no key: ``vllm/NAME``.

    SGLang and Ollama speak the same shape: set ``base_url``. A key is sent if ``VLLM_API_KEY`` (or
    what ``api_key_env`` names) holds one.
    """

    name: ClassVar[str] = "vllm"
    key_required: ClassVar[bool] = False

    base_url: str | None = field(default="http://localhost:8000/v1", compare=False)
    api_key_env: str = field(default="VLLM_API_KEY", compare=False)


def _address(base_url: str) -> URL:
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
    return url.with_path(path if path.endswith(_PATH) else path + _PATH).with_query(url.query)


def _dumps(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:
        # Text with lone surrogates, which only the standard library writes (as escapes).
        return json.dumps(value).encode("ascii")
