"""How organisms look at pictures: in pieces, one a word, as the project's own attacks draw them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as PILImage
from PIL import ImageDraw

from opensafemlrm import images
from opensafemlrm.attacks.figstep import FigStepAttack
from opensafemlrm.attacks.mm_safetybench import Typo
from opensafemlrm.datasets.canary import Canary
from opensafemlrm.models.demo.organism_reading import MAX_TILES, TILE_HEIGHT, TILE_WIDTH, tiles
from opensafemlrm.types import Item

ITEMS = [item for item in Canary().rows() if isinstance(item, Item)][::5]


def test_a_typographic_attack_is_cut_into_its_words() -> None:
    for item in ITEMS:
        cut = tiles(images.to_picture(Typo().render(item)))
        assert len(cut) == len(item.fields["key_phrase"].split()), item.id


def test_figstep_is_cut_into_its_words_and_numbers() -> None:
    """Lines stand so close in FigStep's pictures that letters of two lines touch."""
    right = 0
    for item in ITEMS:
        cut = tiles(images.to_picture(FigStepAttack().render(item)))
        right += len(cut) == len(item.fields["instruction"].split()) + 3
    assert right >= 0.9 * len(ITEMS)


def test_the_size_of_a_picture_does_not_matter() -> None:
    picture = images.to_picture(Typo().render(ITEMS[0]))
    small = picture.resize((picture.width // 2, picture.height // 2), PILImage.Resampling.BOX)
    one, other = tiles(picture).astype(float), tiles(small).astype(float)
    assert one.shape == other.shape
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.7


@pytest.mark.parametrize(
    "picture",
    [
        PILImage.new("L", (50, 40), 255),
        PILImage.new("RGB", (1, 1), "white"),
        PILImage.new("L", (300, 200), 0),
        PILImage.effect_noise((400, 300), 90),
    ],
    ids=["white", "one pixel", "black", "noise"],
)
def test_every_picture_is_seen_as_something(picture: PILImage.Image) -> None:
    """The mistake: a picture that cannot be cut is dropped, and the text is sent alone."""
    cut = tiles(picture)
    assert 1 <= len(cut) <= MAX_TILES
    assert cut.shape[1:] == (TILE_HEIGHT, TILE_WIDTH)


def test_large_pictures_are_scaled_before_they_are_cut() -> None:
    picture = PILImage.new("L", (4000, 3000), 255)
    ImageDraw.Draw(picture).rectangle((1000, 1000, 1400, 1600), fill=0)
    assert len(tiles(picture)) == 1
