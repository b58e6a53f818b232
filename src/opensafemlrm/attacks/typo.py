"""MM-SafetyBench's typographic attack: the key phrase as a picture, the question without it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

from PIL import ImageFont
from pydantic import Field

from opensafemlrm.attacks import deriving, typography
from opensafemlrm.components import Attack
from opensafemlrm.derivation import Derivation
from opensafemlrm.text_file import OMITTED
from opensafemlrm.types import JSON, Card, Image, Item, Prompt

WIDTH: Final = 1024
"""Width of the picture, in pixels (MM-SafetyBench, arXiv 2311.17600). Its height is the font size
times one more than the lines (ibid.). Every line begins with a space, at the left edge (ibid.)."""

EDGE: Final = 2
"""Pixels left free at the right: this project's choice, so that no letter is cut."""


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
    card = Card(
        title="Typographic key phrase",
        paper="MM-SafetyBench: A Benchmark for Safety Evaluation of Multimodal Large Language "
        "Models, arXiv 2311.17600",
        licence="CC-BY-NC-4.0",
        source="https://github.com/isXinLiu/MM-SafetyBench",
        notes="The image comes first, then the text, as in the chat templates it was tested with.",
    )

    version = "1-B"
    """In 1-A a line began 10 pixels from the left edge, without a space."""

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
        typography.refuse_own_images(item, self.name)
        as_released = self.released and self.font_size == 90 and self.font is None
        shipped = item.released.get("typo") if as_released else None
        needed = ("rephrased",) if shipped else ("key_phrase", "rephrased")
        item = deriving.complete(item, self.derive, self.name, *needed)
        text = typography.field(item, "rephrased", self.name)
        return Prompt.user(shipped or self.render(item), text, system=item.system)

    def render(self, item: Item) -> Image:
        """Return the picture drawn for ``item``, also where the dataset ships one."""
        return self._draw(typography.field(item, "key_phrase", self.name), item)

    def _draw(self, phrase: str, item: Item) -> Image:
        face = self._face()
        words = typography.printable(phrase, face, item, self.name).split()
        rows = self._wrap(words, face, item)
        # A line is as high as the font; half a line stays free above and below.
        rise, fall = face.getmetrics()
        first = self.font_size + (rise - fall) / 2
        lines = [
            typography.Line(f" {row}", 0, first + number * self.font_size)
            for number, row in enumerate(rows)
        ]
        return typography.draw(lines, (WIDTH, self.font_size * (len(rows) + 1)), face)

    def _wrap(self, words: list[str], face: ImageFont.FreeTypeFont, item: Item) -> list[str]:
        def fits(row: str) -> bool:
            # A letter may reach beyond the room that it takes up.
            line = f" {row}"
            return max(face.getlength(line), face.getbbox(line)[2]) <= WIDTH - EDGE

        rows: list[str] = []
        for word in words:
            if not fits(word):
                raise typography.refusal(
                    self.name,
                    item,
                    f"its key phrase has a word of {len(word)} characters, which does not fit in "
                    f"{WIDTH} pixels at font size {self.font_size}",
                )
            longer = f"{rows[-1]} {word}" if rows else word
            if rows and fits(longer):
                rows[-1] = longer
            else:
                rows.append(word)
        return rows

    def _face(self) -> ImageFont.FreeTypeFont:
        return typography.font(self.font, typography.SANS, self.font_size)
