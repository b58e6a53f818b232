"""The folder of a report: its own older files are replaced, anybody else's are moved aside."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from opensafemlrm.errors import ReportError
from opensafemlrm.files import make_folder, write_atomic

WRITTEN: Final = ".written.json"
"""The file that says which files a report wrote, with the SHA-256 of each."""
_MADE_BY: Final = b'<meta name="generator" content="OpenSafeMLRM'


def write_files(out: Path, files: Mapping[str, bytes | str]) -> None:
    """Write files by their names below ``out``, in their order.

    A file that is in the way, and is not as a report wrote it, is moved into a folder of its own.
    Raises OSError, and ReportError where a folder is a link: what it leads to is another's.
    """
    data = {name: text.encode() if isinstance(text, str) else text for name, text in files.items()}
    known = _written(out)
    for folder in {(out / name).parent for name in data} - {out}:
        if folder.is_symlink():
            raise ReportError(f"{folder}: this is a link; name another folder with --out")
    for name in data:
        path = out / name
        if path.is_symlink() or (path.exists() and not _is_own(path, known.get(name))):
            aside = out / f"moved-aside-{time.strftime('%Y%m%d-%H%M%S')}" / name
            make_folder(aside.parent)
            path.rename(aside)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in data.items()}
    write_atomic(out / WRITTEN, json.dumps(digests, indent=1))
    for name, content in data.items():
        write_atomic(out / name, content)


def _written(out: Path) -> dict[str, str]:
    """Return the SHA-256 of the files that an earlier report wrote; nothing where it kept none."""
    try:
        digests: dict[str, str] = json.loads((out / WRITTEN).read_bytes())
    except (OSError, ValueError):
        return {}
    return digests


def _is_own(path: Path, digest: str | None) -> bool:
    content = path.read_bytes() if path.is_file() else b""
    return hashlib.sha256(content).hexdigest() == digest or _MADE_BY in content
