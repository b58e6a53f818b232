"""Text drawn as a picture: fonts loaded once, every line placed by its baseline.

Lines are drawn without shaping (Pillow's basic layout), so that the same text gives the same
picture whether or not the optional shaping library is installed. Text that this cannot draw as
a person would write it is refused; a missing glyph is never drawn as an empty box.
"""

from __future__ import annotations

import hashlib
import string
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import ClassVar, Final

from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from opensafemlrm import images
from opensafemlrm.attacks import needs
from opensafemlrm.components import Attack
from opensafemlrm.types import JSON, Image, Item

SANS: Final = "LiberationSans-Regular.ttf"
"""Bundled; has the widths of Arial."""
MONO_BOLD: Final = "LiberationMono-Bold.ttf"
"""Bundled; every glyph is 0.6 em wide, as in FreeMono Bold."""

_GREYS: Final = tuple(level for level in range(256) for _ in range(3))
_NO_CHARACTER: Final = "\uffff"
"""Never a character (Unicode, section 23.7): every font draws its box for missing glyphs."""
_PROBE_SIZE: Final = 40
_RIGHT_TO_LEFT: Final = frozenset({"R", "AL", "AN"})
_MAX_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text, and where its baseline begins, in pixels from the upper left corner."""

    text: str
    x: float
    baseline: float


class DrawsText(Attack):
    """An attack that draws text, in a bundled font or in that of its option ``font``."""

    bundled: ClassVar[str] = MONO_BOLD
    font_size: int
    """Pixels an em."""
    font: Path | None

    def __post_init__(self) -> None:
        self._face()

    def options(self) -> Mapping[str, JSON]:
        """Return the options, a font by content."""
        return {**Attack.options(self), "font": font_identity(self.font)}

    def _face(self) -> ImageFont.FreeTypeFont:
        """Return the font. Raises ValueError as :func:`font` does."""
        return font(self.font, self.bundled, self.font_size)


def font(path: Path | None, bundled: str, size: int) -> ImageFont.FreeTypeFont:
    """Return the font at ``path``, or the bundled one, at ``size`` pixels an em.

    Raises ValueError if the file is missing or is not a font.
    """
    return _load(str(_bundled(bundled) if path is None else path), size)


def font_identity(path: Path | None) -> str | None:
    """Return what makes a font the same as another: the SHA-256 of its file, not its place."""
    return None if path is None else hashlib.sha256(path.read_bytes()).hexdigest()


def printable(text: str, face: ImageFont.FreeTypeFont, item: Item, attack: str) -> str:
    """Return ``text`` in composed form (NFC). Raises AttackError if ``face`` cannot draw it."""
    text = unicodedata.normalize("NFC", text)
    missing = [char for char in dict.fromkeys(text) if not _has_glyph(str(face.path), char)]
    if missing:
        named = ", ".join(_name(char) for char in missing[:_MAX_NAMED])
        more = len(missing) - _MAX_NAMED
        raise needs.refusal(
            attack,
            item,
            f"the font cannot draw {named}{f' and {more} more' if more > 0 else ''}; "
            "give a font that can with the option 'font'",
        )
    if any(unicodedata.bidirectional(char) in _RIGHT_TO_LEFT for char in text):
        raise needs.refusal(attack, item, "text that runs from right to left cannot be drawn")
    return text


def draw(lines: Sequence[Line], size: tuple[int, int], face: ImageFont.FreeTypeFont) -> Image:
    """Return a PNG of ``size`` pixels with black ``lines`` on white; what lies outside is cut."""
    return encode(paint(lines, size, face))


def paint(
    lines: Sequence[Line], size: tuple[int, int], face: ImageFont.FreeTypeFont
) -> PILImage.Image:
    """Return the grey picture that :func:`draw` encodes."""
    picture = PILImage.new("L", size, 255)
    pen = ImageDraw.Draw(picture)
    for line in lines:
        pen.text((line.x, line.baseline), line.text, font=face, fill=0, anchor="ls")
    return picture


def encode(picture: PILImage.Image) -> Image:
    """Return a grey picture as a PNG."""
    # The same pixels as a grey palette: Pillow writes palettes unfiltered, in half the time.
    picture.putpalette(_GREYS)
    return images.from_picture(picture)


def _bundled(name: str) -> Path:
    return Path(str(files("opensafemlrm.attacks").joinpath("fonts", name)))


@cache
def _load(path: str, size: int) -> ImageFont.FreeTypeFont:
    try:
        return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)
    except OSError as error:
        raise ValueError(f"{path} cannot be read as a font: {error}") from error


@cache
def _has_glyph(path: str, char: str) -> bool:
    if unicodedata.category(char) in {"Cs", "Mn", "Me"}:  # not text, or a mark without its letter
        return False
    if char in string.whitespace:  # becomes a space or a new line before it is drawn
        return True
    drawn = _probe(path, char)
    return drawn != _probe(path, _NO_CHARACTER) and (char.isspace() or any(drawn))


@cache
def _probe(path: str, char: str) -> bytes:
    picture = PILImage.new("L", (3 * _PROBE_SIZE, 3 * _PROBE_SIZE), 0)
    at = (_PROBE_SIZE, 2 * _PROBE_SIZE)
    ImageDraw.Draw(picture).text(at, char, font=_load(path, _PROBE_SIZE), fill=255, anchor="ls")
    return picture.tobytes()


def _name(char: str) -> str:
    return f"U+{ord(char):04X} ({unicodedata.name(char, 'a control character')})"
