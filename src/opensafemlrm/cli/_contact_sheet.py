"""A contact sheet: what an attack sends for a few items, drawn as one picture."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Final

from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from opensafemlrm import images
from opensafemlrm.text import for_terminal
from opensafemlrm.types import Image, Item, Prompt

_WIDTH: Final = 1200
_MARGIN: Final = 24
_THUMBNAIL: Final = (360, 300)
_LINE: Final = 20
_WRAP: Final = 136
_MAX_LINES: Final = 24
_FONT: Final = str(files("opensafemlrm.attacks").joinpath("fonts/LiberationSans-Regular.ttf"))
_INK, _FAINT, _RULE, _PAPER = (24, 24, 27), (110, 110, 118), (205, 205, 210), (246, 246, 244)


def sheet(title: str, sent: Sequence[tuple[Item, Prompt]]) -> bytes:
    """Return a PNG with a block for each item: its id, the images with their sizes, the texts.

    Text is shown with invisible characters written out; of a text longer than 24 lines the rest is
    left out, and said so.
    """
    blocks = [_heading(title), *(_block(item, prompt) for item, prompt in sent)]
    height = sum(block.height for block in blocks) + 2 * _MARGIN
    picture = PILImage.new("RGB", (_WIDTH, height), _PAPER)
    top = _MARGIN
    for block in blocks:
        picture.paste(block, (0, top))
        top += block.height
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _heading(title: str) -> PILImage.Image:
    block = PILImage.new("RGB", (_WIDTH, 44), _PAPER)
    ImageDraw.Draw(block).text((_MARGIN, 0), for_terminal(title), font=_face(24), fill=_INK)
    return block


def _block(item: Item, prompt: Prompt) -> PILImage.Image:
    lines = [
        (line, _FAINT if turn.role == "system" else _INK)
        for turn in prompt.turns
        for text in turn.parts
        if isinstance(text, str)
        for line in _lines(turn.role, text)
    ]
    shown = [_thumbnail(image) for image in prompt.images]
    columns = (_WIDTH - _MARGIN) // (_THUMBNAIL[0] + _MARGIN)
    rows = [shown[at : at + columns] for at in range(0, len(shown), columns)]
    high = sum(max(one.height for one in row) + _MARGIN for row in rows)
    block = PILImage.new("RGB", (_WIDTH, 48 + high + _LINE * len(lines) + _MARGIN), _PAPER)
    pen = ImageDraw.Draw(block)
    pen.line((_MARGIN, 4, _WIDTH - _MARGIN, 4), fill=_RULE)
    name = for_terminal(f"{item.dataset}: {item.id} ({item.scenario}, {item.kind.value})")
    pen.text((_MARGIN, 14), name, font=_face(16), fill=_FAINT)
    top = 48
    for row in rows:
        for place, thumbnail in enumerate(row):
            block.paste(thumbnail, (_MARGIN + place * (_THUMBNAIL[0] + _MARGIN), top))
        top += max(one.height for one in row) + _MARGIN
    for line, colour in lines:
        pen.text((_MARGIN, top), line, font=_face(16), fill=colour)
        top += _LINE
    return block


def _thumbnail(image: Image) -> PILImage.Image:
    """Return the image, made smaller where it has to be, in a frame over its size in pixels."""
    with images.to_picture(image) as picture:
        picture.thumbnail(_THUMBNAIL)
        framed = PILImage.new("RGB", (_THUMBNAIL[0], picture.height + 26), _PAPER)
        framed.paste(picture, (0, 0))
        pen = ImageDraw.Draw(framed)
        pen.rectangle((0, 0, picture.width - 1, picture.height - 1), outline=_RULE)
    kind = image.media_type.removeprefix("image/").upper()
    caption = f"{image.width}×{image.height} {kind}, {len(images.read(image)) / 1024:,.0f} KiB"
    pen.text((0, picture.height + 5), caption, font=_face(14), fill=_FAINT)
    return framed


def _lines(role: str, text: str) -> Iterator[str]:
    lines = [
        line
        for paragraph in f"{role}: {text}".splitlines()
        for line in textwrap.wrap(for_terminal(paragraph), _WRAP) or [""]
    ]
    yield from lines[:_MAX_LINES]
    if len(lines) > _MAX_LINES:
        yield f"… {len(lines) - _MAX_LINES} lines more"


def _face(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(_FONT, size, layout_engine=ImageFont.Layout.BASIC)
