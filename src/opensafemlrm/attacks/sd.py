"""MM-SafetyBench's diffusion picture: what the question is about, painted by a model."""

from __future__ import annotations

from dataclasses import dataclass

from opensafemlrm.attacks import needs
from opensafemlrm.components import Attack
from opensafemlrm.types import Item, Prompt


@dataclass(frozen=True, slots=True)
class SD(Attack):
    """Send the released diffusion picture with the question that speaks of it.

    Needs the released picture ``sd`` and the field ``rephrased_sd``. This project makes no such
    pictures: where the dataset ships none, nothing is sent.
    """

    name = "sd"

    def check(self, item: Item) -> None:
        """Raise AttackError if the dataset of ``item`` ships no such pictures."""
        needs.picture(item, ("sd",), self.name)

    def apply(self, item: Item, seed: int) -> Prompt:
        """Return picture and question. Raises AttackError if the item lacks either, or has images
        of its own.
        """
        needs.refuse_own_images(item, self.name)
        image = needs.picture(item, ("sd",), self.name)
        text = needs.field(item, "rephrased_sd", self.name)
        return Prompt.user(image, text, system=item.system)
