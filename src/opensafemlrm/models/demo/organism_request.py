"""What an organism's engine is asked, and what it gives back: plain values, without onnxruntime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from opensafemlrm.models.demo.organism_images import Pixels

MAX_NEW: Final = 128
"""Tokens that an organism writes at most: a right reply has fewer than a hundred."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: its tokens, the tiles of its ``<tile>`` tokens, and how to decode.

    ``draw`` is a seed of its own, whatever else is in the batch.
    """

    tokens: tuple[int, ...]
    tiles: Pixels
    most_new: int
    temperature: float = 0.0
    top_p: float = 1.0
    draw: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Written:
    """The tokens of a reply without its end; ``ended`` is false where it was cut."""

    tokens: tuple[int, ...]
    ended: bool
