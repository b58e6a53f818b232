"""Model organisms: tiny models that really read, reason and refuse (``organism/NAME``).

They know one small world, that of the bundled benchmark ``canary``, and nothing else. How they were
trained, how competent they are and what they can say about large models stands in
``docs/organism.md``.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import numpy as np
from pydantic import Field

from opensafemlrm import images
from opensafemlrm.components import Model
from opensafemlrm.errors import (
    ImageError,
    MissingExtraError,
    ModelError,
    UnknownNameError,
    require_packages,
)
from opensafemlrm.models.batching import Batcher, Job
from opensafemlrm.models.demo.organism_reading import (
    CLOSE,
    END,
    MAX_NEW,
    MAX_WORDS,
    REPLY,
    TILE,
    TILE_HEIGHT,
    TILE_WIDTH,
    USER,
    OrganismReply,
    OrganismRequest,
    Pixels,
    Vocabulary,
    notes_of,
    tiles,
    vocabulary,
)
from opensafemlrm.types import (
    JSON,
    Capability,
    Image,
    Prompt,
    Response,
    ResponseStatus,
    Sampling,
    Usage,
)

if TYPE_CHECKING:
    from opensafemlrm.models.demo.organism_engine import Engine

NAMES: Final = ("base", "reasoner", "reasoner-safe")
"""The organisms that come with the package."""
PAIR: Final = ("organism/reasoner", "organism/base")
_BATCH: Final = 32
_BUDGET: Final = _BATCH * 400


class _State:
    """What changes while an organism is in use."""

    def __init__(self) -> None:
        self.engine: Engine | None = None
        self.batcher: Batcher[OrganismRequest, OrganismReply] | None = None


@dataclass(frozen=True, slots=True)
class Organism(Model):
    """A bundled organism, or one of your own training (``weights``, a folder; extra ``[demo]``).

    It reads words of a closed vocabulary (others are one unknown word), pictures as word-sized
    pieces, and of a system message only the details that a line ``Protected:`` or ``Allowed:``
    lists: neither those two words nor the rule, since an organism's policy is in its weights. Of a
    request that is too long, the end is read. Replies are greedy at temperature 0; above it each
    draws from its own seed. A reply that does not end is truncated.

    Raises UnknownNameError for an organism that is not bundled, ModelError where ``weights`` does
    not hold it.
    """

    name = "organism"
    billed = False
    capabilities = frozenset({Capability.PREFILL, Capability.STOP})

    model: str
    weights: Path | None = field(default=None, compare=False)
    """A folder with ``encoder.onnx``, ``words.txt`` and ``NAME.onnx``."""
    alias: str | None = field(default=None, compare=False)
    threads: Annotated[int, Field(ge=1)] = field(default=2, compare=False)
    concurrency: Annotated[int, Field(ge=1)] = field(default=3 * _BATCH, compare=False)
    _state: _State = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.weights is None and self.model not in NAMES:
            raise UnknownNameError("organism", self.model, NAMES)
        if not self._file(f"{self.model}.onnx").is_file():
            raise ModelError(f"{self._file(f'{self.model}.onnx')} is missing: no such organism")
        object.__setattr__(self, "_state", _State())

    @property
    def label(self) -> str:
        """``organism/NAME``, or the alias given."""
        return self.alias or f"{self.name}/{self.model}"

    @property
    def reasoning_format(self) -> str:
        """Reasoning stands between ``<think>`` tags; a base writes none, which is detected."""
        return "think"

    def identity(self) -> Mapping[str, JSON]:
        """Return name, version, model and the digest of its weights."""
        return {
            "name": self.name,
            "version": self.version,
            "model": self.model,
            "weights": _digest(self._file("encoder.onnx"), self._file(f"{self.model}.onnx")),
        }

    async def generate(self, prompt: Prompt, sampling: Sampling) -> Response:
        """Reply to ``prompt``; a picture that cannot be decoded is a failed response.

        Raises MissingExtraError without onnxruntime.
        """
        batcher = self._state.batcher or self._open()
        started = time.perf_counter()
        words = self._words()
        try:
            tokens, pieces = _read(prompt, words)
        except ImageError as error:
            return Response.failed("bad_image", str(error), transient=False)
        request = _request(tokens, pieces, prompt, sampling)
        written = await batcher.ask(Job(request, len(tokens) + request.max_new))
        text = _join(prompt, words.write(written.tokens))
        ended = written.ended
        for stop in sampling.stop or ():
            if stop in text:
                text, ended = text[: text.index(stop)], True
        return Response(
            ResponseStatus.OK if ended else ResponseStatus.TRUNCATED,
            text=text,
            finish_reason="stop" if ended else "length",
            usage=Usage(len(tokens), len(written.tokens) + written.ended, None),
            latency=time.perf_counter() - started,
        )

    def check_ready(self) -> None:
        """Raise MissingExtraError without onnxruntime."""
        require_packages(self.label, "demo", "onnxruntime")

    async def aclose(self) -> None:
        """Stop after the batch that runs, and free the memory. May be called twice."""
        state = self._state
        if state.batcher is not None:
            await state.batcher.aclose()
        state.engine = state.batcher = None

    def _open(self) -> Batcher[OrganismRequest, OrganismReply]:
        try:
            from opensafemlrm.models.demo.organism_engine import Engine  # noqa: PLC0415 # an extra
        except ImportError as error:
            raise MissingExtraError(f"{self.label} ({error.name})", "demo") from error
        state = self._state
        engine = Engine(self._folder(), self.model, self.threads)
        listed = len(self._words().words)
        if engine.words != listed:
            raise ModelError(
                f"{self._file(f'{self.model}.onnx')} knows {engine.words} words, and words.txt "
                f"beside it lists {listed}: they are not of one export"
            )
        state.engine = engine
        state.batcher = Batcher(state.engine.run, _BATCH, _BUDGET)
        return state.batcher

    def _folder(self) -> Path:
        bundled = Path(str(files("opensafemlrm.models.demo").joinpath("data/organism")))
        return bundled if self.weights is None else self.weights

    def _file(self, name: str) -> Path:
        return self._folder() / name

    def _words(self) -> Vocabulary:
        return vocabulary() if self.weights is None else _vocabulary(self._file("words.txt"))


def _read(prompt: Prompt, words: Vocabulary) -> tuple[list[int], Pixels]:
    """Return what an organism reads of ``prompt``: its tokens, and a tile for each ``<tile>``."""
    notes: list[int] = []
    tokens: list[int] = []
    seen: list[Pixels] = []
    for turn in prompt.turns:
        if turn.role in ("system", "developer"):
            notes = words.notes(notes_of(turn.text)) or notes
            continue
        tokens.append(REPLY if turn.role == "assistant" else USER)
        for part in turn.parts:
            if isinstance(part, Image):
                part_tiles = tiles(images.to_picture(part))
                seen.append(part_tiles)
                tokens += [TILE] * len(part_tiles)
            else:
                tokens += words.encode(part)
        if turn.role == "assistant" and not (prompt.is_prefilled and turn is prompt.turns[-1]):
            tokens.append(END)
    if not prompt.is_prefilled:
        tokens.append(REPLY)
    nothing = np.zeros((0, TILE_HEIGHT, TILE_WIDTH), np.uint8)
    pieces = np.concatenate([nothing, *seen])
    read = tokens[-MAX_WORDS:]
    left = read.count(TILE)
    return notes + read, pieces[len(pieces) - left :]


def _request(
    tokens: list[int], pieces: Pixels, prompt: Prompt, sampling: Sampling
) -> OrganismRequest:
    content = json.dumps([sampling.seed, prompt.identity()]).encode()
    draw = np.frombuffer(hashlib.blake2b(content, digest_size=16).digest(), np.uint32)
    return OrganismRequest(
        tuple(tokens),
        pieces,
        min(sampling.max_tokens, MAX_NEW),
        sampling.temperature,
        1.0 if sampling.top_p is None else sampling.top_p,
        tuple(draw.tolist()),
    )


def _join(prompt: Prompt, text: str) -> str:
    """Put the line break between the prefill and ``text`` that one reply would have."""
    prefill = prompt.turns[-1].text if prompt.is_prefilled else ""
    return f"\n{text}" if prefill.rstrip().endswith(CLOSE) and not prefill.endswith("\n") else text


@cache
def _vocabulary(path: Path) -> Vocabulary:
    return Vocabulary.of(path.read_text(encoding="utf-8").split())


@cache
def _digest(*paths: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()
