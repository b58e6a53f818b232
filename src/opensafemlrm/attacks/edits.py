"""Steps that change the images of a prompt: attacks of their own, and what follows a ``+``.

Alone, a step changes the item's own images and sends them with the question. After another attack,
as in ``typo+mirror``, it changes the images of that attack's prompt and leaves its text as it is.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from opensafemlrm.attacks import image_edits, needs
from opensafemlrm.attacks.direct import Direct
from opensafemlrm.attacks.image_edits import Benign
from opensafemlrm.components import Attack, Search
from opensafemlrm.types import JSON, Image, Item, Prompt, Turn


@dataclass(frozen=True, slots=True)
class Edit(Attack):
    """The base of all steps: one that gives :meth:`edit` is an attack, and can follow a ``+``."""

    def apply(self, item: Item, seed: int) -> Prompt:
        """Return the item's own images, changed, and its question. Raises AttackError if it has
        no image or its question is blank; ImageError if an image cannot be decoded.
        """
        if not item.images:
            reason = f"it has no image of its own; make one first, as in 'typo+{self.name}'"
            raise needs.refusal(self.name, item, reason)
        return self.edited(Direct().apply(item, seed), item, seed)

    def edited(self, prompt: Prompt, item: Item, seed: int) -> Prompt:
        """Return ``prompt`` with every image changed, and all else as it is."""
        number = 0
        turns = []
        for turn in prompt.turns:
            parts: list[str | Image] = []
            for part in turn.parts:
                if isinstance(part, Image):
                    parts.append(self.edit(part, (item.key, seed, number)))
                    number += 1
                else:
                    parts.append(part)
            turns.append(Turn(turn.role, tuple(parts)))
        return Prompt(tuple(turns))

    @abstractmethod
    def edit(self, image: Image, key: tuple[bytes, int, int]) -> Image:
        """Return ``image``, changed; ``key`` (item, seed, place) decides what chance decides."""


@dataclass(frozen=True, slots=True)
class Mirror(Edit):
    """Mirror the image, left to right."""

    name = "mirror"

    def edit(self, image: Image, key: tuple[bytes, int, int]) -> Image:
        """Return the mirrored image."""
        return image_edits.edited(image, image_edits.mirrored)


@dataclass(frozen=True, slots=True)
class Rotate(Edit):
    """Turn the image upside down."""

    name = "rotate"

    def edit(self, image: Image, key: tuple[bytes, int, int]) -> Image:
        """Return the turned image."""
        return image_edits.edited(image, image_edits.turned)


@dataclass(frozen=True, slots=True)
class Shuffle(Edit):
    """Shuffle the image's patches: squares of ``patch`` pixels on 1024×1024 (SI_Attack.py)."""

    name = "shuffle"

    patch: Annotated[int, Field(ge=32, le=512)] = 512

    def edit(self, image: Image, key: tuple[bytes, int, int]) -> Image:
        """Return the shuffled image."""
        return image_edits.edited(
            image, partial(image_edits.shuffled, patch=self.patch, key=("patches", *key))
        )


@dataclass(frozen=True, slots=True)
class _Mix(Edit):
    """Mix the image with a benign one; ``share`` and ``benign`` are as in ``jood``."""

    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    benign: Path | None = None
    _benign: Benign = field(init=False, repr=False, compare=False)
    mixing: ClassVar[image_edits.Mixing]

    def __post_init__(self) -> None:
        object.__setattr__(self, "_benign", Benign.of(self.benign))

    def options(self) -> Mapping[str, JSON]:
        """Return the options, benign images by content."""
        return {**Attack.options(self), "benign": self._benign.identity()}

    def edit(self, image: Image, key: tuple[bytes, int, int]) -> Image:
        """Return the mixed image."""
        return self._benign.mixed(image, type(self).mixing, self.share, key)


@dataclass(frozen=True, slots=True)
class Mixup(_Mix):
    """Lay a benign image over the image."""

    name = "mixup"
    mixing: ClassVar[image_edits.Mixing] = staticmethod(image_edits.mixup)


@dataclass(frozen=True, slots=True)
class CutMix(_Mix):
    """Put a part of a benign image into the image, in the same place."""

    name = "cutmix"
    mixing: ClassVar[image_edits.Mixing] = staticmethod(image_edits.cutmix)


@dataclass(frozen=True, slots=True)
class ResizeMix(_Mix):
    """Put a whole benign image, smaller, into the image."""

    name = "resize-mix"
    mixing: ClassVar[image_edits.Mixing] = staticmethod(image_edits.resize_mix)


@dataclass(frozen=True, slots=True)
class Composed(Attack):
    """An attack, and steps that change the images of its prompt one after the other.

    Raises ValueError if the first one searches, or if another one is no such step.
    """

    name = "composed"

    parts: tuple[Attack, ...]

    def __post_init__(self) -> None:
        if isinstance(self.parts[0], Search):
            raise ValueError(  # noqa: TRY004 - a wrong option, which the registry explains
                f"{self.parts[0].name!r} searches, and a search cannot be composed"
            )
        for part in self.parts[1:]:
            if not isinstance(part, Edit):
                raise ValueError(  # noqa: TRY004 - a wrong option, which the registry explains
                    f"{part.name!r} does not change images; after '+' come mirror, rotate, "
                    "shuffle, mixup, cutmix and resize-mix"
                )

    @property
    def label(self) -> str:
        """The labels of its parts, joined by ``+``."""
        return "+".join(part.label for part in self.parts)

    def check(self, item: Item) -> None:
        """Raise AttackError if the first part stands on something that the dataset lacks."""
        self.parts[0].check(item)

    def apply(self, item: Item, seed: int) -> Prompt:
        """Return the prompt of the first part with its images changed by the others. Raises
        AttackError as the first part does, and if its prompt has no image to change.
        """
        prompt = self.parts[0].apply(item, seed)
        if not prompt.images:
            reason = f"{self.parts[0].name!r} sends no image of it that could be changed"
            raise needs.refusal(self.label, item, reason)
        for part in self.parts[1:]:
            if isinstance(part, Edit):
                prompt = part.edited(prompt, item, seed)
        return prompt
