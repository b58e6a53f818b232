"""Where a release lies: a folder of the user's, or a snapshot of the Hugging Face hub.

Pictures may lie beside the table as files, or still packed in an archive of the release, such as
``test.zip``; packed ones are read from the archive and nothing is unpacked.
"""

from __future__ import annotations

import importlib
import re
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from typing import ClassVar, Final, TypeAlias

from opensafemlrm import images
from opensafemlrm.components import Dataset
from opensafemlrm.datasets.files import load_once
from opensafemlrm.errors import DatasetError, ImageError, MissingExtraError
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
    _archives: dict[Path, zipfile.ZipFile] = field(default_factory=dict, repr=False)
    """Opened once for a pass over the data set; each closes its file when it is let go."""

    def find(self, *names: str) -> Path:
        """Return the first of ``names`` that is a file here, or the first name if none is."""
        paths = [self.folder / name for name in names]
        return next((path for path in paths if path.is_file()), paths[0])

    def image(self, picture: Picture) -> Image:
        """Load a picture. Raises ImageError, MissingImageError where it is not there."""
        if isinstance(picture, bytes):
            return images.from_bytes(picture)
        packed = None if picture.exists() else self._packed(picture)
        return load_once(picture, self.fence) if packed is None else images.from_bytes(packed)

    def holds(self, path: Path) -> bool:
        """Tell whether ``path`` is here, packed or not. Raises ImageError as :meth:`image`."""
        return path.is_file() or self._packed(path) is not None

    def _packed(self, path: Path) -> bytes | None:
        """Return the bytes of ``path`` from an archive named after a folder on the way to it."""
        if not path.is_relative_to(self.folder):
            return None
        steps = path.relative_to(self.folder).parts
        for depth, step in enumerate(steps[:-1]):
            archive = self._archive(self.folder.joinpath(*steps[:depth], f"{step}.zip"))
            if archive is None:
                continue
            for first in (depth, depth + 1):
                name = str(PurePosixPath(*steps[first:]))
                if name in archive.NameToInfo:
                    return _unpack(archive, name)
        return None

    def _archive(self, path: Path) -> zipfile.ZipFile | None:
        if path not in self._archives and path.is_file():
            if not path.resolve().is_relative_to(self.fence.resolve()):
                raise ImageError(f"the archive lies outside the folder {self.fence}", path=path)
            try:
                self._archives[path] = zipfile.ZipFile(path)
            except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
                raise ImageError(f"the archive cannot be read: {error}", path=path) from error
        return self._archives.get(path)


def _unpack(archive: zipfile.ZipFile, name: str) -> bytes:
    size = archive.getinfo(name).file_size
    if size > images.MAX_BYTES:
        raise ImageError(
            f"{name} in {archive.filename} has {size:,} bytes; the limit is {images.MAX_BYTES:,}"
        )
    try:
        # The size an archive states can be a lie: no more than the limit is ever unpacked.
        with archive.open(name) as file:
            data = file.read(images.MAX_BYTES + 1)
    except (OSError, EOFError, ValueError, RuntimeError, zlib.error, zipfile.BadZipFile) as error:
        # RuntimeError: the member is encrypted, or packed in a way that zipfile does not know.
        reason = f"{name} in {archive.filename} cannot be unpacked: {error}"
        raise ImageError(reason) from error
    if len(data) > images.MAX_BYTES:
        raise ImageError(f"{name} in {archive.filename} is larger than {images.MAX_BYTES:,} bytes")
    return data


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
    where = f"https://huggingface.co/datasets/{hub}"
    if root is not None:
        if not root.is_dir():
            raise DatasetError(f"there is no such folder; get the release from {where}", path=root)
        return Source(root, root, where)
    snapshot = _snapshot(hub, revision, tuple(patterns))
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

    root: Path | None = field(default=None, compare=False)
    revision: str = ""

    def __post_init__(self) -> None:
        check_options(self.root, self.revision, self.hub)

    def locate(self, *patterns: str) -> Source:
        """Return the release; of the hub's, files that match ``patterns``. Raises as :func:`locate`
        does.
        """
        return locate(self.root, self.revision, self.hub, patterns)


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


@cache
def _snapshot(hub: str, revision: str, patterns: tuple[str, ...]) -> Path:
    """Fetch once a process: the hub is asked again by no later pass over the data set."""
    try:
        client = importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise MissingExtraError(f"reading {hub} from the hub", "hub") from error
    try:
        return Path(
            client.snapshot_download(
                hub, repo_type="dataset", revision=revision, allow_patterns=list(patterns)
            )
        )
    except _hub_errors() as error:
        raise DatasetError(
            f"the hub does not give {hub} at {revision}: {_first_line(error)}; a gated data set "
            "needs its terms accepted on the hub and a login, and with HF_HUB_OFFLINE=1 it must "
            "be in the cache already"
        ) from error


def _hub_errors() -> tuple[type[Exception], ...]:
    """Return what the hub's client raises: its own errors are OSErrors, or its HTTP library's."""
    errors: list[type[Exception]] = [OSError, ValueError]
    for name, attribute in (
        ("httpx2", "HTTPError"),
        ("httpx", "HTTPError"),
        ("requests", "RequestException"),
    ):
        try:
            errors.append(getattr(importlib.import_module(name), attribute))
        except ImportError:
            continue
    return tuple(errors)


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0].strip().rstrip(".") if lines else type(error).__name__
