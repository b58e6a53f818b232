"""MM-SafetyBench's strongest picture: the diffusion picture above the key phrase."""

from __future__ import annotations

from dataclasses import dataclass

from opensafemlrm import images
from opensafemlrm.attacks import image_edits, needs
from opensafemlrm.attacks.typo import Typo
from opensafemlrm.components import Attack
from opensafemlrm.types import Image, Item, Prompt


@dataclass(frozen=True, slots=True)
class SDTypo(Attack):
    """Send the diffusion picture stacked above the drawn key phrase, with the rephrased question.

    Needs the field ``rephrased``, and the released picture ``sd-typo``, or ``sd`` and the field
    ``key_phrase``: the two are then stacked here, in their own sizes, both at the left edge, on
    black, as a JPEG. ``released=False`` stacks also where ``sd-typo`` is shipped. The setting
    "jailbreak method" of the SafeMLRM study (arXiv 2504.08813) is this attack.
    """

    name = "sd-typo"

    version = "1-B"
    """In 1-A the narrower picture stood in the middle, on white."""

    released: bool = True

    def check(self, item: Item) -> None:
        """Raise AttackError if the dataset of ``item`` ships no such image_edits."""
        needs.picture(item, self._names(), self.name)

    def apply(self, item: Item, seed: int) -> Prompt:
        """Return picture and question. Raises AttackError if the item lacks what is needed or has
        images of its own, or if its key phrase cannot be drawn; ImageError if the diffusion
        picture cannot be decoded.
        """
        needs.refuse_own_images(item, self.name)
        text = needs.field(item, "rephrased", self.name)
        image = needs.picture(item, self._names(), self.name)
        if not self.released or "sd-typo" not in item.released:
            image = self._stack(image, item)
        return Prompt.user(image, text, system=item.system)

    def _names(self) -> tuple[str, ...]:
        return ("sd-typo", "sd") if self.released else ("sd",)

    def _stack(self, diffusion: Image, item: Item) -> Image:
        phrase = (item.released.get("typo") if self.released else None) or Typo().render(item)
        with images.to_picture(diffusion) as above, images.to_picture(phrase) as below:
            return images.from_picture(image_edits.stacked(above, below), "image/jpeg")
