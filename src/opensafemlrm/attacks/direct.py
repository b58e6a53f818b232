"""The question as it stands: the setting every attack is compared with."""

from __future__ import annotations

from dataclasses import dataclass

from opensafemlrm.components import Attack
from opensafemlrm.errors import AttackError
from opensafemlrm.types import Item, Prompt


@dataclass(frozen=True, slots=True)
class Direct(Attack):
    """Send the question, after the dataset's own images where it has any.

    The SafeMLRM study calls it the baseline: MM-SafetyBench's ``Changed Question`` as text
    (arXiv 2504.08813).
    """

    name = "direct"

    def apply(self, item: Item, seed: int) -> Prompt:
        """Return the question after its images. Raises AttackError if the question is blank."""
        if not item.question.strip():
            raise AttackError(
                f"the attack 'direct' cannot be applied to item {item.id!r} of {item.dataset!r}: "
                "its question is blank"
            )
        return Prompt.user(*item.images, item.question, system=item.system)
