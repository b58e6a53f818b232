"""Models whose weights lie on this machine: they take turns, and know what is coming."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import pytest

from opensafemlrm import engine, images
from opensafemlrm.engine.forecast import most_images
from opensafemlrm.store import Store
from opensafemlrm.types import Item, Prompt, Response, Sampling
from tests.support import Listed, Scripted, Searches, Wrapped, items, study


@dataclass(frozen=True)
class OnADevice(Scripted):
    """A model whose weights fill a device; ``now`` holds who is loaded."""

    resident: ClassVar[bool] = True
    device: str = field(default="auto", compare=False)
    now: set[str] = field(default_factory=set, compare=False)
    together: list[frozenset[str]] = field(default_factory=list, compare=False)
    told: list[int | None] = field(default_factory=list, compare=False)

    def prepare(self, most_images: int | None) -> None:
        assert self.model not in self.now, "told when it was loaded already"
        self.told.append(most_images)

    async def generate(self, prompt: Prompt, sampling: Sampling) -> Response:
        self.now.add(self.model)
        self.together.append(frozenset(self.now))
        return await super().generate(prompt, sampling)

    async def aclose(self) -> None:
        self.now.discard(self.model)


def run_on(devices: Sequence[str], tmp_path) -> list[frozenset[str]]:
    now: set[str] = set()
    together: list[frozenset[str]] = []
    models = [
        OnADevice(model=f"m{i}", device=device, now=now, together=together, delay=0.001)
        for i, device in enumerate(devices)
    ]
    what = dataclasses.replace(study(rows=items(12)), models=tuple(models))
    with Store.open(tmp_path, "create") as store:
        asyncio.run(engine.run(engine.Plan.of(what), store))
    assert all(len(model.asked) == 12 for model in models)
    return together


@pytest.mark.parametrize(
    "devices", [("auto", "auto", "auto"), ("cuda", "cuda:0"), ("cuda:0", "auto", "cuda:1")]
)
def test_models_that_need_one_memory_are_never_loaded_together(tmp_path, devices):
    assert {len(loaded) for loaded in run_on(devices, tmp_path)} == {1}


def test_models_on_devices_of_their_own_run_side_by_side(tmp_path):
    together = run_on(("cuda:0", "cuda:1", "cuda:0"), tmp_path)
    assert frozenset({"m0", "m1"}) in together
    assert not any({"m0", "m2"} <= loaded for loaded in together)


def _pictured(count: int, name: str) -> Item:
    from PIL import Image

    picture = images.from_picture(Image.new("RGB", (8, 8), "green"))
    return Item("listed", name, "s", f"what is on {name}?", images=(picture,) * count)


@dataclass(frozen=True)
class Adds(Wrapped):
    """An attack that sends so many copies of the item's images."""

    copies: int = 1

    def apply(self, item: Item, seed: int) -> Prompt:
        return Prompt.user(*(item.images * self.copies), super().apply(item, seed).turns[0].text)


ROWS = (_pictured(1, "a"), _pictured(3, "b"), _pictured(2, "c"))


def test_a_model_that_is_started_is_told_how_many_images_a_prompt_has(tmp_path):
    """vLLM's own limit is for another number of images than the dataset's."""
    model = OnADevice()
    what = dataclasses.replace(
        study(model, attacks=(Wrapped(), Adds("twice", copies=2))), datasets=(Listed(ROWS),)
    )
    with Store.open(tmp_path, "create") as store:
        asyncio.run(engine.run(engine.Plan.of(what), store))
    assert model.told == [6]


def test_nothing_is_guessed_of_an_attack_that_searches():
    cells = engine.Plan.of(study(rows=ROWS, attacks=(Adds(), Searches()))).cells
    assert most_images(cells) is None


def test_an_item_that_the_attack_cannot_carry_counts_by_its_own_images():
    cells = engine.Plan.of(study(rows=ROWS, attacks=(Adds(refuse=("b",)),))).cells
    assert most_images(cells) == 3
