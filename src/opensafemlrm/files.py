"""Files: written so that they are there whole or not at all, and read without a surprise."""

from __future__ import annotations

import errno
import os
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

PARTIAL: Final = ".part-"
"""How the names of files begin that are still being written."""
PARTIAL_NAME: Final = re.compile(rf"{re.escape(PARTIAL)}[0-9a-f]+(-journal|-wal|-shm)?")
"""The names of such files, and of those that SQLite puts beside a database."""


def make_folder(path: Path) -> None:
    """Make a folder, and those it lies in, for its owner alone to read, if there is none.

    Raises OSError.
    """
    for folder in (*reversed(path.parents), path):
        if folder.is_dir():
            continue
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except FileExistsError:
            if folder == path:
                raise
            reason = os.strerror(errno.ENOTDIR)
            raise NotADirectoryError(errno.ENOTDIR, reason, str(path)) from None


def make_folder_in(folder: Path, place: Path | str) -> None:
    """Make a folder, and one in it, as :func:`make_folder` does; none of those in it is a link.

    What a link leads to is another's. Raises OSError.
    """
    make_folder(folder)
    path = folder
    for step in Path(place).parts:
        path /= step
        if path.is_symlink():
            reason = "this is a link, and what it leads to is another's"
            raise OSError(errno.ELOOP, reason, str(path))
        make_folder(path)


def read_as(path: Path, parse: Callable[[str], Any], *, max_bytes: int = 2**26) -> Any:
    """Return what ``parse`` makes of a file's text, such as its JSON or TOML.

    Raises OSError, and ValueError for what cannot be parsed, is nested too deeply, or too long.
    """
    with path.open("rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ValueError(f"it has more than {max_bytes:,} bytes")
    try:
        return parse(data.decode())
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def write_atomic(path: Path, data: bytes | str, *, private: bool = True) -> None:
    """Write bytes, or text as UTF-8, as :func:`replacing` does. Raises OSError."""
    with replacing(path, private=private) as draft:
        draft.write_bytes(data.encode() if isinstance(data, str) else data)


@contextmanager
def replacing(path: Path, *, private: bool = True) -> Iterator[Path]:
    """Yield an empty file beside ``path``, which takes its place when the block has ended well.

    It is on the disk before it has the name, so that a power cut leaves no empty file; what the
    block leaves behind with an error is removed. A new file is for its owner alone to read, as
    results hold harmful text, if it is ``private``; one that is replaced keeps its permissions.
    A link stays a link, and what is no file, such as ``/dev/stdout``, is itself yielded. Raises
    OSError, which names ``path``.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    target = path.resolve()
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o600 if private else 0o666
    draft = target.with_name(f"{PARTIAL}{uuid.uuid4().hex}")
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
        yield draft
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        draft.replace(target)
    except BaseException as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        if (
            isinstance(error, OSError)
            and error.errno
            and error.filename in (None, draft, str(draft))
        ):
            error.filename = str(path)
        raise
