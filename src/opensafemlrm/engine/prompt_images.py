"""Images of prompts on their way into the store: each is decoded once, and stored once."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from opensafemlrm.errors import ImageError
from opensafemlrm.images import verify
from opensafemlrm.store import Store
from opensafemlrm.types import Image, Item, Prompt, Turn

_MAX_KNOWN: Final = 4096
"""Images that are known to be in the store without looking; older ones are looked up again."""


class PromptImages:
    """Puts the images of prompts into a store. Usable from any thread."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._stored: OrderedDict[str, Image] = OrderedDict()

    def put(self, prompt: Prompt, item: Item) -> Prompt:
        """Put the images of ``prompt`` into the store; return it with those.

        Raises ImageError, with the item's name, for an image that cannot be decoded.
        """
        if not prompt.images:
            return prompt
        turns = (
            Turn(
                turn.role,
                tuple(p if isinstance(p, str) else self._stored_image(p, item) for p in turn.parts),
            )
            for turn in prompt.turns
        )
        return Prompt(tuple(turns), is_complete=prompt.is_complete)

    def _stored_image(self, image: Image, item: Item) -> Image:
        stored = self._stored.get(image.sha256)
        if stored is None:
            stored = self._stored[image.sha256] = self._put_new(image, item)
            if len(self._stored) > _MAX_KNOWN:
                self._stored.popitem(last=False)
        return stored

    def _put_new(self, image: Image, item: Item) -> Image:
        # Looked at once, when it comes into the store: what is sent can be decoded.
        if not self.store.image_path(image.sha256, image.media_type).exists():
            try:
                verify(image)
            except ImageError as error:
                reason = f"{error.reason} (item {item.id})"
                raise ImageError(reason, path=error.path or item.origin) from error
        return self.store.put_image(image)
