"""The prompts that other attacks start from: an option ``base`` names one of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from opensafemlrm.attacks import needs
from opensafemlrm.attacks.direct import Direct
from opensafemlrm.attacks.figstep import FigStepAttack
from opensafemlrm.attacks.mm_safetybench import SD, SDTypo, Typo
from opensafemlrm.components import Attack
from opensafemlrm.errors import AttackError
from opensafemlrm.types import JSON, Item, Prompt

Base: TypeAlias = Literal["own", "sd", "sd-typo", "typo", "figstep"]
"""``own``: the item's own images and question. Otherwise what the attack of that name sends."""

_RELEASED: Final[dict[str, SD | SDTypo]] = {"sd": SD(), "sd-typo": SDTypo()}
"""Those that stand on pictures of the release."""
_ATTACKS: Final[dict[str, Attack]] = {
    **_RELEASED,
    "own": Direct(),
    "typo": Typo(),
    "figstep": FigStepAttack(),
}


def check(base: Base, item: Item) -> None:
    """Raise AttackError if the base stands on pictures that the dataset of ``item`` lacks."""
    if base in _RELEASED:
        _RELEASED[base].check(item)


def identity(base: Base) -> Mapping[str, JSON]:
    """Return what of the base makes results comparable: its version, unless that is the first."""
    version = _ATTACKS[base].version
    return {} if version == Attack.version else {"base_version": version}


def prompt(base: Base, item: Item, seed: int, attack: str) -> Prompt:
    """Return the prompt that ``attack`` starts from: at least one image, and a text.

    Raises AttackError as the base does, and for ``own`` where the item has no image.
    """
    if base == "own" and not item.images:
        raise needs.refusal(
            attack,
            item,
            "it has no image of its own; choose with the option 'base' which picture to make: "
            "sd, sd-typo, typo or figstep",
        )
    try:
        return _ATTACKS[base].apply(item, seed)
    except AttackError as error:
        raise AttackError(f"the attack {attack!r} with base {base!r}: {error}") from error
