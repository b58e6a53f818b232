"""Samples as tensors: padded on the right, pictures gathered from the bank."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 # its usual name

from opensafemlrm.models.demo.organism_reading import PAD, TILE
from research.organism.model import Organism
from research.organism.pictures import Bank, bare
from research.organism.samples import Sample

_POOL: Final = 8
"""Batches that are drawn together and sorted by length, so that little is padded."""
_NAMING: Final = 0.2
"""Weight of the encoder's own loss beside the decoder's."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Tokens (rows, positions), tiles (n, height, width) in the order of their ``<tile>`` tokens,
    and the row of the vocabulary that names each tile; ``replies`` marks the tokens to learn."""

    tokens: Tensor
    replies: Tensor
    tiles: Tensor
    names: Tensor


def batches(
    draw: Callable[[], Sample], size: int, bank: Bank, numbers: dict[str, int], rng: random.Random
) -> Iterator[Batch]:
    """Yield batches for ever."""
    while True:
        pool = sorted((draw() for _ in range(size * _POOL)), key=lambda s: len(s.tokens))
        starts = list(range(0, len(pool), size))
        rng.shuffle(starts)
        for start in starts:
            yield collate(pool[start : start + size], bank, numbers, rng)


def collate(
    samples: list[Sample], bank: Bank, numbers: dict[str, int], rng: random.Random
) -> Batch:
    """Put samples together."""
    longest = max(len(sample.tokens) for sample in samples)
    tokens = np.full((len(samples), longest), PAD)
    replies = np.zeros((len(samples), longest), bool)
    for row, sample in enumerate(samples):
        tokens[row, : len(sample.tokens)] = sample.tokens
        replies[row, sample.asked : len(sample.tokens)] = True
    seen = [piece for sample in samples for piece in sample.seen]
    tiles = bank.take(tuple(seen), rng)
    return Batch(
        torch.from_numpy(tokens),
        torch.from_numpy(replies),
        torch.from_numpy(tiles),
        torch.tensor([numbers[bare(piece)] for piece in seen], dtype=torch.long),
    )


def shaken(tiles: Tensor) -> Tensor:
    """Move tiles by up to a pixel, and add a little noise."""
    down, right = torch.randint(-1, 2, (2,)).tolist()
    moved = torch.roll(tiles, (down, right), dims=(1, 2)).float()
    faded = moved * (0.8 + 0.2 * torch.rand(len(moved), 1, 1))
    return (faded + 8 * torch.randn_like(moved)).clamp(0, 255)


def loss(organism: Organism, batch: Batch, *, learn_to_see: bool) -> Tensor:
    """Return the mean loss of a reply's tokens, with the encoder's own where it still learns."""
    width = organism.shape.seen
    seen = torch.zeros(*batch.tokens.shape, width)
    is_seen = batch.tokens == TILE
    naming = torch.zeros(())
    if len(batch.tiles):
        tiles = shaken(batch.tiles)
        if learn_to_see:
            vectors = organism.encoder(tiles)
            naming = F.cross_entropy(organism.named(vectors).float(), batch.names)
        else:
            with torch.no_grad():
                vectors = organism.encoder(tiles)
        seen = seen.masked_scatter(is_seen.unsqueeze(-1), vectors.float())
    states = organism(organism.embedded(batch.tokens, seen, is_seen))
    wanted = batch.replies[:, 1:]
    logits = organism.logits(states[:, :-1][wanted]).float()
    return F.cross_entropy(logits, batch.tokens[:, 1:][wanted]) + _NAMING * naming
