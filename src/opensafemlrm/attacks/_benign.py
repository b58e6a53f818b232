"""Harmless pictures that attacks mix into others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opensafemlrm import images
from opensafemlrm.attacks import _draws
from opensafemlrm.attacks import _pictures as pictures
from opensafemlrm.types import Image

if TYPE_CHECKING:
    from typing import Self


@dataclass(frozen=True, slots=True)
class Benign:
    """The images of a folder, or the bundled one where no folder is given."""

    images: tuple[Image, ...]

    @classmethod
    def of(cls, folder: Path | None) -> Self:
        """Read the folder. Raises ValueError if it is none or holds no image."""
        if folder is None:
            return cls((pictures.plain(),))
        found = pictures.in_folder(folder)
        if not found:
            raise ValueError(f"{folder} holds no PNG, JPEG or WebP image to mix in")
        return cls(found)

    def identity(self) -> str:
        """Return what makes these images the same as others: their content."""
        return pictures.identity_of(self.images)

    def mixed(
        self, image: Image, mixing: pictures.Mixing, share: float, key: tuple[Any, ...]
    ) -> Image:
        """Return ``image`` mixed with the benign one that ``key`` draws."""
        chosen = self.images[_draws.below(len(self.images), "benign", *key)]
        place = _draws.below(2**31, "place", *key)
        with images.to_picture(chosen) as benign:
            return pictures.edited(image, lambda picture: mixing(picture, benign, share, place))
