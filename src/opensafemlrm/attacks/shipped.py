"""Jailbreaks that a dataset ships ready-made, such as JailBreakV-28K's."""

from __future__ import annotations

from dataclasses import dataclass

from opensafemlrm.attacks import needs
from opensafemlrm.components import Attack
from opensafemlrm.types import Item, Prompt


@dataclass(frozen=True, slots=True)
class Shipped(Attack):
    """Send the jailbreak that the dataset ships: its pictures in order, then its text.

    Needs the released picture ``shipped``; further ones are ``shipped-2`` and so on. The
    text is the field ``prompt``; where the dataset ships pictures alone, it is the question.
    Nothing is added to either.
    """

    name = "shipped"

    def check(self, item: Item) -> None:
        """Raise AttackError if the dataset of ``item`` ships no jailbreaks."""
        needs.picture(item, ("shipped",), self.name)

    def apply(self, item: Item, seed: int) -> Prompt:
        """Return pictures and text. Raises AttackError if there is no picture or no text, or if
        the item has images of its own.
        """
        needs.refuse_own_images(item, self.name)
        if not item.question.strip():
            raise needs.refusal(self.name, item, "its question is blank")
        self.check(item)
        text = item.question
        if "prompt" in item.fields:
            text = needs.field(item, "prompt", self.name)
        return Prompt.user(*needs.pictures(item, "shipped"), text, system=item.system)
