"""Images on their way between machines: by content, and once a machine."""

from __future__ import annotations

import dataclasses
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from opensafemlrm.engine.missing import MissingWork
from opensafemlrm.store import Store, records
from opensafemlrm.types import Image, Item


def packed(
    wanted: MissingWork, stored: Callable[[Mapping[str, Any]], Image]
) -> tuple[MissingWork, Pictured]:
    """Return ``wanted`` without the bytes of images, and the images that it stands on.

    ``stored`` turns an image's record in a stored prompt into the image.
    """
    images: dict[str, Image] = {}
    for item in _items(wanted):
        for image in (*item.images, *item.released.values()):
            images[image.sha256] = image
    for _, _, content in wanted.to_generate:
        if content is not None:
            prompt = records.prompt_from_json(content, stored)
            images.update((image.sha256, image) for image in prompt.images)
    if not images:
        return wanted, images
    return _with_images(wanted, lambda image: dataclasses.replace(image, source=b"")), images


Pictured = dict[str, Image]
"""Images by their hash."""


class ImageCache:
    """The images that workers of one machine were given, in a folder that they share."""

    def __init__(self, folder: Path, store: Store) -> None:
        self._folder, self._store = folder, store
        folder.mkdir(parents=True, exist_ok=True)

    def has(self, sha256: str) -> bool:
        """Whether an image is here."""
        return (self._folder / sha256).is_file()

    def put(self, sha256: str, data: bytes) -> None:
        """Keep an image; it is there whole or not at all."""
        part = self._folder / f".{uuid.uuid4().hex}.part"
        part.write_bytes(data)
        part.replace(self._folder / sha256)

    def arrived(self, wanted: MissingWork) -> MissingWork:
        """Return ``wanted`` with the images that are here; those of stored prompts are put away."""
        for _, _, content in wanted.to_generate:
            if content is not None:
                prompt = records.prompt_from_json(content, self._image)
                for image in prompt.images:
                    self._store.put_image(image)
        return _with_images(wanted, self._here)

    def _image(self, record: Mapping[str, Any]) -> Image:
        return Image(**record, source=self._folder / os.fspath(record["sha256"]))

    def _here(self, image: Image) -> Image:
        return dataclasses.replace(image, source=self._folder / image.sha256)


def _items(wanted: MissingWork) -> Iterator[Item]:
    for item, _, _ in (*wanted.to_generate, *wanted.to_judge):
        yield item


def _with_images(wanted: MissingWork, change: Callable[[Image], Image]) -> MissingWork:
    def changed(item: Item) -> Item:
        if not item.images and not item.released:
            return item
        return dataclasses.replace(
            item,
            images=tuple(change(image) for image in item.images),
            released={name: change(image) for name, image in item.released.items()},
        )

    return MissingWork(
        [(changed(item), slot, content) for item, slot, content in wanted.to_generate],
        [(changed(item), slot, reply) for item, slot, reply in wanted.to_judge],
    )
