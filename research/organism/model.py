"""The organism's network: a convolutional encoder of tiles and a small decoder, in PyTorch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 # its usual name

from opensafemlrm.files import replacing
from opensafemlrm.models.demo.organism_reading import PAD, TILE_HEIGHT, TILE_WIDTH


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of an organism."""

    words: int
    width: int = 128
    layers: int = 4
    heads: int = 4
    seen: int = 128
    """Width of what the encoder gives for a tile."""

    @property
    def head(self) -> int:
        """Width of one head."""
        return self.width // self.heads


class Encoder(nn.Module):
    """Tiles (n, height, width), bytes, to vectors (n, seen)."""

    def __init__(self, seen: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 3, stride=(1, 2), padding=1),
            nn.GELU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(32, 48, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Flatten(),
            nn.Linear(48 * (TILE_HEIGHT // 4) * (TILE_WIDTH // 8), seen),
            nn.GELU(),
            nn.LayerNorm(seen),
        )

    def forward(self, tiles: Tensor) -> Tensor:
        """Encode."""
        seen: Tensor = self.layers(tiles.float().unsqueeze(1) / 255)
        return seen


class Past(NamedTuple):
    """What was read: keys and values by layer, (rows, heads, positions, head), and the embedding of
    the last position, (rows, 1, width)."""

    keys: list[Tensor]
    values: list[Tensor]
    last: Tensor


class Block(nn.Module):
    """One pre-norm transformer layer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.before = nn.LayerNorm(shape.width)
        self.to_qkv = nn.Linear(shape.width, 3 * shape.width, bias=False)
        self.mix = nn.Linear(shape.width, shape.width, bias=False)
        self.between = nn.LayerNorm(shape.width)
        self.up = nn.Linear(shape.width, 4 * shape.width)
        self.down = nn.Linear(4 * shape.width, shape.width)

    def forward(
        self,
        x: Tensor,
        turn: tuple[Tensor, Tensor],
        past: tuple[Tensor, Tensor] | None,
        mask: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the layer's output (rows, positions, width), and its keys and values, old and new.

        Without ``mask`` (true where a position may look) every position looks at those before it.
        """
        rows, length, width = x.shape
        split = self.to_qkv(self.before(x)).view(rows, length, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        query, key = _turned(query, *turn), _turned(key, *turn)
        if past is not None:
            key = torch.cat((past[0], key), dim=2)
            value = torch.cat((past[1], value), dim=2)
        if mask is None:
            mask = torch.ones(length, length, dtype=torch.bool).tril()
        # Written out: PyTorch's own is slow backwards in bfloat16 on a CPU.
        scores = query @ key.transpose(-1, -2) * (width // self.heads) ** -0.5
        mixed = scores.masked_fill(~mask, -1e9).softmax(-1) @ value
        x = x + self.mix(mixed.transpose(1, 2).reshape(rows, length, width))
        return x + self.down(F.gelu(self.up(self.between(x)))), key, value


class Organism(nn.Module):
    """The decoder, with the encoder that it looks through."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = Encoder(shape.seen)
        self.named = nn.Linear(shape.seen, shape.words)
        """The encoder's guess of a tile's word: trains the encoder, and is never given further."""
        self.projector = nn.Linear(shape.seen, shape.width)
        self.embed = nn.Embedding(shape.words, shape.width)
        nn.init.normal_(self.embed.weight, std=0.08)
        with torch.no_grad():
            self.embed.weight[PAD] = 0
        self.smear = nn.Parameter(torch.full((shape.width,), 0.5))
        """How much of the embedding before it each position is given: copying is learnt sooner."""
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.width)
        frequency = 1000.0 ** -(torch.arange(0, shape.head, 2) / shape.head)
        self.register_buffer("frequency", frequency, persistent=False)

    def embedded(self, tokens: Tensor, seen: Tensor, is_seen: Tensor) -> Tensor:
        """Return the embeddings (rows, positions, width): of words, or of what is seen there.

        ``seen`` (rows, positions, seen) counts where ``is_seen`` (rows, positions) is true. Padding
        is nothing at all: its row of the tied embeddings is trained as a word that is never next.
        """
        known = self.embed(tokens) * (tokens != PAD).unsqueeze(-1)
        return torch.where(is_seen.unsqueeze(-1), self.projector(seen), known)

    def forward(self, embedded: Tensor) -> Tensor:
        """Return what every position makes of those before it, (rows, positions, width)."""
        turn = self._turn(torch.arange(embedded.shape[1]).unsqueeze(0))
        embedded = self._smeared(embedded, torch.zeros_like(embedded[:, :1]))
        for block in self.blocks:
            embedded, _, _ = block(embedded, turn, None, None)
        normed: Tensor = self.norm(embedded)
        return normed

    def step(
        self, embedded: Tensor, positions: Tensor, mask: Tensor, past: Past
    ) -> tuple[Tensor, Past]:
        """Return the logits (rows, words) after the last position, and the longer past.

        ``mask`` (rows, 1, positions, old and new positions) is true where a position may look.
        """
        turn = self._turn(positions)
        last = embedded[:, -1:]
        embedded = self._smeared(embedded, past.last)
        keys, values = [], []
        for number, block in enumerate(self.blocks):
            embedded, key, value = block(
                embedded, turn, (past.keys[number], past.values[number]), mask
            )
            keys.append(key)
            values.append(value)
        logits = self.logits(self.norm(embedded[:, -1]))
        return logits, Past(keys, values, last)

    def logits(self, x: Tensor) -> Tensor:
        """Return how likely each word is, unnormalised: embeddings are tied."""
        return F.linear(x, self.embed.weight)

    def empty_past(self, rows: int) -> Past:
        """Return the past before the first position."""
        nothing = torch.zeros(rows, self.shape.heads, 0, self.shape.head)
        layers = [nothing] * self.shape.layers
        return Past(layers, layers, torch.zeros(rows, 1, self.shape.width))

    def _smeared(self, embedded: Tensor, before: Tensor) -> Tensor:
        return embedded + self.smear * torch.cat((before, embedded[:, :-1]), dim=1)

    def _turn(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        frequency = self.get_buffer("frequency")
        angle = positions.float().unsqueeze(-1) * frequency
        return angle.cos().unsqueeze(1), angle.sin().unsqueeze(1)


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the halves of each head by its position (rotary positions, arXiv 2104.09864)."""
    one, two = x.chunk(2, dim=-1)
    return torch.cat((one * cos - two * sin, two * cos + one * sin), dim=-1)


def save(organism: Organism, path: Path) -> None:
    """Write shape and weights; a file that is there is whole."""
    # Opened here: PyTorch takes no file of its own whose name begins with a dot.
    with replacing(path) as draft, draft.open("wb") as file:
        torch.save({"shape": asdict(organism.shape), "weights": organism.state_dict()}, file)


def load(path: Path) -> Organism:
    """Read what :func:`save` wrote."""
    held = torch.load(path, weights_only=True)
    organism = Organism(Shape(**held["shape"]))
    organism.load_state_dict(held["weights"])
    return organism
