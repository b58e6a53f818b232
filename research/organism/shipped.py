"""A shipped organism as PyTorch: ``python -m research.organism.shipped base --to runs/base.pt``.

What is shipped is ONNX in half precision. Read back, a training can begin from the very base that
comes with the package, without training one first. What only the training of pictures needs
(``named``) is not shipped: it is drawn anew, and no fine-tuning reads it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from opensafemlrm.models.demo.organism import NAMES
from opensafemlrm.models.demo.organism_reading import vocabulary
from research.organism.model import Organism, Shape, save


def read(name: str) -> Organism:
    """Return the organism that is shipped under ``name``."""
    folder = Path(str(files("opensafemlrm.models.demo").joinpath("data/organism")))
    organism = Organism(Shape(len(vocabulary().words)))
    weights = organism.state_dict()
    held = dict(_weights(folder / "encoder.onnx"))
    weights |= {
        f"encoder.{key}": value for key, value in held.items() if f"encoder.{key}" in weights
    }
    held = {key.removeprefix("organism."): v for key, v in _weights(folder / f"{name}.onnx")}
    weights |= {key: value for key, value in held.items() if key in weights}
    # The exporter turns the matrices around and calls them by number, in the order of their use.
    matrices = iter([v.T for key, v in held.items() if key.startswith("val_") and v.ndim == 2])
    for key in _matrices(organism.shape):
        weights[key] = next(matrices)
    organism.load_state_dict({key: torch.as_tensor(value) for key, value in weights.items()})
    return organism


def _weights(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    for weight in onnx.load(path).graph.initializer:
        yield weight.name.removesuffix(".half"), numpy_helper.to_array(weight).astype(np.float32)


def _matrices(shape: Shape) -> list[str]:
    blocks = [
        f"blocks.{layer}.{part}.weight"
        for layer in range(shape.layers)
        for part in ("to_qkv", "mix", "up", "down")
    ]
    return ["projector.weight", *blocks]


def main() -> None:
    """Write the weights of a shipped organism."""
    parser = argparse.ArgumentParser(
        prog="python -m research.organism.shipped", description=__doc__
    )
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--to", type=Path, required=True)
    asked = parser.parse_args()
    asked.to.parent.mkdir(parents=True, exist_ok=True)
    save(read(asked.name), asked.to)


if __name__ == "__main__":
    main()
