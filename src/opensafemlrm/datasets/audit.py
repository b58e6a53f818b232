"""Is a release whole and sound? Everything is read, and every picture is decoded.

And which of its questions does another one have in nearly the same words?
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from opensafemlrm import images
from opensafemlrm.components import Dataset
from opensafemlrm.datasets import taxonomy
from opensafemlrm.errors import (
    DatasetError,
    DuplicateError,
    EmptyTextError,
    ImageError,
    MissingImageError,
)
from opensafemlrm.types import Expected, Image, Item, ItemKind, content_key

UNKNOWN: Final = "(not readable)"
"""The scenario of rows that do not say theirs."""
IMAGE_MARK: Final = re.compile(r"<(?:image|img|\|image\||image_\d+|ImageHere)>", re.IGNORECASE)
"""A mark for a picture in a question: some releases write one, and no model is told of it here."""
MAX_NOTES: Final = 20
"""Errors whose text is kept; the rest are only counted."""


@dataclass(slots=True)
class Checked:
    """What was found in one scenario."""

    scenario: str
    taxonomy: str | None
    expected: int | None
    found: int = 0
    benign: int = 0
    """How many of those found are benign."""
    images: int = 0
    """Images that were decoded, those of released attacks among them."""
    missing_images: int = 0
    broken_images: int = 0
    duplicates: int = 0
    """Rows whose id another row has already."""
    empty_texts: int = 0
    other: int = 0
    """Rows that are bad for another reason."""
    repeats: int = 0
    """Items with the content of an earlier one under another id; upstream's affair, no fault."""

    @property
    def is_whole(self) -> bool:
        """Whether everything is there and nothing is bad."""
        bad = self.missing_images + self.broken_images + self.duplicates + self.empty_texts
        return not (bad + self.other) and self.expected in (None, self.found)


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found in a release. ``notes`` are the first errors, each naming file and row.

    ``left_out`` are files of it that no item is made of; ``marked`` counts questions that hold a
    mark such as ``<image>``, which a model would be sent as text.
    """

    dataset: str
    licence: str
    expected: int | None
    scenarios: tuple[Checked, ...]
    notes: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    marked: int = 0

    @property
    def verdict(self) -> str:
        """Whether the release is whole, in words."""
        if not self.is_complete:
            return "incomplete"
        return "complete" if self.expected is not None else "nothing bad; its size is not known"

    @property
    def images(self) -> int:
        """Pictures of the items that can be used."""
        return sum(one.images for one in self.scenarios)

    @property
    def found(self) -> int:
        """Items that can be used."""
        return sum(one.found for one in self.scenarios)

    @property
    def unmapped(self) -> list[str]:
        """Scenarios that the shared list has no id for."""
        return [row.scenario for row in self.scenarios if row.found and row.taxonomy is None]

    @property
    def is_complete(self) -> bool:
        """Whether the release is whole: nothing bad, nothing missing, and not empty."""
        whole = all(one.is_whole for one in self.scenarios)
        return whole and self.found > 0 and self.expected in (None, self.found)


def audit(dataset: Dataset) -> Audit:
    """Read all rows of ``dataset`` and decode every image of each.

    Raises DatasetError only where no row can be read, such as a file that is missing.
    """
    expected = dataset.expected()
    checking = _Checking(dataset.name, expected)
    for row in dataset.rows():
        checking.take(row)
    return Audit(
        dataset.label,
        dataset.card.licence,
        expected.items,
        tuple(checking.scenarios.values()),
        tuple(checking.notes),
        tuple(dataset.left_out()),
        checking.marked,
    )


class _Checking:
    def __init__(self, dataset: str, expected: Expected) -> None:
        self._dataset, self._expected = dataset, expected
        self.scenarios: dict[str, Checked] = {}
        self.notes: list[str] = []
        self.marked = 0
        self._seen: set[bytes] = set()
        self._decoded: set[str] = set()
        for name in expected.scenarios:
            self._of(name)

    def take(self, row: Item | DatasetError) -> None:
        if isinstance(row, DatasetError):
            self._fault(row, row.scenario or UNKNOWN)
            return
        one = self._of(row.scenario)
        pictures = [*row.images, *row.released.values()]
        bad = [error for picture in pictures if (error := self._decode(picture))]
        for error in bad:
            where = DatasetError(error.reason, path=row.origin)
            self._note(str(where))
        one.broken_images += len(bad)
        if bad:
            return
        one.found += 1
        self.marked += IMAGE_MARK.search(row.question) is not None
        one.benign += row.kind is ItemKind.BENIGN
        one.images += len(pictures)
        one.missing_images += max(0, self._expected.images - len(pictures))
        content = content_key(row.question, row.kind.value, [p.sha256 for p in pictures])
        one.repeats += content in self._seen
        self._seen.add(content)

    def _decode(self, picture: Image) -> ImageError | None:
        if picture.sha256 in self._decoded:
            return None
        try:
            images.verify(picture)
        except ImageError as error:
            return error
        self._decoded.add(picture.sha256)
        return None

    def _fault(self, error: DatasetError, scenario: str) -> None:
        one = self._of(scenario)
        if isinstance(error, MissingImageError):
            one.missing_images += 1
        elif isinstance(error, ImageError):
            one.broken_images += 1
        elif isinstance(error, DuplicateError):
            one.duplicates += 1
        elif isinstance(error, EmptyTextError):
            one.empty_texts += 1
        else:
            one.other += 1
        self._note(str(error))

    def _note(self, text: str) -> None:
        if len(self.notes) < MAX_NOTES:
            self.notes.append(text)

    def _of(self, scenario: str) -> Checked:
        if scenario not in self.scenarios:
            known = self._expected.scenarios
            expected = known.get(scenario, 0) if known and scenario != UNKNOWN else None
            meaning = taxonomy.of(self._dataset, scenario)
            self.scenarios[scenario] = Checked(scenario, meaning, expected)
        return self.scenarios[scenario]


ALIKE: Final = 0.7
"""Similarity from which two questions are near duplicates: one word of ten may differ."""
_LENGTH: Final = 4
_RARE: Final = 12
"""Rarest pieces of a question by which others are looked up."""
_WORDS: Final = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class NearDuplicate:
    """Two items whose questions are nearly the same, by their ids: texts may be harmful."""

    item: str
    scenario: str
    other_item: str
    other_scenario: str
    similarity: float
    """From 0 to 1, where no piece of the texts differs."""


def near_duplicates(items: Iterable[Item], others: Iterable[Item]) -> Iterator[NearDuplicate]:
    """Yield, for each of ``items``, the most similar one of ``others`` if it is near enough.

    Compared are the questions alone, as pieces of four letters (Jaccard), each weighed by how rare
    it is over both data sets: what a template puts into every question tells nothing. Source:
    Broder, "On the resemblance and containment of documents" (1997).
    """
    items, others = list(items), list(others)
    mine, theirs = ([_pieces(item.question) for item in group] for group in (items, others))
    times = Counter(piece for pieces in (*mine, *theirs) for piece in pieces)
    total = len(items) + len(others)
    weights = {piece: math.log((total + 1) / count) for piece, count in times.items()}
    by_piece: dict[str, list[int]] = defaultdict(list)
    for number, pieces in enumerate(theirs):
        for piece in pieces:
            by_piece[piece].append(number)
    for item, pieces in zip(items, mine, strict=True):
        rare = sorted(pieces, key=lambda piece: (times[piece], piece))[:_RARE]
        candidates = {number for piece in rare for number in by_piece.get(piece, ())}
        best = max(
            ((_similarity(pieces, theirs[number], weights), -number) for number in candidates),
            default=(0.0, 0),
        )
        if best[0] >= ALIKE:
            other = others[-best[1]]
            yield NearDuplicate(item.id, item.scenario, other.id, other.scenario, best[0])


def _pieces(text: str) -> frozenset[str]:
    plain = f" {' '.join(_WORDS.findall(text.casefold()))} "
    return frozenset(plain[i : i + _LENGTH] for i in range(max(len(plain) - _LENGTH + 1, 1)))


def _similarity(
    mine: frozenset[str], theirs: frozenset[str], weights: Mapping[str, float]
) -> float:
    either = sum(weights[piece] for piece in mine | theirs)
    return sum(weights[piece] for piece in mine & theirs) / either if either else 1.0
