"""Harmless pictures that attacks mix into others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opensafemlrm import images
from opensafemlrm.attacks import image_edits, seeded
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
            return cls((image_edits.plain(),))
        loaded = image_edits.in_folder(folder)
        if not loaded:
            raise ValueError(f"{folder} holds no PNG, JPEG or WebP image to mix in")
        return cls(loaded)

    def identity(self) -> str:
        """Return what makes these images the same as others: their content."""
        return image_edits.identity_of(self.images)

    def mixed(
        self, image: Image, mixing: image_edits.Mixing, share: float, key: tuple[Any, ...]
    ) -> Image:
        """Return ``image`` mixed with the benign one that ``key`` draws."""
        chosen = self.images[seeded.below(len(self.images), "benign", *key)]
        place = seeded.below(2**31, "place", *key)
        with images.to_picture(chosen) as benign:
            return image_edits.edited(image, lambda picture: mixing(picture, benign, share, place))
