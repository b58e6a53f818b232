"""FigStep's own pictures beside those this project draws: geometry alone is compared."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image as PILImage

from opensafemlrm import images
from opensafemlrm.attacks.figstep import FigStepAttack
from opensafemlrm.datasets.figstep import FigStep
from opensafemlrm.types import Item

ROOT = Path(__file__).parents[2] / "../shared/data/figstep/data"
PITCH = 75


def _ink(picture: PILImage.Image) -> PILImage.Image:
    return picture.convert("L").point(lambda level: 255 if level < 128 else 0)


def _lines(ink: PILImage.Image) -> list[bool]:
    slots = range(10, 760, PITCH)
    return [ink.crop((0, top, 760, min(top + PITCH, 760))).getbbox() is not None for top in slots]


@pytest.mark.skipif(not ROOT.is_dir(), reason="the released pictures are not beside the repository")
def test_drawn_pictures_wrap_and_lie_as_the_released_ones_do() -> None:
    attack = FigStepAttack(released=False)
    compared = 0
    for row in FigStep(ROOT, subset="tiny").rows():
        assert isinstance(row, Item)
        theirs = images.to_picture(row.released["figstep"])
        ours = images.to_picture(attack.apply(row, 0).images[0])
        assert ours.size == theirs.size, row.id
        assert _lines(_ink(ours)) == _lines(_ink(theirs)), row.id
        boxes = [_ink(picture).getbbox() or (0, 0, 0, 0) for picture in (ours, theirs)]
        for edge, (mine, original) in zip("ltrb", zip(*boxes, strict=True), strict=True):
            allowed = {"l": 6, "t": 10, "r": 6, "b": 1}[edge]
            assert abs(mine - original) <= allowed, (row.id, edge)
        compared += 1
    assert compared == 50
