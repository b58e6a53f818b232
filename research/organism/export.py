"""Weights to ONNX, with a cache of keys: ``python -m research.organism.export --help``.

Weights are kept in half precision and computed with in single precision: two bytes a weight.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from opensafemlrm.files import replacing, write_atomic
from opensafemlrm.models.demo.organism_engine import Engine
from opensafemlrm.models.demo.organism_reading import (
    SPECIAL,
    TILE_HEIGHT,
    TILE_WIDTH,
    OrganismRequest,
    vocabulary,
)
from research.organism import evaluate
from research.organism.model import Organism, Past, load

OPSET: Final = 18
_ANY: Final = torch.export.Dim.DYNAMIC
_BATCH: Final = 32
_SMALL: Final = 256
"""Weights with fewer numbers stay in single precision."""


class _Decoder(nn.Module):
    """The decoder as the engine calls it: the cache layer by layer."""

    def __init__(self, organism: Organism) -> None:
        super().__init__()
        self.organism = organism

    def forward(
        self,
        tokens: Tensor,
        seen: Tensor,
        is_seen: Tensor,
        positions: Tensor,
        mask: Tensor,
        last: Tensor,
        *cache: Tensor,
    ) -> tuple[Tensor, ...]:
        embedded = self.organism.embedded(tokens, seen, is_seen)
        past = Past(list(cache[0::2]), list(cache[1::2]), last)
        logits, new = self.organism.step(embedded, positions, mask, past)
        pairs = zip(new.keys, new.values, strict=True)
        return (logits, new.last, *(one for pair in pairs for one in pair))


def export(organism: Organism, to: Path, name: str) -> None:
    """Write ``NAME.onnx``, ``encoder.onnx`` and ``words.txt`` into the folder ``to``.

    The large weights of ``organism`` itself are rounded to what is written.
    """
    to.mkdir(parents=True, exist_ok=True)
    organism = organism.eval()
    _round(organism)
    _export_encoder(organism, to / "encoder.onnx")
    _export_decoder(organism, to / f"{name}.onnx")
    words = vocabulary().words[len(SPECIAL) :]
    write_atomic(to / "words.txt", "\n".join(words) + "\n")


def _export_encoder(organism: Organism, to: Path) -> None:
    tiles = torch.zeros(3, TILE_HEIGHT, TILE_WIDTH, dtype=torch.uint8)
    _write(organism.encoder, (tiles,), ["tiles"], ["vectors"], ({0: _ANY},), to)


def _export_decoder(organism: Organism, to: Path) -> None:
    shape = organism.shape
    rows, new, old = 2, 3, 4
    cache = [torch.zeros(rows, shape.heads, old, shape.head) for _ in range(2 * shape.layers)]
    given: dict[str, Tensor] = {
        "tokens": torch.zeros(rows, new, dtype=torch.long),
        "seen": torch.zeros(rows, new, shape.seen),
        "is_seen": torch.zeros(rows, new, dtype=torch.bool),
        "positions": torch.zeros(rows, new, dtype=torch.long),
        "mask": torch.ones(rows, 1, new, old + new, dtype=torch.bool),
        "last": torch.zeros(rows, 1, shape.width),
    }
    names = [f"{kind}.{layer}" for layer in range(shape.layers) for kind in ("key", "value")]
    by_position = {0: _ANY, 1: _ANY}
    free: tuple[Any, ...] = (by_position, by_position, by_position, by_position)
    free += ({0: _ANY, 2: _ANY, 3: _ANY}, {0: _ANY}, tuple({0: _ANY, 2: _ANY} for _ in cache))
    outputs = ["logits", "new.last", *(f"new.{name}" for name in names)]
    _write(
        _Decoder(organism).eval(), (*given.values(), *cache), [*given, *names], outputs, free, to
    )


def _write(
    module: nn.Module,
    given: tuple[Tensor, ...],
    inputs: list[str],
    outputs: list[str],
    free: tuple[Any, ...],
    to: Path,
) -> None:
    """Write ``module`` as a graph whose axes are free where ``free`` names them."""
    program = torch.onnx.export(
        module,
        given,
        input_names=inputs,
        output_names=outputs,
        dynamic_shapes=free,
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    with replacing(to, private=False) as draft:
        program.save(str(draft))
        _halve(draft)


def _round(organism: Organism) -> None:
    with torch.no_grad():
        for weight in organism.parameters():
            if weight.numel() >= _SMALL:
                weight.copy_(weight.half().float())


def _halve(path: Path) -> None:
    """Keep the large weights in half precision; the graph casts them back as it loads."""
    model = onnx.load(path)
    graph = model.graph
    casts = []
    for weight in list(graph.initializer):
        if weight.data_type != TensorProto.FLOAT or np.prod(weight.dims) < _SMALL:
            continue
        halved = numpy_helper.to_array(weight).astype(np.float16)
        name = weight.name
        graph.initializer.remove(weight)
        graph.initializer.append(numpy_helper.from_array(halved, f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    for number, cast in enumerate(casts):
        graph.node.insert(number, cast)
    _forget(model)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _forget(model: onnx.ModelProto) -> None:
    """Drop what the exporter noted of the machine: source lines with their paths, node by node."""
    graph = model.graph
    values = (*graph.input, *graph.output, *graph.value_info, *graph.initializer)
    for part in (model, graph, *graph.node, *values, *model.functions):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for function in model.functions:
        for node in function.node:
            node.ClearField("metadata_props")
            node.ClearField("doc_string")


def same_replies(organism: Organism, folder: Path, name: str, count: int) -> int:
    """Return how many of ``count`` held-out requests get the same greedy reply from both."""
    groups = evaluate.held_out(vocabulary(), math.ceil(count / 4))
    held = [one for group in groups for one in group.asked][:count]
    wanted = evaluate.generate(organism, held)
    engine = Engine(folder, name, threads=2)
    same = 0
    for start in range(0, len(held), _BATCH):
        asked = [
            OrganismRequest(o.tokens, o.tiles, evaluate.MAX_NEW)
            for o in held[start : start + _BATCH]
        ]
        written = engine.run(asked)
        found = [list(one.tokens) for one in written]
        same += sum(a == b for a, b in zip(found, wanted[start:], strict=False))
    return same


def main() -> None:
    """Export one organism."""
    parser = argparse.ArgumentParser(prog="python -m research.organism.export", description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--check", type=int, default=0, help="compare so many greedy replies")
    asked = parser.parse_args()
    organism = load(asked.weights)
    export(organism, asked.to, asked.name)
    if asked.check:
        same = same_replies(organism, asked.to, asked.name, asked.check)
        sys.stdout.write(f"{asked.name}: {same} of {asked.check} replies are the same\n")


if __name__ == "__main__":
    main()
