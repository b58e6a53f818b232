"""Archives of a release, read where they lie: nothing is unpacked."""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from opensafemlrm import images
from opensafemlrm.errors import ImageError

ENDINGS: Final = (".zip", ".tar")
"""A compressed tar file is none of them: each member of it would be searched from its start."""

_ERRORS: Final = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,  # a member that is encrypted, or packed in a way that zipfile does not know
    NotImplementedError,
    zlib.error,
    zipfile.BadZipFile,
    tarfile.TarError,
)


@dataclass(frozen=True, slots=True)
class Archive:
    """The files in an archive: the size that it states of each, by name."""

    path: Path
    sizes: Mapping[str, int]
    _read: Callable[[str, int], bytes]

    def read(self, name: str) -> bytes:
        """Return a member's bytes. Raises ImageError if it is too large, or cannot be unpacked."""
        size = self.sizes[name]
        if size > images.MAX_BYTES:
            raise ImageError(
                f"{name} in {self.path} has {size:,} bytes; the limit is {images.MAX_BYTES:,}"
            )
        try:
            # The size an archive states can be a lie: no more than the limit is ever unpacked.
            data = self._read(name, images.MAX_BYTES + 1)
        except _ERRORS as error:
            raise ImageError(f"{name} in {self.path} cannot be unpacked: {error}") from error
        if len(data) > images.MAX_BYTES:
            raise ImageError(f"{name} in {self.path} is larger than {images.MAX_BYTES:,} bytes")
        return data


def open_archive(path: Path) -> Archive:
    """Read the list of an archive's files. Raises ImageError if it cannot be read."""
    try:
        return _zip(path) if path.suffix == ".zip" else _tar(path)
    except _ERRORS as error:
        raise ImageError(f"the archive cannot be read: {error}", path=path) from error


def _zip(path: Path) -> Archive:
    archive = zipfile.ZipFile(path)  # it closes its file when it is let go

    def read(name: str, limit: int) -> bytes:
        with archive.open(name) as file:
            return file.read(limit)

    return Archive(path, {m.filename: m.file_size for m in archive.infolist()}, read)


def _tar(path: Path) -> Archive:
    with tarfile.open(path, "r:") as archive:
        members = [m for m in archive.getmembers() if m.isreg() and not m.issparse()]
    places = {str(PurePosixPath(m.name)): (m.offset_data, m.size) for m in members}

    def read(name: str, limit: int) -> bytes:
        start, size = places[name]
        with path.open("rb") as file:
            file.seek(start)
            return file.read(min(size, limit))

    return Archive(path, {name: size for name, (_, size) in places.items()}, read)
