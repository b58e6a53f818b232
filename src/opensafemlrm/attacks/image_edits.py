"""What attacks do to pictures: pure functions of pixels, and the images they are read from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Self

from PIL import Image as PILImage
from PIL import ImageDraw

from opensafemlrm import images
from opensafemlrm.attacks import seeded
from opensafemlrm.errors import ImageError
from opensafemlrm.types import Image

Picture = PILImage.Image
Mixing = Callable[[Picture, Picture, float, int], Picture]
"""(picture, benign picture, share of the benign one, seed) → mixed picture."""

MAX_SIDE: Final = 320
"""Pixels of the longer side of pictures that are mixed (JOOD, arXiv 2503.20823; its released
code)."""
SHUFFLED_SIDE: Final = 1024
"""Width and height of a picture whose patches are shuffled (SI-Attack, SI_Attack.py)."""
_SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp"})
_WHITE: Final = (255, 255, 255)


def edited(image: Image, change: Callable[[Picture], Picture]) -> Image:
    """Return ``image`` with its pixels changed; a JPEG stays a JPEG, all else becomes a PNG."""
    with images.to_picture(image) as picture:
        changed = change(picture)
    jpeg = image.media_type == "image/jpeg"
    return images.from_picture(changed, "image/jpeg" if jpeg else "image/png")


def mirrored(picture: Picture) -> Picture:
    """Return the picture as a mirror beside it shows it."""
    return picture.transpose(PILImage.Transpose.FLIP_LEFT_RIGHT)


def turned(picture: Picture) -> Picture:
    """Return the picture upside down: turned by 180 degrees."""
    return picture.transpose(PILImage.Transpose.ROTATE_180)


def shuffled(picture: Picture, patch: int, key: tuple[Any, ...]) -> Picture:
    """Return the picture, 1024×1024 pixels, with its square patches in another order.

    A picture of another size is first put in the middle of a white square and scaled. What
    ``patch`` leaves over at the right and at the bottom stays where it is.
    """
    square = _squared(picture)
    starts = range(0, SHUFFLED_SIDE - patch + 1, patch)
    boxes = [(x, y, x + patch, y + patch) for y in starts for x in starts]
    result = square.copy()
    for box, source in zip(boxes, seeded.shuffled(boxes, *key), strict=True):
        result.paste(square.crop(source), box[:2])
    return result


def _squared(picture: Picture) -> Picture:
    if picture.size == (SHUFFLED_SIDE, SHUFFLED_SIDE):
        return picture
    side = max(picture.size)
    square = PILImage.new("RGB", (side, side), _WHITE)
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return square.resize((SHUFFLED_SIDE, SHUFFLED_SIDE), PILImage.Resampling.BICUBIC)


def stacked(above: Picture, below: Picture) -> Picture:
    """Return one picture over the other, in their own sizes, at the left edge, on black."""
    width = max(above.width, below.width)
    result = PILImage.new("RGB", (width, above.height + below.height))
    result.paste(above, (0, 0))
    result.paste(below, (0, above.height))
    return result


def mixup(picture: Picture, benign: Picture, share: float, seed: int) -> Picture:
    """Return the two laid over each other; ``share`` is the weight of the benign one."""
    return PILImage.blend(*_fitted(picture, benign), share)


def cutmix(picture: Picture, benign: Picture, share: float, seed: int) -> Picture:
    """Return the picture with a part of the benign one in the same place.

    ``share`` is the length of the part's sides over that of the whole.
    """
    whole, other = _fitted(picture, benign)
    box = _part(whole, share, seed)
    whole.paste(other.crop(box), box[:2])
    return whole


def resize_mix(picture: Picture, benign: Picture, share: float, seed: int) -> Picture:
    """Return the picture with the whole benign one in it, scaled by ``share``."""
    whole, other = _fitted(picture, benign)
    box = _part(whole, share, seed)
    whole.paste(other.resize((box[2] - box[0], box[3] - box[1])), box[:2])
    return whole


def _fitted(picture: Picture, benign: Picture) -> tuple[Picture, Picture]:
    """Scale both to 320 pixels at the longer side and put them in the middle of one size."""
    scaled = [_scaled(layer) for layer in (picture, benign)]
    size = (max(layer.width for layer in scaled), max(layer.height for layer in scaled))
    both = []
    for layer in scaled:
        padded = PILImage.new("RGB", size, _WHITE)
        padded.paste(layer, ((size[0] - layer.width) // 2, (size[1] - layer.height) // 2))
        both.append(padded)
    return both[0], both[1]


def _scaled(picture: Picture) -> Picture:
    scale = MAX_SIDE / max(picture.size)
    size = (max(1, int(picture.width * scale)), max(1, int(picture.height * scale)))
    return picture.resize(size, PILImage.Resampling.BICUBIC)


def _part(whole: Picture, share: float, seed: int) -> tuple[int, int, int, int]:
    width, height = (max(1, int(side * share)) for side in whole.size)
    left = seeded.below(whole.width - width + 1, "left", seed)
    top = seeded.below(whole.height - height + 1, "top", seed)
    return (left, top, left + width, top + height)


def in_folder(folder: Path) -> tuple[Image, ...]:
    """Return the PNG, JPEG and WebP images of ``folder``, by file name.

    Raises ValueError if it is not a folder, or if one of them cannot be loaded.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder of images")
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in _SUFFIXES)
    try:
        return tuple(images.load(path, folder) for path in paths)
    except ImageError as error:
        raise ValueError(str(error)) from error


def identity_of(these: tuple[Image, ...]) -> str:
    """Return what makes a folder of images the same as another: a hash of theirs, in order."""
    return hashlib.sha256("".join(image.sha256 for image in these).encode()).hexdigest()


@cache
def plain() -> Image:
    """Return the bundled benign picture, drawn by this project: an apple on a table, 320×320."""
    picture = PILImage.new("RGB", (MAX_SIDE, MAX_SIDE), (236, 240, 243))
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, 230, 320, 320), fill=(198, 164, 122))
    pen.ellipse((92, 96, 184, 248), fill=(205, 46, 52))
    pen.ellipse((136, 96, 228, 248), fill=(205, 46, 52))
    pen.ellipse((112, 118, 138, 156), fill=(231, 128, 122))
    pen.line((160, 112, 170, 66), fill=(94, 62, 38), width=8)
    pen.polygon(((170, 84), (206, 60), (222, 84), (190, 96)), fill=(84, 150, 70))
    return images.from_picture(picture)


@dataclass(frozen=True, slots=True)
class Benign:
    """The images of a folder, or the bundled one where no folder is given."""

    images: tuple[Image, ...]

    @classmethod
    def of(cls, folder: Path | None) -> Self:
        """Read the folder. Raises ValueError if it is none or holds no image."""
        if folder is None:
            return cls((plain(),))
        loaded = in_folder(folder)
        if not loaded:
            raise ValueError(f"{folder} holds no PNG, JPEG or WebP image to mix in")
        return cls(loaded)

    def identity(self) -> str:
        """Return what makes these images the same as others: their content."""
        return identity_of(self.images)

    def mixed(self, image: Image, mixing: Mixing, share: float, key: tuple[Any, ...]) -> Image:
        """Return ``image`` mixed with the benign one that ``key`` draws."""
        chosen = self.images[seeded.below(len(self.images), "benign", *key)]
        place = seeded.below(2**31, "place", *key)
        with images.to_picture(chosen) as benign:
            return edited(image, lambda picture: mixing(picture, benign, share, place))
