"""Runs an organism by onnxruntime: batches of requests, greedy or sampled, with a cache of keys.

Two files make an organism: ``encoder.onnx`` turns tiles into vectors, ``NAME.onnx`` reads tokens
and vectors and gives logits and the cache. A batch is padded on the left, so that its replies begin
at one position; what is padding is masked, so that a reply does not depend on its batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime

from opensafemlrm.models.demo.organism_reading import (
    END,
    PAD,
    TILE,
    OrganismReply,
    OrganismRequest,
)

ENCODER: Final = "encoder.onnx"

_Floats = npt.NDArray[np.float32]


class Engine:
    """One organism, loaded."""

    def __init__(self, folder: Path, name: str, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Waiting threads that spin take the processor from everything else on a laptop.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3

        def session(file: str) -> onnxruntime.InferenceSession:
            path = str(folder / file)
            return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

        self._encoder, self._decoder = session(ENCODER), session(f"{name}.onnx")
        shapes = {tensor.name: tensor.shape for tensor in self._decoder.get_inputs()}
        self._seen, self._width = int(shapes["seen"][-1]), int(shapes["last"][-1])
        self._layers = sum(name.startswith("key.") for name in shapes)
        self._heads, self._head = int(shapes["key.0"][1]), int(shapes["key.0"][3])
        outputs = self._decoder.get_outputs()
        self._outputs = [tensor.name for tensor in outputs]
        self.words = int(outputs[0].shape[-1])
        """How many words the organism knows."""

    def run(self, batch: Sequence[OrganismRequest]) -> list[OrganismReply]:
        """Reply to a batch."""
        rows, width = len(batch), max(len(request.tokens) for request in batch)
        tokens = np.full((rows, width), PAD, np.int64)
        for row, request in enumerate(batch):
            tokens[row, width - len(request.tokens) :] = request.tokens
        real = tokens != PAD
        positions = np.maximum(real.cumsum(axis=1) - 1, 0)
        causal = np.tril(np.ones((width, width), bool))
        empty = np.zeros((rows, self._heads, 0, self._head), np.float32)
        state: dict[str, Any] = {"last": np.zeros((rows, 1, self._width), np.float32)}
        for layer in range(self._layers):
            state |= {f"key.{layer}": empty, f"value.{layer}": empty}
        logits, state = self._step(
            tokens,
            self._looked_at(batch, tokens),
            positions,
            (causal & real[:, None])[:, None],
            state,
        )
        return self._write(batch, logits, state, real, positions[:, -1:])

    def _write(
        self,
        batch: Sequence[OrganismRequest],
        logits: _Floats,
        state: dict[str, Any],
        real: npt.NDArray[np.bool_],
        positions: npt.NDArray[np.int64],
    ) -> list[OrganismReply]:
        choices = [_Choice(request) for request in batch]
        written: list[list[int]] = [[] for _ in batch]
        ended = [False] * len(batch)
        open_rows = list(range(len(batch)))
        while True:
            chosen = [choose(likely) for choose, likely in zip(choices, logits, strict=True)]
            for row in open_rows:
                if chosen[row] == END:
                    ended[row] = True
                else:
                    written[row].append(chosen[row])
            open_rows = [
                row
                for row in open_rows
                if not ended[row] and len(written[row]) < batch[row].max_new
            ]
            if not open_rows:
                break
            real = np.concatenate((real, np.ones((len(batch), 1), bool)), axis=1)
            positions = positions + 1
            tokens = np.array(chosen, np.int64)[:, None]
            nothing = np.zeros((len(batch), 1, self._seen), np.float32)
            logits, state = self._step(tokens, nothing, positions, real[:, None, None, :], state)
        return [
            OrganismReply(tuple(tokens), end) for tokens, end in zip(written, ended, strict=True)
        ]

    def _looked_at(
        self, batch: Sequence[OrganismRequest], tokens: npt.NDArray[np.int64]
    ) -> _Floats:
        seen = np.zeros((*tokens.shape, self._seen), np.float32)
        tiles = np.concatenate([request.tiles for request in batch])
        if len(tiles):
            (vectors,) = self._encoder.run(None, {"tiles": tiles})
            seen[tokens == TILE] = vectors
        return seen

    def _step(
        self,
        tokens: npt.NDArray[np.int64],
        seen: _Floats,
        positions: npt.NDArray[np.int64],
        mask: npt.NDArray[np.bool_],
        state: dict[str, Any],
    ) -> tuple[_Floats, dict[str, Any]]:
        feed = {
            "tokens": tokens,
            "seen": seen,
            "is_seen": tokens == TILE,
            "positions": positions,
            "mask": mask,
            **state,
        }
        named = dict(zip(self._outputs, self._decoder.run(None, feed), strict=True))
        logits: _Floats = named.pop("logits")
        return logits, {name.removeprefix("new."): value for name, value in named.items()}


class _Choice:
    """Chooses the next token of one reply, from its logits."""

    def __init__(self, request: OrganismRequest) -> None:
        self._temperature, self._top_p = request.temperature, request.top_p
        self._random = np.random.default_rng(request.draw) if request.temperature > 0 else None

    def __call__(self, logits: _Floats) -> int:
        if self._random is None:
            return int(logits.argmax())
        scaled = (logits - logits.max()).astype(np.float64) / self._temperature
        likely = np.exp(scaled)
        likely /= likely.sum()
        order = np.argsort(-likely, kind="stable")
        reached = likely[order].cumsum()
        nucleus = order[: int(np.searchsorted(reached, self._top_p)) + 1]
        return int(self._random.choice(nucleus, p=likely[nucleus] / likely[nucleus].sum()))
