"""Pieces of pictures to train on: every word that a picture can show, drawn in many ways.

Drawing and cutting a whole picture for every sample would take most of the training's time. A model
sees a picture as its pieces, so the pieces are drawn once, by the page, in both bundled fonts, at
many sizes, and cut by the code that cuts every picture; a training picture is then a row of them.
Held-out requests and the benchmark's are drawn as whole pictures (:func:`draw`).
"""

from __future__ import annotations

import random
import textwrap
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from opensafemlrm.models.demo.organism_reading import Pixels, tiles
from research.organism.world import Request, readable

FONTS: Final = ("LiberationSans-Regular.ttf", "LiberationMono-Bold.ttf")
VARIANTS: Final = 24
"""Ways in which each word is drawn."""
_SIZES: Final = (56, 110)
_WORDS_A_PAGE: Final = 16
_PITCH: Final = (0.93, 1.3)
_SUFFIXES: Final = ("", "", "", "", ".", ".", ",", "?", '"', '".')


@dataclass(frozen=True, slots=True)
class Bank:
    """Tiles of words: ``pixels`` (word, variant, height, width), and the row of each word."""

    pixels: Pixels
    rows: dict[str, int]

    def take(self, seen: tuple[str, ...], rng: random.Random) -> Pixels:
        """Return one tile for each piece, each drawn in a way of its own."""
        chosen = [self.rows[bare(piece)] for piece in seen]
        return self.pixels[chosen, [rng.randrange(VARIANTS) for _ in chosen]]


def bare(piece: str) -> str:
    """Return the word in a piece of a picture, without the marks at its ends."""
    return piece.strip('.,;:?!"').lower()


def bank(cache_file: Path | None = None) -> Bank:
    """Draw the bank, or read it from ``cache_file``; the same words give the same bank."""
    words = readable()
    rows = {word: row for row, word in enumerate(words)}
    if cache_file is not None and cache_file.exists():
        with np.load(cache_file) as held:
            if list(held["words"]) == list(words):
                return Bank(held["pixels"], rows)
    pixels = np.stack([_variant(words, number) for number in range(VARIANTS)], axis=1)
    if cache_file is not None:
        np.savez_compressed(cache_file, pixels=pixels, words=np.array(words))
    return Bank(pixels, rows)


def draw(request: Request, rng: random.Random) -> PILImage.Image:
    """Draw a request's picture, in a font, size and place of chance."""
    lines = textwrap.wrap(_capital(request.drawn), width=rng.choice((14, 15, 18, 22)))
    lines += [f"{number}. " for number in range(1, request.numbered + 1)]
    return _page(lines, rng.choice(FONTS), rng.randint(*_SIZES), rng)


def _variant(words: tuple[str, ...], number: int) -> Pixels:
    """Draw every word once: by the page, again where a page is not cut as it was written."""
    rng = random.Random(number)  # noqa: S311 # a picture, not a secret
    left = list(words)
    found: dict[str, Pixels] = {}
    while left:
        rng.shuffle(left)
        page, rest = left[:_WORDS_A_PAGE], left[_WORDS_A_PAGE:]
        font = FONTS[number % len(FONTS)]
        pieces = [_dressed(word, rng) for word in page]
        lines = [" ".join(pieces[at : at + 3]) for at in range(0, len(pieces), 3)]
        cut = tiles(_page(lines, font, rng.randint(*_SIZES), rng))
        if len(cut) == len(page):
            found.update(zip(page, cut, strict=True))
            left = rest
    return np.stack([found[word] for word in words])


def _dressed(word: str, rng: random.Random) -> str:
    if word.isdigit():
        return f"{word}."
    shown = word.capitalize() if rng.random() < 0.35 else word
    return ('"' if rng.random() < 0.08 else "") + shown + rng.choice(_SUFFIXES)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _page(lines: list[str], font: str, size: int, rng: random.Random) -> PILImage.Image:
    face = _face(font, size)
    pitch = size * rng.uniform(*_PITCH)
    left, top = rng.randint(4, 40), size * rng.uniform(0.9, 1.4)
    width = round(max(face.getlength(line) for line in lines)) + left + rng.randint(8, 80)
    picture = PILImage.new("L", (width, round(top + pitch * len(lines))), 255)
    pen = ImageDraw.Draw(picture)
    for number, line in enumerate(lines):
        pen.text((left, top + number * pitch), line, font=face, fill=0, anchor="ls")
    return picture


@cache
def _face(font: str, size: int) -> ImageFont.FreeTypeFont:
    path = files("opensafemlrm.attacks").joinpath("fonts", font)
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)
