"""A harmless prompt of the same form as another: what a server that is well can answer."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from typing import Final

from PIL import Image as PILImage

from opensafemlrm import images
from opensafemlrm.types import Image, Prompt, Turn

_SIZE: Final = (64, 64)
_WORDS: Final = {
    "system": "Answer in one word.",
    "user": "Which colour is the sky on a clear day? Answer in one word.",
    "assistant": "The sky is",
}


def form_of(prompt: Prompt) -> tuple[tuple[str, int], ...]:
    """Return what a server may take or not, whatever the words are: roles and images by turn."""
    return tuple([(turn.role, _images(turn)) for turn in prompt.turns])


def harmless(prompt: Prompt, *, true_to_size: bool = False) -> Prompt:
    """Return a prompt of the same form about the colour of the sky, with blue pictures.

    They are small, unless they are to be as large as the prompt's own.
    """

    def blue(turn: Turn) -> list[Image]:
        sizes = [(part.width, part.height) for part in turn.parts if isinstance(part, Image)]
        return [_blue(size if true_to_size else _SIZE) for size in sizes]

    turns = (Turn(t.role, (*blue(t), _WORDS[t.role])) for t in prompt.turns)
    return dataclasses.replace(prompt, turns=tuple(turns))


def _images(turn: Turn) -> int:
    return [type(part) for part in turn.parts].count(Image)


@lru_cache(8)
def _blue(size: tuple[int, int]) -> Image:
    return images.from_picture(PILImage.new("RGB", size, "blue"))
