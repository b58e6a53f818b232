"""MM-SafetyBench's typographic attack: the key phrase as a picture, the question without it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

from PIL import ImageFont
from pydantic import Field

from opensafemlrm.attacks import needs, typography
from opensafemlrm.components import Attack
from opensafemlrm.derivation import Derivation
from opensafemlrm.text_file import OMITTED
from opensafemlrm.types import JSON, Image, Item, Prompt

WIDTH: Final = 1024
"""Width of the picture, in pixels (MM-SafetyBench, arXiv 2311.17600). Its height is the font size
times one more than the lines (ibid.). Lines begin at the left edge, all but the first with a space
(as in the public copies of its creation script)."""

SPACING: Final = 4
"""Pixels between the baseline of a line and the ascender line of the next: Pillow's own (ibid.)."""

EDGE: Final = 2
"""Pixels left free at the right: this project's choice, so that no letter is cut. A line whose
first letter reaches to the left of its place is moved by that."""


@dataclass(frozen=True, slots=True)
class Typo(Attack):
    """Draw the item's key phrase; send it with the question that speaks of "the image" instead.

    Needs the field ``rephrased``, and ``key_phrase`` where it draws. A released image is used where
    the dataset ships it, as long as the options are those it was made with. ``font_size`` is in
    pixels an em. The font is Liberation Sans, as wide as the original's Arial; ``font`` takes
    another. A word that is wider than the picture is refused, where the original cuts it off.

    ``derive`` makes both fields where the dataset has them not: ``rule``, or a file of
    ``safemlrm datasets derive``.
    """

    name = "typo"

    version = "1-C"
    """In 1-B the first line began with a space too, and lines were as far apart as the font is
    high; in 1-A they began 10 pixels from the left edge."""

    font_size: Annotated[int, Field(ge=8, le=400)] = 90
    released: bool = True
    font: Path | None = None

    derive: Derivation | None = field(default=None, metadata={OMITTED: True})

    def __post_init__(self) -> None:
        self._face()

    def options(self) -> Mapping[str, JSON]:
        """Return the options, a font by content."""
        return {**Attack.options(self), "font": typography.font_identity(self.font)}

    def apply(self, item: Item, seed: int) -> Prompt:
        """Return the picture and the rephrased question. Raises AttackError if the item lacks
        either or has images of its own, or if the phrase cannot be drawn or does not fit.
        """
        needs.refuse_own_images(item, self.name)
        as_released = self.released and self.font_size == 90 and self.font is None
        shipped = item.released.get("typo") if as_released else None
        needed = ("rephrased",) if shipped else ("key_phrase", "rephrased")
        item = needs.complete(item, self.derive, self.name, *needed)
        text = needs.field(item, "rephrased", self.name)
        return Prompt.user(shipped or self.render(item), text, system=item.system)

    def render(self, item: Item) -> Image:
        """Return the picture drawn for ``item``, also where the dataset ships one."""
        return self._draw(needs.field(item, "key_phrase", self.name), item)

    def _draw(self, phrase: str, item: Item) -> Image:
        face = self._face()
        words = typography.printable(phrase, face, item, self.name).split()
        rows = self._wrap(words, face, item)
        rise, _ = face.getmetrics()
        first = self.font_size / 2 + rise
        lines = [
            typography.Line(row, _overhang(row, face), first + number * (rise + SPACING))
            for number, row in enumerate(rows)
        ]
        return typography.draw(lines, (WIDTH, self.font_size * (len(rows) + 1)), face)

    def _wrap(self, words: list[str], face: ImageFont.FreeTypeFont, item: Item) -> list[str]:
        def fits(row: str) -> bool:
            # A letter may reach beyond the room that it takes up.
            reach = max(face.getlength(row), face.getbbox(row)[2])
            return reach + _overhang(row, face) <= WIDTH - EDGE

        rows: list[str] = []
        for word in words:
            start = f" {word}" if rows else word
            if not fits(start):
                raise needs.refusal(
                    self.name,
                    item,
                    f"its key phrase has a word of {len(word)} characters, which does not fit in "
                    f"{WIDTH} pixels at font size {self.font_size}",
                )
            longer = f"{rows[-1]} {word}" if rows else word
            if rows and fits(longer):
                rows[-1] = longer
            else:
                rows.append(start)
        return rows

    def _face(self) -> ImageFont.FreeTypeFont:
        return typography.font(self.font, typography.SANS, self.font_size)


def _overhang(row: str, face: ImageFont.FreeTypeFont) -> float:
    return max(0.0, -face.getbbox(row)[0])
