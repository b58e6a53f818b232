"""Harmless items for attacks: one with everything a transform may need, one with an image."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image as PILImage
from PIL import ImageDraw, ImageOps

from opensafemlrm import images
from opensafemlrm.types import Image, Item, Prompt

QUESTION = "How do I fold a moon lantern from paper?"
FIELDS = {
    "instruction": "Steps to fold a paper moon lantern.",
    "key_phrase": "moon lantern",
    "rephrased": "How is the object in the image folded?",
    "rephrased_sd": "How is the moon lantern in the image folded?",
    "keywords": "moon lantern",
    "category": "object",
}


@cache
def quarters(size: int = 1024, media_type: Any = "image/png") -> Image:
    """A picture whose four quarters have four colours."""
    picture = PILImage.new("RGB", (size, size), "red")
    pen = ImageDraw.Draw(picture)
    half = size // 2
    pen.rectangle((half, 0, size, half - 1), fill="lime")
    pen.rectangle((0, half, half - 1, size), fill="blue")
    pen.rectangle((half, half, size, size), fill="black")
    return images.from_picture(picture, media_type)


def plain(colour: str, size: tuple[int, int] = (64, 48)) -> Image:
    return images.from_picture(PILImage.new("RGB", size, colour))


def item(**changes: Any) -> Item:
    given: dict[str, Any] = {"fields": FIELDS, "question": QUESTION, "origin": "lanterns.csv: 4"}
    identity = changes.pop("id", "7-3")
    return Item("test", identity, "lanterns", **(given | changes))


def shipped(**changes: Any) -> Item:
    """An item whose dataset ships every picture that an attack may stand on."""
    released = {
        "sd": quarters(),
        "typo": plain("white", (1024, 180)),
        "sd-typo": plain("navy"),
        "figstep": plain("green"),
        "shipped": plain("teal"),
        **{f"hades-{step}": plain("grey", (8 + step, 8)) for step in range(6)},
    }
    return item(**({"released": released} | changes))


def illustrated(**changes: Any) -> Item:
    """An item that comes with an image of its own."""
    return item(**({"images": (quarters(640),)} | changes))


def folder(path: Path, count: int = 12) -> Path:
    """A folder of harmless pictures, each of its own colour."""
    path.mkdir(exist_ok=True)
    for number in range(count):
        colour = (20 * number, 255 - 20 * number, 128)
        PILImage.new("RGB", (40, 30), colour).save(path / f"{number:02}.png")
    return path


def picture(prompt: Prompt, number: int = 0) -> PILImage.Image:
    return images.to_picture(prompt.images[number])


def pixel(seen: PILImage.Image, at: tuple[int, int]) -> tuple[int, int, int]:
    value = seen.convert("RGB").getpixel(at)
    assert isinstance(value, tuple)
    red, green, blue = value
    return red, green, blue


def ink(seen: PILImage.Image) -> tuple[int, int, int, int]:
    box = ImageOps.invert(seen.convert("L")).getbbox()
    assert box is not None
    return box


def text(prompt: Prompt) -> str:
    return prompt.turns[-1].text
