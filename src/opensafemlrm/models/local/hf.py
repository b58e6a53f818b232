"""Checkpoints run in this process by transformers: ``hf/PATH``, a hub id or a folder.

Any image-text-to-text checkpoint of transformers 5 works, and any causal language model for
prompts without images. Requests come one by one and run in batches; replies are the same as when
each runs alone, up to the rounding of half precision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from opensafemlrm.errors import MissingExtraError, ModelError, require_packages
from opensafemlrm.models.local.in_process import Engine, InProcessModel, Options, Request
from opensafemlrm.types import Capability, Prompt, Response, Sampling

_CHARACTERS_A_TOKEN: Final = 3
_PIXELS_A_TOKEN: Final = 28 * 28
"""What a patch-merging vision tower makes one token of; others are near enough to sort by."""


@dataclass(frozen=True, slots=True)
class HuggingFace(InProcessModel):
    """A checkpoint in this process: ``hf/PATH``, by hub id or folder (extra ``[hf]``).

    Decoding is greedy at temperature 0; above it every reply draws from its own generator, seeded
    by ``sampling.seed``, so that what else is in its batch does not matter. The checkpoint's own
    generation settings hold for the rest (its end tokens, a repetition penalty). Words that end a
    chat turn are read as such anywhere in a prompt, as servers do.

    What a batch may cost is ``batch_tokens``: the tokens of its longest request, prompt and reply,
    times the number of requests. The guess may be wrong: a batch that does not fit is halved.
    """

    name = "hf"
    capabilities = frozenset({Capability.PREFILL, Capability.STOP, Capability.TOKEN_SCORES})

    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    quantization: Literal["4bit", "8bit"] | None = None
    """By bitsandbytes, which has to be installed."""
    template: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """More arguments of the chat template."""
    processor: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Options of the processor, such as ``max_pixels``."""
    raw: bool = False
    """Send the text of the last turn as it is, without a chat template (some classifiers)."""
    trust_remote_code: bool = False
    """Run Python code that the checkpoint brings along."""
    device: str = field(default="auto", compare=False)
    """``auto`` (all GPUs there are, else the CPU), or a device of PyTorch's such as ``cuda:1``."""
    attention: str | None = field(default=None, compare=False)
    """The implementation of attention, such as ``sdpa`` or ``eager``."""
    batch_tokens: Annotated[int, Field(ge=1)] = field(default=65536, compare=False)

    async def score_tokens(self, prompt: Prompt, tokens: Sequence[str]) -> tuple[float, ...]:
        """Return the log-probability of each of ``tokens`` as the reply's first token.

        Raises ModelError where one of them is not one token to this model, or where the prompt
        cannot be run.
        """
        sampling = Sampling(max_tokens=1)
        request = Request(self._turns(prompt), sampling, tuple(tokens), prompt.is_prefilled)
        result = await self._run(request, _size(prompt, sampling), _group(request))
        if isinstance(result, Response):
            raise ModelError(f"{self.label}: {result.code}: {result.detail}")
        return result

    async def _ask(self, prompt: Prompt, sampling: Sampling) -> Response:
        request = Request(self._turns(prompt), sampling, is_prefilled=prompt.is_prefilled)
        return await self._reply(request, _size(prompt, sampling), _group(request))

    def check_ready(self) -> None:
        """Raise MissingExtraError without PyTorch and transformers."""
        require_packages(self.label, "hf", "torch", "transformers")

    @property
    def _batch_budget(self) -> int:
        return self.batch_tokens

    def _load(self) -> Engine:
        try:
            # torch takes seconds to import, and is not there without the extra
            from opensafemlrm.models.local.hf_engine import HFEngine  # noqa: PLC0415 # see above
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
        return HFEngine(options)


def _group(request: Request) -> tuple[bool, ...]:
    """Only equal ones run together: a prefilled reply is rendered otherwise, images differ too."""
    return request.has_images, request.is_prefilled, bool(request.tokens)


def _size(prompt: Prompt, sampling: Sampling) -> int:
    """Guess how many tokens a request takes, prompt and reply."""
    text = sum(len(turn.text) for turn in prompt.turns) // _CHARACTERS_A_TOKEN
    pixels = sum(image.width * image.height for image in prompt.images) // _PIXELS_A_TOKEN
    return text + pixels + sampling.max_tokens
