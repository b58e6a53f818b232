"""What a person should do about a file that is not where it should be, or not what it should be."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from opensafemlrm import images
from opensafemlrm.errors import DatasetError

_NEAR: Final = 2
"""Levels above and below a folder in which a missing file is looked for."""
_PAGES: Final = (b"<!doctype html", b"<html")
_PARQUET: Final = b"PAR1"
"""How such a file begins and ends."""
_PACKED: Final = {
    b"\x1f\x8b": "this file is packed with gzip: unpack it (gunzip), and name what comes out",
    b"PK\x03\x04": "this file is a ZIP archive or an Excel workbook: unpack it, or export the "
    "sheet as CSV",
    _PARQUET: "this file is a Parquet file under another name",
}


def missing(folder: Path, patterns: Sequence[str], where: str) -> DatasetError:
    """Return the error of a folder that holds no file of ``patterns``, and what to do about it."""
    reason = f"this file of the release is missing; get it from {where}"
    if (packed := next(_files(folder, (f"{name}.gz" for name in patterns)), None)) is not None:
        reason = f"the file is here, but packed: unpack it with: gunzip {packed.name}"
    elif (meant := _folder_that_holds(folder, patterns)) is not None:
        reason = f"this file is not here, but {meant} holds it: give that folder as 'root'"
    return DatasetError(reason, path=folder / patterns[0])


def check_kind(path: Path) -> None:
    """Raise DatasetError where a file is there, and its first bytes say that it is another thing.

    A file that ends in ``.parquet`` should be one, and any other text.
    """
    parquet = path.suffix.lower() == ".parquet"
    with path.open("rb") as file:
        first = file.read(32)
        file.seek(max(0, path.stat().st_size - len(_PARQUET)))
        last = file.read()
    if not first:
        raise DatasetError("this file is empty: it was not downloaded whole", path=path)
    if first.startswith(images.LFS_POINTER):
        raise DatasetError(images.IS_A_POINTER, path=path)
    if first.lstrip().lower().startswith(_PAGES):
        raise DatasetError(
            "this is a web page, not the file that it is named after: download the file itself, "
            "logged in where its terms have to be accepted",
            path=path,
        )
    for begin, reason in _PACKED.items():
        if first.startswith(begin) and not (parquet and begin == _PARQUET):
            raise DatasetError(reason, path=path)
    if parquet and first.startswith(_PARQUET) and last != _PARQUET:
        raise DatasetError("this file has no end: it was not downloaded whole", path=path)
    if not parquet and first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        command = f"iconv -f UTF-16 -t UTF-8 {path.name} > utf8-{path.name}"
        raise DatasetError(
            f"this file is UTF-16; save it as UTF-8, for example with: {command}", path=path
        )


def _folder_that_holds(folder: Path, patterns: Sequence[str]) -> Path | None:
    """Return a folder up to two levels above or below ``folder`` that holds one of the files."""
    plain = [pattern for pattern in patterns if "**" not in pattern]
    for above in folder.resolve().parents[:_NEAR]:
        if next(_files(above, plain), None) is not None:
            return above
    for depth in range(1, _NEAR + 1):
        for pattern in plain:
            below = "/".join(["*"] * depth + [pattern])
            if (path := next(_files(folder, [below]), None)) is not None:
                return path.parents[len(Path(pattern).parts) - 1]
    return None


def _files(folder: Path, patterns: Iterable[str]) -> Iterator[Path]:
    return (path for name in patterns for path in sorted(folder.glob(name)) if path.is_file())
