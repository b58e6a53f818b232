"""How many images a prompt has at most: a server that is started for a study needs it first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from opensafemlrm.components import Attack, Search
from opensafemlrm.engine.plan import CellPlan
from opensafemlrm.errors import AttackError, DatasetError, ImageError
from opensafemlrm.subset import Subset
from opensafemlrm.types import Item


def max_images(cells: Sequence[CellPlan]) -> int | None:
    """Return how many images a prompt of ``cells`` has at most, ``None`` if that cannot be told.

    The attacks are tried on two items of each dataset, the first one and the one with the most
    images: how many images an attack adds does not depend on the words. What a search sends is not
    known beforehand.
    """
    counts = [0]
    samples: dict[int, list[Item]] = {}
    for cell in cells:
        if isinstance(cell.attack, Search):
            return None
        if id(cell.subset) not in samples:
            samples[id(cell.subset)] = _two_items(cell.subset)
        counts += _image_counts(cell.attack, samples[id(cell.subset)])
    return max(counts)


def _two_items(subset: Subset) -> list[Item]:
    first = fullest = None
    for item in subset.items():
        first = first or item
        if fullest is None or len(item.images) > len(fullest.images):
            fullest = item
    return [item for item in (first, fullest) if item is not None]


def _image_counts(attack: Attack, items: Iterable[Item]) -> Iterable[int]:
    for item in items:
        try:
            yield len(attack.apply(item, 0).images)
        except (AttackError, ImageError, DatasetError):
            # Perhaps of this item alone, which the run will say; the others have as many as it has.
            yield len(item.images)
