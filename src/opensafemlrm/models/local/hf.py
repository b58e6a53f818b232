"""Checkpoints run in this process by transformers: ``hf/PATH``, a hub id or a folder.

Any image-text-to-text checkpoint of transformers 5 works, and any causal language model for
prompts without images. Requests come one by one and run in batches; replies are the same as when
each runs alone, up to the rounding of half precision.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field

from opensafemlrm.components import Model
from opensafemlrm.errors import MissingExtraError, ModelError, UnknownNameError
from opensafemlrm.models import identity as _identity
from opensafemlrm.models.batching import Batcher, Job, TooLargeError
from opensafemlrm.models.catalog import Setup
from opensafemlrm.models.local.hf_request import Options, Request, Result
from opensafemlrm.models.stages import in_stages
from opensafemlrm.reasoning import FORMATS
from opensafemlrm.types import JSON, Capability, Prompt, Response, Sampling

if TYPE_CHECKING:
    from opensafemlrm.models.local.hf_engine import Engine

_CHARACTERS_A_TOKEN: Final = 3
_PIXELS_A_TOKEN: Final = 28 * 28
"""What a patch-merging vision tower makes one token of; others are near enough to sort by."""


class _State:
    """What changes while a model is in use: the loaded checkpoint, and its batches."""

    def __init__(self) -> None:
        self.engine: Engine | None = None
        self.batcher: Batcher[Request, Result] | None = None
        self.loading: asyncio.Lock | None = None


@dataclass(frozen=True, slots=True)
class HuggingFace(Model):
    """A checkpoint in this process: ``hf/PATH``, by hub id or folder (extra ``[hf]``).

    Decoding is greedy at temperature 0; above it every reply draws from its own generator, seeded
    by ``sampling.seed``, so that what else is in its batch does not matter. The checkpoint's own
    generation settings hold for the rest (its end tokens, a repetition penalty). Words that end a
    chat turn are read as such wherever they stand in a prompt, as servers do.

    What a batch may cost is ``batch_tokens``: the tokens of its longest request, prompt and reply,
    times the number of requests. The guess may be wrong: a batch that does not fit is halved.
    """

    name = "hf"
    capabilities = frozenset({Capability.PREFILL, Capability.STOP, Capability.TOKEN_SCORES})
    billed = False
    in_process = True

    model: str
    revision: str | None = None
    """A commit, a tag or a branch of the hub; part of identity and label."""
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    quantization: Literal["4bit", "8bit"] | None = None
    """By bitsandbytes, which has to be installed."""
    system_prompt: str | None = None
    """Put before the prompt's own system message; replaces what the catalogue would put there."""
    thinking: bool | None = None
    """Turns the reasoning of a model on or off whose switch the catalogue knows."""
    template: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """More arguments of the chat template."""
    processor: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Options of the processor, such as ``max_pixels``."""
    raw: bool = False
    """Send the text of the last turn as it is, without a chat template (some classifiers)."""
    trust_remote_code: bool = False
    """Run Python code that the checkpoint brings along."""
    alias: str | None = field(default=None, compare=False)
    format: str = field(default="auto", compare=False)
    catalog: str | None = field(default=None, compare=False)
    """The row of the catalogue that it is, if its path does not say; ``none`` for no row."""
    device: str = field(default="auto", compare=False)
    """``auto`` (all GPUs there are, else the CPU), or a device of PyTorch's such as ``cuda:1``."""
    attention: str | None = field(default=None, compare=False)
    """The implementation of attention, such as ``sdpa`` or ``eager``."""
    max_batch: Annotated[int, Field(ge=1)] = field(default=16, compare=False)
    batch_tokens: Annotated[int, Field(ge=1)] = field(default=65536, compare=False)
    _state: _State = field(init=False, repr=False, compare=False)
    _setup: Setup = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise UnknownNameError("reasoning format", self.format, FORMATS)
        setup = Setup.of(self.model, self.catalog, thinking=self.thinking)
        object.__setattr__(self, "_setup", setup)
        object.__setattr__(self, "_state", _State())

    @property
    def label(self) -> str:
        """``hf/PATH``, with what sets it apart from the same model asked plainly."""
        return _identity.label(self) if self.alias is None else self.alias

    @property
    def concurrency(self) -> int:
        """Two batches: while one runs, the next one gathers."""
        return 2 * self.max_batch

    @property
    def reasoning_format(self) -> str:
        """The format given; else the one its name is known by; else ``auto``, detected."""
        return self._setup.format if self.format == "auto" else self.format

    def identity(self) -> Mapping[str, JSON]:
        """Return name, version, model, and those options that change replies and are set."""
        return {**_identity.identity(self), **self._setup.identity()}

    async def generate(self, prompt: Prompt, sampling: Sampling) -> Response:
        """Reply to ``prompt``. A last turn of the assistant's is gone on from.

        Raises MissingExtraError without the extra, ModelError where the checkpoint cannot be
        loaded or has no chat template.
        """
        if self._setup.stages:
            return await in_stages(self._reply, prompt, sampling, self._setup.stages)
        return await self._reply(prompt, sampling)

    async def score_tokens(self, prompt: Prompt, tokens: Sequence[str]) -> tuple[float, ...]:
        """Return the log-probability of each of ``tokens`` as the reply's first token.

        Raises ModelError where one of them is not one token to this model, or where the prompt
        cannot be run.
        """
        result = await self._ask(prompt, Sampling(max_tokens=1), tuple(tokens))
        if isinstance(result, Response):
            raise ModelError(f"{self.label}: {result.code}: {result.detail}")
        return result

    async def aclose(self) -> None:
        """Stop the batch that runs at its next token, and free the memory. May be called twice."""
        state = self._state
        if state.engine is not None:
            state.engine.stop()
        if state.batcher is not None:
            await state.batcher.aclose()
        if state.engine is not None:
            state.engine.free()
        state.engine = state.batcher = state.loading = None

    async def _reply(self, prompt: Prompt, sampling: Sampling) -> Response:
        result = await self._ask(prompt, sampling, ())
        if not isinstance(result, Response):
            raise TypeError("scores were given where a reply was asked for")
        return result

    async def _ask(self, prompt: Prompt, sampling: Sampling, tokens: tuple[str, ...]) -> Result:
        turns = self._setup.turns(prompt, self.system_prompt)
        request = Request(turns, sampling, tokens, prompt.is_prefilled)
        # A begun reply is rendered otherwise, and images make other tensors.
        group = (bool(prompt.images), prompt.is_prefilled, bool(tokens))
        batcher = self._state.batcher or await self._open()
        try:
            return await batcher.ask(Job(request, _size(prompt, sampling), group))
        except TooLargeError as error:
            return Response.failed("out_of_memory", str(error), transient=False)

    async def _open(self) -> Batcher[Request, Result]:
        state = self._state
        state.loading = state.loading or asyncio.Lock()
        async with state.loading:
            if state.batcher is None:
                try:
                    # torch takes seconds to import, and is not there without the extra
                    from opensafemlrm.models.local.hf_engine import Engine  # noqa: PLC0415 # see above
                except ImportError as error:
                    raise MissingExtraError(f"{self.label} ({error.name})", "hf") from error
                options = Options(
                    path=self.model,
                    label=self.label,
                    revision=self.revision,
                    dtype=self.dtype,
                    quantization=self.quantization,
                    template={**(self._setup.template or {}), **self.template},
                    processor=self.processor,
                    raw=self.raw,
                    trust_remote_code=self.trust_remote_code,
                    device=self.device,
                    attention=self.attention,
                )
                engine = await asyncio.to_thread(Engine, options)
                state.engine = engine
                state.batcher = Batcher(engine.run, self.max_batch, self.batch_tokens)
            return state.batcher


def _size(prompt: Prompt, sampling: Sampling) -> int:
    """Guess how many tokens a request takes, prompt and reply."""
    text = sum(len(turn.text) for turn in prompt.turns) // _CHARACTERS_A_TOKEN
    pixels = sum(image.width * image.height for image in prompt.images) // _PIXELS_A_TOKEN
    return text + pixels + sampling.max_tokens
