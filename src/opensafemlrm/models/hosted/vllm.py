"""Models on a vLLM server, one that runs or one that is started for the study: ``vllm/NAME``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field

from opensafemlrm.errors import ModelError
from opensafemlrm.models.clock import Clock
from opensafemlrm.models.hosted.model import HostedModel
from opensafemlrm.models.hosted.openai_compatible import ChatModel
from opensafemlrm.models.hosted.vllm_process import Command, Server, find_program
from opensafemlrm.reasoning import SPECIAL_TOKENS_KEPT
from opensafemlrm.types import Capability, Prompt, Response, Sampling

LOCAL: Final = "http://localhost:8000/v1"
"""Where vLLM listens, unless it is told otherwise."""
_LIMITS: Final = "--limit-mm-per-prompt"


class _Serving:
    """The server that is started for the study, if one is."""

    def __init__(self) -> None:
        self.server: Server | None = None
        self.starting: asyncio.Lock | None = None
        self.failure: ModelError | None = None
        self.max_images: int | None = None


@dataclass(frozen=True, slots=True)
class VLLM(ChatModel):
    """A model on a vLLM server, or another one that needs no key: ``vllm/NAME``.

    SGLang and Ollama speak the same shape: set ``base_url``. A key is sent if ``VLLM_API_KEY`` (or
    what ``api_key_env`` names) holds one.

    With ``serve``, ``vllm serve NAME`` is started on a free port of this machine at the first
    request, with ``serve_args`` (such as ``--tensor-parallel-size=2``) and room for as many images
    as a prompt of the study has, and is ended when the study ends, however it ends. All that it
    prints is kept in ``serve_log``.
    """

    name = "vllm"
    key_required: ClassVar[bool] = False
    vendor_key_env: ClassVar[str] = "VLLM_API_KEY"
    default_url: ClassVar[str] = LOCAL
    capabilities = frozenset({Capability.PREFILL, Capability.STOP, Capability.JSON_SCHEMA})
    billed = False

    serve_args: tuple[str, ...] = ()
    """More arguments of ``vllm serve``: they may change replies (``--quantization``), so they are
    part of the identity."""
    base_url: str | tuple[str, ...] | None = field(default=LOCAL, compare=False)
    serve: bool = field(default=False, compare=False)
    program: str = field(default="vllm", compare=False)
    images_per_prompt: Annotated[int, Field(ge=0)] | None = field(default=None, compare=False)
    """The limit images that a prompt may have, where the study cannot tell (an attack searches)."""
    serve_log: Path | None = field(default=None, compare=False)
    serve_timeout: Annotated[float, Field(gt=0)] = field(default=1800.0, compare=False)
    """Seconds until the started server has to answer: it may have weights to fetch."""
    _serving: _Serving = field(init=False, repr=False, compare=False)

    def __post_init__(self, clock: Clock | None) -> None:
        HostedModel.__post_init__(self, clock)
        object.__setattr__(self, "_serving", _Serving())
        if self.serve_args and not self.serve:
            raise ValueError("serve_args are for a server that is started: set serve as well")
        if self.images_per_prompt is not None and not self.serve:
            raise ValueError("images_per_prompt is for a server that is started: set serve as well")

    @property
    def in_process(self) -> bool:
        """Whether its server is started on the machine that asks it."""
        return self.serve

    def check_ready(self) -> None:
        """Raise ModelError for a wrong address, or where the program to be started is not there."""
        if self.serve:
            find_program(self.program, self.label)
        else:
            self.endpoints()

    def set_image_limit(self, max_images: int | None) -> None:
        """Note how many images a prompt has at most, before the server is started."""
        self._serving.max_images = max_images

    async def aclose(self) -> None:
        """Close the connections, and end the server if it was started. May be called twice."""
        await HostedModel.aclose(self)
        serving, server = self._serving, self._serving.server
        serving.server = serving.starting = serving.failure = None
        if server is not None:
            self._state.client = None
            await server.stop()

    @property
    def sent_fields(self) -> Mapping[str, Any]:
        """Fields beyond the options: special tokens are kept where reasoning stands between some.

        vLLM strips them otherwise, and the marks with them; spaces between them would be none of
        the model's.
        """
        return SPECIAL_TOKENS_KEPT if self.reasoning_format.special else {}

    async def _ask(self, prompt: Prompt, sampling: Sampling) -> Response:
        asking = HostedModel._ask
        if not self.serve:
            return await asking(self, prompt, sampling)
        server = self._serving.server or await self._start()
        return await server.while_up(asking(self, prompt, sampling))

    async def _start(self) -> Server:
        serving = self._serving
        serving.starting = serving.starting or asyncio.Lock()
        async with serving.starting:
            if serving.failure is not None:  # requests that waited do not each try to start it
                raise serving.failure
            if serving.server is None:
                at = () if self.revision is None else ("--revision", self.revision)
                arguments = ("serve", self.model, *at, *self._limits(), *self.serve_args)
                command = Command(
                    self.program,
                    arguments,
                    self.model,
                    self.label,
                    self.serve_log,
                    self.serve_timeout,
                )
                try:
                    serving.server = server = await Server.start(command)
                except ModelError as error:
                    serving.failure = error
                    raise
                self._state.client = self._open(server.base_url)
            return serving.server

    def _limits(self) -> tuple[str, ...]:
        """Return the argument that makes room for images, as vLLM's engine arguments have it."""
        own = any(argument.startswith(_LIMITS) for argument in self.serve_args)
        limit = self.images_per_prompt
        limit = self._serving.max_images if limit is None else limit
        return () if own or limit is None else (_LIMITS, json.dumps({"image": limit}))
