"""Where a release lies: a folder of the user's, or a snapshot of the Hugging Face hub.

Pictures may lie beside the table as files, or still packed in an archive of the release, such as
``test.zip`` or ``test.tar``; packed ones are read from the archive and nothing is unpacked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import ClassVar, Final, TypeAlias

from opensafemlrm import images
from opensafemlrm.components import Dataset
from opensafemlrm.datasets import archives
from opensafemlrm.datasets import hub as hub_client
from opensafemlrm.datasets.files import load_once, missing
from opensafemlrm.errors import DatasetError, ImageError, MissingImageError
from opensafemlrm.types import Image

Picture: TypeAlias = "Path | bytes"
"""A file in the release, or the encoded bytes that stood in a table."""

_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Source:
    """A release on this machine.

    ``folder`` is where its files are looked for. ``fence`` is what a picture must lie in once
    links are followed: the folder itself, or, in a cache of the hub, the data set's part of the
    cache, because a snapshot there is made of links; the whole cache where data sets share blobs.
    """

    folder: Path
    fence: Path
    where: str
    _archives: dict[Path, archives.Archive] = field(default_factory=dict, repr=False)
    """Opened once for a pass over the data set; each closes its file when it is let go."""

    def present(self, *names: str) -> Path | None:
        """Return the first of ``names`` that is a file here, ``None`` if none is."""
        return next((path for name in names if (path := self.folder / name).is_file()), None)

    def find(self, *names: str) -> Path:
        """Return the first of ``names`` that is a file here.

        Raises DatasetError if none is, which says where one lies if another folder was meant.
        """
        if (path := self.present(*names)) is not None:
            return path
        raise missing(self.folder, names, self.where)

    def image(self, picture: Picture) -> Image:
        """Load a picture. Raises ImageError, MissingImageError where it is not there."""
        if isinstance(picture, bytes):
            return images.from_bytes(picture)
        packed = None if picture.exists() else self._packed(picture)
        if packed is not None:
            return images.from_bytes(packed)
        try:
            return load_once(picture, self.fence)
        except MissingImageError as error:
            if picture.parent.is_dir():
                raise
            raise MissingImageError(
                "the image is missing, and so is its folder: put the pictures of the release there",
                path=error.path,
            ) from error

    def holds(self, path: Path) -> bool:
        """Tell whether ``path`` is here, packed or not. Raises ImageError as :meth:`image`."""
        return path.is_file() or self._packed(path) is not None

    def either(self, *paths: str | Path) -> Path:
        """Return the first of ``paths`` that is here, packed or not; the first if none is."""
        return next(filter(self.holds, map(Path, paths)), Path(paths[0]))

    def _packed(self, path: Path) -> bytes | None:
        """Return the bytes of ``path`` from an archive named after a folder on the way to it."""
        if not path.is_relative_to(self.folder):
            return None
        steps = path.relative_to(self.folder).parts
        for depth, step in enumerate(steps[:-1]):
            for ending in archives.ENDINGS:
                archive = self._archive(self.folder.joinpath(*steps[:depth], f"{step}{ending}"))
                if archive is None:
                    continue
                for first in (depth, depth + 1):
                    name = str(PurePosixPath(*steps[first:]))
                    if name in archive.sizes:
                        return archive.read(name)
        return None

    def _archive(self, path: Path) -> archives.Archive | None:
        if path not in self._archives and path.is_file():
            if not path.resolve().is_relative_to(self.fence.resolve()):
                raise ImageError(f"the archive lies outside the folder {self.fence}", path=path)
            self._archives[path] = archives.open_archive(path)
        return self._archives.get(path)


def check_options(root: Path | None, revision: str, hub: str) -> None:
    """Raise ValueError unless ``root`` or a full commit of the hub's repository is given."""
    if revision and not _COMMIT.fullmatch(revision):
        raise ValueError(
            "'revision' must be a whole commit of 40 hexadecimal digits: a branch or a tag such as "
            f"'main' moves, and results with it; the commits of {hub} are listed on the hub under "
            "'Files and versions'"
        )
    if root is None and not revision:
        raise ValueError(
            "give 'root', a folder that holds the release in its upstream layout, or 'revision', "
            f"the commit of the hub's data set {hub} to fetch"
        )


def locate(root: Path | None, revision: str, hub: str, patterns: Sequence[str]) -> Source:
    """Return the release in ``root``, or else the hub's snapshot of ``revision``.

    Of a snapshot, only files that match ``patterns`` are fetched. Raises DatasetError if there is
    no such folder or the hub cannot give it, MissingExtraError without ``huggingface_hub``.
    """
    where = hub_client.page(hub)
    if root is not None:
        if not root.is_dir():
            raise DatasetError(f"there is no such folder; get the release from {where}", path=root)
        return Source(root, root, where)
    snapshot = hub_client.snapshot(hub, revision, tuple(patterns))
    return Source(snapshot, _fence(snapshot), where)


def _fence(snapshot: Path) -> Path:
    if snapshot.parent.name != "snapshots":
        return snapshot
    repository = snapshot.parent.parent
    # Since huggingface_hub 1.32, what Xet stores lies in one folder for all repositories.
    return repository.parent if (repository.parent / "blobs").is_dir() else repository


@dataclass(frozen=True, slots=True)
class HubDataset(Dataset):
    """A data set that lies in the folder ``root``, or else on the hub, at the commit ``revision``.

    Raises ValueError where neither is given, or the commit is a branch or a tag.
    """

    hub: ClassVar[str]
    """The repository on the hub."""
    hub_files: ClassVar[tuple[str, ...]] = ()
    """Patterns of the files of it that are read."""

    root: Path | None = field(default=None, compare=False)
    revision: str = ""

    def __post_init__(self) -> None:
        check_options(self.root, self.revision, self.hub)

    def patterns(self) -> Sequence[str]:
        """Return the patterns of the hub's files that these options read."""
        return self.hub_files

    def locate(self) -> Source:
        """Return the release. Raises as :func:`locate` does."""
        return locate(self.root, self.revision, self.hub, self.patterns())

    def table(self, *names: str) -> tuple[Source, Path]:
        """Return the release and its table: ``root`` itself, or the first of ``names`` in it.

        Raises as :func:`locate` does.
        """
        if self.root is not None:
            return single_table(self.root, hub_client.page(self.hub), *names)
        source = self.locate()
        return source, source.find(*names)


def single_table(root: Path, where: str, *names: str) -> tuple[Source, Path]:
    """Return the table ``root``, or the first of ``names`` in the folder ``root``, and its source.

    Raises DatasetError if there is neither.
    """
    if root.is_file():
        return Source(root.parent, root.parent, where), root
    if not root.is_dir():
        raise DatasetError(f"there is no such file or folder; get it from {where}", path=root)
    source = Source(root, root, where)
    return source, source.find(*names)
