"""What a model that is started for a study should know of it before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from opensafemlrm.engine.plan import CellPlan
from opensafemlrm.errors import AttackError, DatasetError, ImageError
from opensafemlrm.subset import Subset
from opensafemlrm.types import Attack, Item


def most_images(cells: Sequence[CellPlan]) -> int | None:
    """Return how many images a prompt of ``cells`` has at most, ``None`` if that cannot be told.

    Of each dataset the attacks are tried on two items, the first one and the one with the most
    images of its own: how many images an attack adds does not depend on the words. Nothing can be
    told of an attack that searches.
    """
    most = 0
    tried: dict[int, list[Item]] = {}
    for cell in cells:
        if cell.transform is None:
            return None
        some = tried.get(id(cell.subset))
        if some is None:
            some = tried[id(cell.subset)] = _telling(cell.subset)
        most = max([most, *_counts(cell.transform, some)])
    return most


def _telling(subset: Subset) -> list[Item]:
    first = most = None
    for item in subset.items():
        first = first or item
        if most is None or len(item.images) > len(most.images):
            most = item
    return [item for item in (first, most) if item is not None]


def _counts(attack: Attack, items: Iterable[Item]) -> Iterable[int]:
    for item in items:
        try:
            yield len(attack.apply(item, 0).images)
        except (AttackError, ImageError, DatasetError):
            # Perhaps of this item alone, which the run will say; the others have as many as it has.
            yield len(item.images)
