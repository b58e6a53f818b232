"""Your own pictures: a folder of images, and a mapping that says what is asked about them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from opensafemlrm.components import Dataset
from opensafemlrm.datasets import files
from opensafemlrm.datasets.items import Draft, Maker
from opensafemlrm.datasets.mapping import Beside, FolderMapping, Value, read
from opensafemlrm.datasets.source import Source
from opensafemlrm.errors import DatasetError, EmptyTextError, ImageError, reason_of
from opensafemlrm.types import JSON, Item, ItemKind

ENDINGS: Final = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif"})
OTHERS: Final = frozenset(
    {".avif", ".bmp", ".heic", ".heif", ".ico", ".jfif", ".jp2", ".svg", ".tif", ".tiff"}
)
"""Endings of pictures that models do not take."""
PICTURES: Final = ENDINGS | OTHERS
MAPPING: Final = "mapping.yaml"

_MAX_TEXT: Final = 256 * 1024
_WHERE: Final = "where you keep it"


@dataclass(frozen=True, slots=True)
class OwnImages(Dataset):
    """Read the images in ``root`` and its folders; ``mapping`` may be ``root/mapping.yaml``.

    A picture in a format that models do not take is an error, and is not left out. An item's id is
    its path in the folder. What is asked is the mapping's text, or the text in a file beside each
    picture. Raises DatasetError if the mapping is wrong.
    """

    name = "images"

    root: Path = field(compare=False)
    mapping: Path | None = field(default=None, compare=False)
    _mapping: FolderMapping = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.root.is_dir():
            raise DatasetError("there is no such folder", path=self.root)
        found = read(self.mapping or self.root / MAPPING, FolderMapping)
        object.__setattr__(self, "_mapping", found)

    @property
    def label(self) -> str:
        """What tables call it: ``images/NAME`` by the mapping's name."""
        return f"{self.name}/{self._mapping.name}"

    def identity(self) -> Mapping[str, JSON]:
        """Return what makes its results comparable: the mapping; items are keyed by content."""
        mapping = self._mapping.model_dump(mode="json", exclude={"paper", "licence"})
        return {"name": self.name, "version": self.version, "mapping": mapping}

    def rows(self) -> Iterator[Item | DatasetError]:
        """Yield items in the order of their paths, and for each bad picture its error."""
        maker = Maker(self.label, Source(self.root, self.root, _WHERE), self.root)
        named = ((str(path.relative_to(self.root)), path) for path in pictures(self.root))
        yield from maker.items(named, self._drafts)

    def left_out(self) -> Iterator[str]:
        """Yield the files that are neither pictures nor texts beside them, nor the mapping."""
        asked = self._mapping.question
        beside = asked.beside if isinstance(asked, Beside) else None
        shown = {path.with_suffix("") for path in pictures(self.root)}
        for folder, folders, names in os.walk(self.root):
            folders.sort()
            for name in sorted(names):
                path = Path(folder, name)
                text = path.suffix == beside and path.with_suffix("") in shown
                if path.suffix.lower() not in PICTURES and not text and name != MAPPING:
                    yield path.relative_to(self.root).as_posix()

    def _drafts(self, path: Path) -> Iterator[Draft]:
        if path.suffix.lower() in OTHERS:
            raise ImageError(f"models take no {path.suffix} pictures: convert it to PNG or JPEG")
        inside = path.relative_to(self.root)
        scenario = self._mapping.scenario
        folder = inside.parent.as_posix() if len(inside.parts) > 1 else self._mapping.name
        yield Draft(
            id=inside.as_posix(),
            scenario=scenario.value if isinstance(scenario, Value) else folder,
            question=self._question(path),
            kind=ItemKind(self._mapping.kind),
            images=(path,),
        )

    def _question(self, path: Path) -> str:
        asked = self._mapping.question
        return _text_beside(path, asked, self.root) if isinstance(asked, Beside) else asked.value


def pictures(root: Path) -> Iterator[Path]:
    """Yield the files in ``root`` and its folders that are named like images, sorted by path.

    Links to folders are not followed; a link to a file is yielded, and refused by who loads it.
    """
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            if Path(name).suffix.lower() in PICTURES:
                yield Path(folder, name)


def _text_beside(path: Path, asked: Beside, root: Path) -> str:
    beside = path.with_suffix(asked.beside)
    try:
        if not beside.resolve().is_relative_to(root.resolve()):
            raise DatasetError(f"the text file {beside.name} lies outside the folder")
        with beside.open("rb") as file:
            data = file.read(_MAX_TEXT + 1)
    except OSError as error:
        raise EmptyTextError(
            f"the text file {beside.name} cannot be read: {reason_of(error)}"
        ) from error
    if len(data) > _MAX_TEXT:
        raise DatasetError(f"the text file {beside.name} has more than {_MAX_TEXT:,} bytes")
    text = data.decode("utf-8-sig", errors="surrogateescape")
    if files.is_broken(text):
        raise DatasetError(f"the text file {beside.name} is not UTF-8 text")
    return text.strip()
