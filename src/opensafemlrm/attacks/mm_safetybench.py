"""MM-SafetyBench's pictures: the key phrase typed, what the question is about, and both."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

from PIL import ImageFont
from pydantic import Field

from opensafemlrm import images
from opensafemlrm.attacks import image_edits, needs, typography
from opensafemlrm.components import Attack
from opensafemlrm.derivation import Derivation
from opensafemlrm.text_file import OMITTED
from opensafemlrm.types import Image, Item, Prompt

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
class Typo(typography.DrawsText):
    """Draw the item's key phrase; send it with the question that speaks of "the image" instead.

    Needs the field ``rephrased``, and ``key_phrase`` where it draws. A released image is used where
    the dataset ships it, as long as the options are those it was made with. ``font_size`` is in
    pixels an em. The font is Liberation Sans, as wide as the original's Arial; ``font`` takes
    another. A word that is wider than the picture is refused, where the original cuts it off.

    ``derive`` makes both fields where the dataset has them not: ``rule``, or a file of
    ``safemlrm datasets derive``.
    """

    name = "typo"
    bundled = typography.SANS

    version = "1-C"
    """In 1-B the first line began with a space too, and lines were as far apart as the font is
    high; in 1-A they began 10 pixels from the left edge."""

    font_size: Annotated[int, Field(ge=8, le=400)] = 90
    released: bool = True
    font: Path | None = None

    derive: Derivation | None = field(default=None, metadata={OMITTED: True})

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


def _overhang(row: str, face: ImageFont.FreeTypeFont) -> float:
    return max(0.0, -face.getbbox(row)[0])


@dataclass(frozen=True, slots=True)
class SD(Attack):
    """Send the released diffusion picture with the question that speaks of it.

    Needs the released picture ``sd`` and the field ``rephrased_sd``. This project makes no such
    pictures: where the dataset ships none, nothing is sent.
    """

    name = "sd"

    def check(self, item: Item) -> None:
        """Raise AttackError if the dataset of ``item`` ships no such pictures."""
        needs.picture(item, ("sd",), self.name)

    def apply(self, item: Item, seed: int) -> Prompt:
        """Return picture and question. Raises AttackError if the item lacks either, or has images
        of its own.
        """
        needs.refuse_own_images(item, self.name)
        image = needs.picture(item, ("sd",), self.name)
        text = needs.field(item, "rephrased_sd", self.name)
        return Prompt.user(image, text, system=item.system)


@dataclass(frozen=True, slots=True)
class SDTypo(Attack):
    """Send the diffusion picture stacked above the drawn key phrase, with the rephrased question.

    Needs the field ``rephrased``, and the released picture ``sd-typo``, or ``sd`` and the field
    ``key_phrase``: the two are then stacked here, in their own sizes, both at the left edge, on
    black, as a JPEG. ``released=False`` stacks also where ``sd-typo`` is shipped. The setting
    "jailbreak method" of the SafeMLRM study (arXiv 2504.08813) is this attack.
    """

    name = "sd-typo"

    version = "1-B"
    """In 1-A the narrower picture stood in the middle, on white."""

    released: bool = True

    def check(self, item: Item) -> None:
        """Raise AttackError if the dataset of ``item`` ships no such pictures."""
        needs.picture(item, self._names(), self.name)

    def apply(self, item: Item, seed: int) -> Prompt:
        """Return picture and question. Raises AttackError if the item lacks what is needed or has
        images of its own, or if its key phrase cannot be drawn; ImageError if the diffusion
        picture cannot be decoded.
        """
        needs.refuse_own_images(item, self.name)
        text = needs.field(item, "rephrased", self.name)
        image = needs.picture(item, self._names(), self.name)
        if not self.released or "sd-typo" not in item.released:
            image = self._stack(image, item)
        return Prompt.user(image, text, system=item.system)

    def _names(self) -> tuple[str, ...]:
        return ("sd-typo", "sd") if self.released else ("sd",)

    def _stack(self, diffusion: Image, item: Item) -> Image:
        phrase = (item.released.get("typo") if self.released else None) or Typo().render(item)
        with images.to_picture(diffusion) as above, images.to_picture(phrase) as below:
            return images.from_picture(image_edits.stacked(above, below), "image/jpeg")
