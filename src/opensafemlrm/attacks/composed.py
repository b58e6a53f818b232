"""Several attacks as one: ``typo+mirror`` sends what ``typo`` sends, with its images mirrored."""

from __future__ import annotations

from dataclasses import dataclass

from opensafemlrm.attacks import needs
from opensafemlrm.attacks.edits import Edit
from opensafemlrm.components import Attack, Search
from opensafemlrm.types import Item, Prompt


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
