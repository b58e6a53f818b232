"""Models behind the providers of Inspect AI: ``inspect/PROVIDER/MODEL`` (extra ``[inspect]``).

For providers that this project has no shape of its own for. Each request costs more than a request
of this project's own client (about 30 ms of CPU), so that one is to be preferred where it can be
used. Source: Inspect AI's documentation, "Models" and "Reasoning".
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from pydantic import Field

from opensafemlrm import images
from opensafemlrm.errors import (
    EndpointDownError,
    ImageError,
    MissingExtraError,
    ModelError,
    require_packages,
)
from opensafemlrm.models.base import CatalogModel
from opensafemlrm.models.billing import Price
from opensafemlrm.models.hosted.whole_prompt import whole
from opensafemlrm.models.http import provider_errors
from opensafemlrm.models.http.error_words import ACCOUNT, STOPPING
from opensafemlrm.models.http.replies import clip
from opensafemlrm.models.names import is_closed
from opensafemlrm.redaction import known
from opensafemlrm.types import (
    Prompt,
    Response,
    ResponseStatus,
    Sampling,
    Turn,
    Usage,
)

_RESERVED: Final = ("temperature", "max_tokens", "seed", "top_p", "stop_seqs", "num_choices")
"""What the study's sampling sets."""
_VENDORS: Final = frozenset({"anthropic", "google", "grok", "openai", "vertex"})
"""Providers of closed models: what they give as reasoning is a summary of it, if anything."""
_HOSTS: Final = frozenset({"azureai", "bedrock", "openrouter"})
"""Providers of closed and open models: the name tells which one it is."""
_HOPELESS: Final = ("Authentication", "PermissionDenied", "NotFound", "Prerequisite")
"""In names of errors after which no further request can succeed, unless one has."""
_STATUS: Final = {
    "max_tokens": ResponseStatus.TRUNCATED,
    "model_length": ResponseStatus.TRUNCATED,
    "content_filter": ResponseStatus.BLOCKED,
}


class _State:
    """What changes while a model is in use."""

    def __init__(self) -> None:
        self.model: Any = None
        self.slots: asyncio.Semaphore | None = None
        self.answers = 0
        self.failures = 0
        """In a row."""


@dataclass(frozen=True, slots=True)
class Inspect(CatalogModel):
    """A model of an Inspect AI provider: ``inspect/PROVIDER/MODEL``, as Inspect names it.

    Keys are where Inspect looks for them (``MISTRAL_API_KEY`` and the like).
    """

    name = "inspect"

    config: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """More fields of Inspect's ``GenerateConfig``, such as ``reasoning_effort``."""
    model_args: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Arguments of the provider. Keys belong into the environment."""
    base_url: str | None = field(default=None, compare=False)
    concurrency: Annotated[int, Field(ge=1)] = field(default=16, compare=False)
    timeout: Annotated[int, Field(ge=1)] = field(default=600, compare=False)
    """Seconds that one request may take, its retries included."""
    max_retries: Annotated[int, Field(ge=0)] = field(default=5, compare=False)
    give_up_after: Annotated[int, Field(ge=1)] = field(default=20, compare=False)
    price: Price | None = field(default=None, compare=False)
    """US dollars for a million tokens, in and out; what ``--max-cost`` counts by."""
    _state: _State = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if "/" not in self.model:
            raise ValueError("name a provider as well: inspect/PROVIDER/MODEL")
        CatalogModel.__post_init__(self)
        taken = [key for key in _RESERVED if key in self.config]
        if taken:
            raise ValueError(f"config may not set {', '.join(taken)}: `sampling` does")
        if any("key" in name or "token" in name for name in self.model_args):
            raise ValueError("model_args may not hold keys: put them into the environment")
        if self.thinking is not None and self._setup.template:
            raise ValueError("Inspect passes no chat template's arguments on: leave out thinking")
        object.__setattr__(self, "_state", _State())

    @classmethod
    def around(cls, model: Any) -> Inspect:
        """Return the model that Inspect has made already, as one of ours."""
        made = cls(str(model))
        made._state.model = model
        return made

    @property
    def catalog_name(self) -> str:
        """The name that the catalogue may know it by."""
        return self.model.partition("/")[2]

    def check_ready(self) -> None:
        """Raise MissingExtraError without Inspect AI, whose import takes seconds."""
        require_packages(self.label, "inspect", "inspect_ai")

    async def aclose(self) -> None:
        """Close the provider's connections. May be called twice."""
        state = self._state
        model, state.model, state.slots = state.model, None, None
        if model is not None:
            await model.api.aclose()

    async def _ask(self, prompt: Prompt, sampling: Sampling) -> Response:
        state = self._state
        if state.model is None:
            self._open()
        slots = state.slots = state.slots or asyncio.Semaphore(self.concurrency)
        try:
            messages = messages_of(self._turns(prompt))
        except ImageError as error:
            return Response.failed("image_unreadable", str(error), transient=True)
        async with slots:
            start = time.monotonic()
            try:
                output = await state.model.generate(messages, config=self._config(sampling))
            except Exception as error:  # noqa: BLE001 # each provider raises its own
                return self._failed(error)
        state.answers += bool(output.choices)
        state.failures = 0 if output.choices else state.failures + 1
        return whole(response_of(output, self.model, time.monotonic() - start), prompt)

    def _open(self) -> None:
        try:
            from inspect_ai.model import get_model  # noqa: PLC0415 # takes seconds, an extra
        except ImportError as error:
            raise MissingExtraError(self.label, "inspect") from error
        try:
            self._state.model = get_model(
                self.model, base_url=self.base_url, memoize=False, **self.model_args
            )
        except Exception as error:
            raise ModelError(f"{self.label} cannot be used: {_explain(error)}") from error

    def _config(self, sampling: Sampling) -> Any:
        from inspect_ai.model import GenerateConfig  # noqa: PLC0415 # as above

        return GenerateConfig(
            temperature=sampling.temperature,
            max_tokens=sampling.max_tokens,
            seed=sampling.seed,
            top_p=sampling.top_p,
            stop_seqs=list(sampling.stop) if sampling.stop else None,
            max_connections=self.concurrency,
            max_retries=self.max_retries,
            timeout=self.timeout,
            **self.config,
        )

    def _failed(self, error: Exception) -> Response:
        """Return how a request failed, by the vendor's words where the provider passes them on.

        It is never final: who is to blame, the request or the server, is not known here.
        """
        state, kind = self._state, type(error).__name__
        status = getattr(error, "status_code", None)
        status = status if isinstance(status, int) else 400
        said = provider_errors.read(getattr(error, "body", None) or str(error), status)
        if said.blocked_by:
            state.answers, state.failures = state.answers + 1, 0
            code, detail = clip(said.blocked_by, known()), clip(said.message, known())
            return Response(ResponseStatus.BLOCKED, code=code, detail=detail)
        hopeless = said.code in ACCOUNT | STOPPING
        if hopeless or (not state.answers and any(name in kind for name in _HOPELESS)):
            raise ModelError(f"{self.label} cannot be used: {_explain(error)}") from error
        state.failures += 1
        if state.failures >= self.give_up_after:
            raise EndpointDownError(
                f"{self.label}: {state.failures} requests in a row have failed, after their "
                f"retries; the last: {_explain(error)}. Run again: what is done is kept"
            ) from error
        return Response.failed(kind, _explain(error), transient=True)


def messages_of(turns: Iterable[Turn], *, as_parts: bool = False) -> list[Any]:
    """Return turns as Inspect's chat messages; pictures as data URIs. Raises ImageError.

    Several texts of a turn are one, unless they are wanted ``as_parts``.
    """
    from inspect_ai import model as inspect  # noqa: PLC0415 # takes seconds, an extra

    kinds = {
        "system": inspect.ChatMessageSystem,
        "user": inspect.ChatMessageUser,
        "assistant": inspect.ChatMessageAssistant,
    }

    def content(turn: Turn) -> Any:
        is_text = all(isinstance(part, str) for part in turn.parts)
        if is_text and (len(turn.parts) == 1 or not as_parts):
            return turn.text
        return [
            inspect.ContentText(text=part)
            if isinstance(part, str)
            else inspect.ContentImage(image=images.data_uri(part))
            for part in turn.parts
        ]

    return [kinds[turn.role](content=content(turn)) for turn in turns]


def response_of(output: Any, model: str, latency: float = 0.0) -> Response:
    """Read Inspect's output of ``model``, ``PROVIDER/NAME``, into a reply."""
    if not output.choices:
        reason = output.error or "the reply has no choices"
        return Response.failed("empty_choices", clip(reason, known()), transient=True)
    choice = output.choices[0]
    text, reasoning, summary, hidden = _parts(choice.message.content)
    text, reasoning = known().value([text, reasoning])
    usage = output.usage
    counted = (usage.reasoning_tokens or 0) > 0 if usage else False
    status = _STATUS.get(choice.stop_reason, ResponseStatus.OK)
    return Response(
        status,
        text,
        reasoning,
        reasoning_is_summary=reasoning is not None and (_gives_summaries(model) or summary),
        reasoning_hidden=hidden or (reasoning is None and counted),
        finish_reason=choice.stop_reason,
        usage=_usage(usage) if usage else Usage(),
        latency=latency,
        code=choice.stop_reason if status is ResponseStatus.BLOCKED else None,
        model=clip(output.model, known()) or None,
    )


def _usage(usage: Any) -> Usage:
    in_cache = (usage.input_tokens_cache_read or 0) + (usage.input_tokens_cache_write or 0)
    return Usage(usage.input_tokens, usage.output_tokens, usage.reasoning_tokens, in_cache or None)


def _gives_summaries(model: str) -> bool:
    """Whether what the provider gives as this model's reasoning is a summary of it."""
    provider, _, name = model.partition("/")
    return provider in _VENDORS or (provider in _HOSTS and is_closed(name))


def _parts(content: Any) -> tuple[str, str | None, bool, bool]:
    """Return text, reasoning, whether that is a summary, and whether some was kept back.

    What Inspect gives as the reasoning of a redacted block is ciphertext: it is no reasoning.
    """
    if isinstance(content, str):
        return content, None, False, False
    thoughts = [part for part in content if part.type == "reasoning"]
    raw = [part.reasoning for part in thoughts if not part.redacted]
    summaries = [part.summary for part in thoughts if part.redacted and part.summary]
    return (
        "".join(part.text for part in content if part.type == "text"),
        "\n\n".join(filter(None, raw or summaries)) or None,
        not raw and bool(summaries),
        any(part.redacted for part in thoughts),
    )


def _explain(error: Exception) -> str:
    return clip(f"{type(error).__name__}: {error}", known())
