"""HADES: the harm in the picture alone, made stronger over five steps of optimisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from opensafemlrm.attacks import released, typography
from opensafemlrm.components import Attack
from opensafemlrm.types import Card, Image, Item, Prompt


@dataclass(frozen=True, slots=True)
class HADES(Attack):
    """Send HADES' released picture of one step with the item's instruction.

    ``step`` is 0 (before optimisation) to 5 (the last), and needs the released picture ``hades-N``
    of that step: no step stands in for another. Give the dataset ``hades`` the same ``step``.
    """

    name = "hades"
    card = Card(
        title="HADES, released pictures",
        paper="Images are Achilles' Heel of Alignment: Exploiting Visual Vulnerabilities for "
        "Jailbreaking Multimodal Large Language Models, arXiv 2403.09792",
        licence="MIT",
        source="https://huggingface.co/datasets/Monosail/HADES",
        notes="The typographic part and the diffusion part are in the released picture already. "
        "The white-box step of the paper, which perturbs it for one model, is not included.",
    )

    step: Annotated[int, Field(ge=0, le=5)] = 5

    def check(self, item: Item) -> None:
        """Raise AttackError if the dataset of ``item`` ships no such pictures."""
        self._picture(item)

    def apply(self, item: Item, seed: int) -> Prompt:
        """Return picture and instruction. Raises AttackError if the item has no picture of the
        step or images of its own, or if its question is blank.
        """
        typography.refuse_own_images(item, self.name)
        if not item.question.strip():
            raise typography.refusal(self.name, item, "its question is blank")
        return Prompt.user(self._picture(item), item.question, system=item.system)

    def _picture(self, item: Item) -> Image:
        return released.picture(item, (f"hades-{self.step}",), self.name)
