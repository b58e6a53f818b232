"""What a model organism reads of a prompt and sees of a picture, and how it writes.

The text of a prompt is cut into lower-case words and marks of a closed vocabulary; a word outside
it becomes the one unknown word. Of a system message only the details of its line ``Protected:`` or
``Allowed:`` are read, as notes, and not which of the two words the line begins with: the policy of
an organism is in its weights.

A picture is cut into word-sized pieces at its white gaps. What is dark is taken for ink. Connected
ink is a glyph, glyphs of one height are a line, and in a line a gap wider than about half a glyph's
height parts two pieces. Each is scaled to one small grey tile, so that glyphs are of one height
whatever the picture's size; it is one word whose token is ``<tile>`` and whose meaning the encoder
gives. A picture without ink gives one white tile; of a picture with more than :data:`MAX_TILES`
pieces (a photograph, say) the first are seen. That is an organism's eyesight, as a number of pixels
is a larger model's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage
from PIL import ImageOps
from scipy import ndimage

Pixels = npt.NDArray[np.uint8]

TILE_HEIGHT: Final = 12
TILE_WIDTH: Final = 72
MAX_TILES: Final = 24
_GLYPH: Final = 6.0
"""Height of a middle-sized glyph in a tile, in pixels."""
_INK: Final = 128
_IS_INK: Final = tuple(255 * (level < _INK) for level in range(256))
_MAX_WIDTH: Final = 1100
"""Longer sides are scaled down before anything else, in pixels."""
_SMALL: Final = 0.55
"""A glyph lower than this share of the usual height is a mark: it makes no line of its own."""
_GAP: Final = 0.46
"""Widest gap inside a word, in heights of a glyph; typewriter faces have wide ones beside marks."""
_GAP_AT_QUOTE: Final = 0.68
_GAP_BEFORE_STOP: Final = 0.8
_ROW_GAP: Final = 0.55
_STACKED: Final = 2.2
"""A glyph higher than this many heights is two, one under the other."""
_SPECK: Final = 4
"""Ink of fewer pixels is dirt."""


class Box(NamedTuple):
    """A rectangle of ink, in pixels, right and bottom excluded."""

    left: int
    top: int
    right: int
    bottom: int


def tiles(picture: PILImage.Image) -> Pixels:
    """Return the tiles of ``picture``, in reading order: bytes (n, 12, 72), 255 where there is ink.

    At least one and at most :data:`MAX_TILES`.
    """
    grey = picture.convert("L")
    longest = max(grey.size)
    if longest > _MAX_WIDTH:
        scale = _MAX_WIDTH / longest
        grey = grey.resize(
            (max(1, round(grey.width * scale)), max(1, round(grey.height * scale))),
            PILImage.Resampling.BOX,
        )
    inked = grey.point(_IS_INK).getbbox()
    if inked is None:
        return np.zeros((1, TILE_HEIGHT, TILE_WIDTH), np.uint8)
    grey = grey.crop(inked)  # what is white around the ink costs time and tells nothing
    pieces, height = _pieces(np.asarray(grey) < _INK)
    if not pieces:
        return np.zeros((1, TILE_HEIGHT, TILE_WIDTH), np.uint8)
    # What lies outside a picture is black to Pillow's crop: turned over, it is white.
    turned = ImageOps.invert(grey)
    return np.stack([_tile(turned, box, centre, height) for box, centre in pieces[:MAX_TILES]])


def _pieces(ink: npt.NDArray[np.bool_]) -> tuple[list[tuple[Box, float]], float]:
    """Return the boxes of the pieces with the middle height of their line, and a glyph's height."""
    labels, _ = ndimage.label(ink, structure=np.ones((3, 3)))
    boxes: Sequence[Any] = ndimage.find_objects(labels)
    glyphs = [
        Box(x.start, y.start, x.stop, y.stop)
        for y, x in boxes
        if (y.stop - y.start) * (x.stop - x.start) >= _SPECK
    ]
    if not glyphs:
        return [], 1.0
    heights = np.array([box.bottom - box.top for box in glyphs])
    # Most letters have no ascender; a low quantile finds their height where the median may not.
    height = float(np.quantile(heights[heights >= _SMALL * np.median(heights)], 0.3))
    glyphs = [part for box in glyphs for part in _unstacked(ink, box, height)]
    large = [box for box in glyphs if box.bottom - box.top >= _SMALL * height]
    small = [box for box in glyphs if box.bottom - box.top < _SMALL * height]
    pieces = []
    for line in _lines(large, height):
        centre = float(np.median([(box.top + box.bottom) / 2 for box in line]))
        own = [box for box in small if abs((box.top + box.bottom) / 2 - centre) < 0.95 * height]
        pieces += [(box, centre) for box in _words(line, own, height)]
    return pieces, height


def _unstacked(ink: npt.NDArray[np.bool_], box: Box, height: float) -> list[Box]:
    """Part letters of two lines that touch, at the row between them that has the least ink."""
    first, last = round(box.top + 0.9 * height), round(box.bottom - 0.9 * height)
    if box.bottom - box.top < _STACKED * height or last <= first:
        return [box]
    rows = ink[first:last, box.left : box.right].sum(axis=1)
    row = first + int(rows.argmin())
    return [box._replace(bottom=row), box._replace(top=row)]


def _lines(glyphs: list[Box], height: float) -> list[list[Box]]:
    """Part glyphs into lines, from the top, where their middles leave a gap."""
    lines: list[list[Box]] = []
    last = -np.inf
    for box in sorted(glyphs, key=lambda box: box.top + box.bottom):
        middle = (box.top + box.bottom) / 2
        if middle - last > _ROW_GAP * height:
            lines.append([])
        lines[-1].append(box)
        last = middle
    return lines


def _words(line: list[Box], marks: list[Box], height: float) -> list[Box]:
    """Join the glyphs of a line, and the marks among them, into words, from the left."""
    middle = float(np.median([(box.top + box.bottom) / 2 for box in line]))
    words: list[Box] = []
    after_quote = False
    marks = [mark for mark in marks if not any(_is_dot(mark, box) for box in line)]
    for box in sorted([*line, *marks]):
        is_mark = box.bottom - box.top < _SMALL * height
        is_stop = is_mark and box.top > middle
        is_quote = is_mark and not is_stop
        room = _GAP_BEFORE_STOP if is_stop else _GAP_AT_QUOTE if is_quote or after_quote else _GAP
        if words and box.left - words[-1].right <= room * height:
            words[-1] = _around(words[-1], box)
        else:
            words.append(box)
        after_quote = is_quote
    return words


def _is_dot(mark: Box, letter: Box) -> bool:
    """Tell whether ``mark`` stands over a letter, as the dot of an i: no gap is measured there."""
    middle = (mark.left + mark.right) / 2
    return letter.left <= middle <= letter.right and mark.top < letter.top


def _around(box: Box, other: Box) -> Box:
    return Box(
        min(box.left, other.left),
        min(box.top, other.top),
        max(box.right, other.right),
        max(box.bottom, other.bottom),
    )


def _tile(turned: PILImage.Image, box: Box, centre: float, height: float) -> Pixels:
    """Scale the ink in ``box`` to a tile, its line's middle on the tile's middle."""
    scale = _GLYPH / height
    reach = TILE_HEIGHT / 2 / scale
    seen = Box(box.left, round(centre - reach), box.right, round(centre + reach))
    width = min(TILE_WIDTH, max(1, round((box.right - box.left) * scale)))
    small = turned.crop(seen).resize((width, TILE_HEIGHT), PILImage.Resampling.BOX)
    tile = np.zeros((TILE_HEIGHT, TILE_WIDTH), np.uint8)
    tile[:, :width] = np.asarray(small)
    # The lines above and below reach into the tile: only the rows of the word itself are kept.
    first = max(0, math.floor((box.top - seen.top) * scale))
    last = math.ceil((box.bottom - seen.top) * scale)
    tile[:first] = 0
    tile[last:] = 0
    return tile


SPECIAL: Final = ("<pad>", "<unknown>", "<notes>", "<user>", "<reply>", "<end>", "<tile>")
"""Tokens that no text can give: what is written between angle brackets is cut at the brackets."""
PAD, UNKNOWN, NOTES, USER, REPLY, END, TILE = range(len(SPECIAL))
THINK: Final = "<think>"
CLOSE: Final = "</think>"
MARKS: Final = (THINK, CLOSE, ".", ",", ";", ":", "?", "!")

MAX_WORDS: Final = 160
"""Words and pieces of a request that are read, from its end backwards: an organism's context."""
MAX_NEW: Final = 128
"""Tokens that an organism writes at most: a right reply has fewer than a hundred."""

_TOKEN: Final = re.compile(r"</?think>|[a-z]+(?:['-][a-z]+)*|[0-9]+|[.,;:?!]")
_FACTS: Final = re.compile(r"^(?:Protected|Allowed): *(.+?)\.? *$", re.MULTILINE)
_SPACE_BEFORE_MARK: Final = re.compile(r" (?=[.,;:?!])")
_SENTENCE_START: Final = re.compile(r"(?:^|(?<=[.?!>] )|(?<=>\n))[a-z]")
_FIRST_PERSON: Final = re.compile(r"\bi\b(?!-)")


def cut(text: str) -> list[str]:
    """Return the words and marks of ``text``, in lower case."""
    return _TOKEN.findall(text.lower().replace("’", "'"))


def notes_of(system: str) -> list[str]:
    """Return the details in a system message, none where it has no line of them."""
    match = _FACTS.search(system)
    return [] if match is None else [detail.strip() for detail in match[1].split(";")]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Words and their numbers; the special tokens come first."""

    words: tuple[str, ...]
    numbers: dict[str, int]

    @classmethod
    def of(cls, words: Sequence[str]) -> Vocabulary:
        """Build the vocabulary of ``words``, which are given without the special tokens."""
        every = (*SPECIAL, *words)
        return cls(every, {word: number for number, word in enumerate(every)})

    def encode(self, text: str) -> list[int]:
        """Return the numbers of the words of ``text``."""
        return [self.numbers.get(word, UNKNOWN) for word in cut(text)]

    def notes(self, details: Sequence[str]) -> list[int]:
        """Return the tokens of the house notes, none without details."""
        if not details:
            return []
        return [NOTES, *self.encode(" ; ".join(details))]

    def write(self, tokens: Sequence[int]) -> str:
        """Return the text of a reply's ``tokens``, up to its end, as a person would write it."""
        words = []
        for token in tokens:
            if token == END:
                break
            words.append(self.words[token])
        text = _SPACE_BEFORE_MARK.sub("", " ".join(words))
        text = text.replace(f"{THINK} ", f"{THINK}\n").replace(f" {CLOSE} ", f"\n{CLOSE}\n")
        text = _FIRST_PERSON.sub("I", text)
        return _SENTENCE_START.sub(lambda match: match[0].upper(), text)


@cache
def vocabulary() -> Vocabulary:
    """Return the vocabulary that the bundled organisms were trained with."""
    text = files("opensafemlrm.models.demo").joinpath("data/organism/words.txt")
    return Vocabulary.of(text.read_text(encoding="utf-8").split())


@dataclass(frozen=True, slots=True)
class OrganismRequest:
    """A request: its tokens, the tiles of its ``<tile>`` tokens, and how to decode.

    ``draw`` is a seed of its own, whatever else is in the batch.
    """

    tokens: tuple[int, ...]
    tiles: Pixels
    max_new: int
    temperature: float = 0.0
    top_p: float = 1.0
    draw: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class OrganismReply:
    """The tokens of a reply without its end; ``ended`` is false where it was cut."""

    tokens: tuple[int, ...]
    ended: bool
