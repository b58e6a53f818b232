"""Whatever an item holds, an attack sends a whole prompt or raises the project's own errors."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opensafemlrm import images
from opensafemlrm.errors import AttackError, ImageError
from opensafemlrm.registry import ComponentKind, build
from opensafemlrm.types import Image, Item
from tests.attacks.subjects import FIELDS, quarters

NAMES = (
    "direct",
    "figstep",
    "figstep-pro",
    "hades",
    "jood",
    "mml",
    "sd",
    "sd-typo",
    "sd-typo+rotate",
    "si-attack",
    "typo",
    "typo+cutmix",
    "typo+mirror",
)
ATTACKS = [build(ComponentKind.ATTACK, name) for name in NAMES] + [
    build(ComponentKind.ATTACK, "mml", {"encoding": "base64"}),
    build(ComponentKind.ATTACK, "si-attack", {"base": "own"}),
    build(ComponentKind.ATTACK, "jood", {"base": "typo", "kind": "resize-mix"}),
]

SMALL = quarters(32)
GOOD = SMALL.read()


def broken(data: bytes) -> Image:
    """An image that was whole when it was loaded, and is not any more."""
    return Image("0" * 64, "image/png", 32, 32, data)


TEXT = st.one_of(
    st.sampled_from(["", " ", "moon lantern", "How is a moon lantern folded?", "{masked} %s {0}"]),
    st.text(max_size=40),
    st.text(st.characters(), max_size=20).map(lambda text: text + "\ud800"),
)
IMAGE = st.one_of(
    st.just(SMALL),
    st.binary(max_size=64).map(broken),
    st.integers(1, len(GOOD) - 1).map(lambda cut: broken(GOOD[:cut])),
)
FIELD = st.one_of(TEXT, st.none(), st.integers(), st.lists(TEXT, max_size=2))
ITEMS = st.builds(
    Item,
    dataset=st.just("fuzz"),
    id=TEXT,
    scenario=st.just("s"),
    question=TEXT,
    images=st.lists(IMAGE, max_size=2).map(tuple),
    system=st.none() | TEXT,
    fields=st.dictionaries(st.sampled_from([*FIELDS, "masked", "step"]), FIELD, max_size=6),
    released=st.dictionaries(
        st.sampled_from(["sd", "typo", "sd-typo", "figstep", "hades-5"]), IMAGE, max_size=3
    ),
)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
@given(item=ITEMS, seed=st.integers(-(2**40), 2**40))
@settings(max_examples=40, deadline=None)
def test_an_attack_sends_a_whole_prompt_or_says_why_not(attack: Any, item: Item, seed: int) -> None:
    own = {id(image) for image in (*item.images, *item.released.values())}
    try:
        prompt = attack.apply(item, seed)
    except (AttackError, ImageError):
        return
    assert prompt.turns[-1].text.strip()
    for image in prompt.images:
        if id(image) not in own:  # made here; the engine looks at the others when it keeps them
            images.verify(image)
