"""A store's folder of images, compared with the prompts that need them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from opensafemlrm.errors import StoreError
from opensafemlrm.files import PARTIAL_NAME
from opensafemlrm.store.database import EXTENSIONS

_FOLDER: Final = re.compile("[0-9a-f]{2}")
_IMAGE: Final = re.compile(rf"[0-9a-f]{{64}}\.({'|'.join(EXTENSIONS.values())})")


@dataclass(slots=True)
class Images:
    """The folder of images, compared with what the database needs of it."""

    missing: set[str] = field(default_factory=set)
    """File names that prompts need and that are not there with the right bytes."""
    changed: list[Path] = field(default_factory=list)
    """Files whose bytes are not those that their name says."""
    orphans: list[Path] = field(default_factory=list)
    """Whole files that no row names: a run was killed between the image and its prompt."""
    partial: list[Path] = field(default_factory=list)
    """Files of writes that were cut off."""


def look_at_images(connection: sqlite3.Connection, path: Path) -> Images:
    """Compare the folder of images with the rows that name them; every file is read once."""
    needed = {name for content in _prompts(connection, "prompts") for name in names_in(content)}
    known = {name for content in _prompts(connection, "calls") for name in names_in(content)}
    rows = connection.execute("SELECT sha256, media_type FROM images")
    known |= needed | {_name(sha256, media_type) for sha256, media_type in rows}
    images, whole = Images(partial=_own(path, PARTIAL_NAME)), set()
    for folder in _own(path / "images", _FOLDER):
        images.partial += _own(folder, PARTIAL_NAME)
        for file in _own(folder, _IMAGE):
            if _digest(file) != file.stem:
                images.changed.append(file)
            else:
                whole.add(file.name)
                if file.name not in known:
                    images.orphans.append(file)
    images.missing = needed - whole
    return images


def _own(folder: Path, name: re.Pattern[str]) -> list[Path]:
    """Return what this project put into a folder, by the names that it gives; links are others'."""
    if folder.is_symlink() or not folder.is_dir():
        return []
    return sorted(
        path for path in folder.iterdir() if name.fullmatch(path.name) and not path.is_symlink()
    )


def names_in(content: str) -> Iterator[str]:
    """Yield the file names of the images of a stored prompt."""
    with contextlib.suppress(ValueError, TypeError, KeyError):  # said of the prompt elsewhere
        for _, parts in json.loads(content):
            for part in parts:
                if isinstance(part, Mapping):
                    yield _name(part["sha256"], part["media_type"])


def _prompts(connection: sqlite3.Connection, table: str) -> Iterator[str]:
    column = "content" if table == "prompts" else "prompt"
    # Most prompts hold no image, and need not be read.
    query = f"SELECT {column} FROM {table} WHERE instr({column}, '\"sha256\"')"
    for (content,) in connection.execute(query):
        yield content


def _name(sha256: str, media_type: str) -> str:
    return f"{sha256}.{EXTENSIONS.get(media_type, media_type)}"


def _digest(file: Path) -> str:
    try:
        with file.open("rb") as opened_file:
            return hashlib.file_digest(opened_file, "sha256").hexdigest()
    except OSError as error:
        raise StoreError(f"{file}: the image cannot be read: {error.strerror}") from error


def prompt_keys_with(connection: sqlite3.Connection, names: set[str]) -> list[tuple[Any, ...]]:
    """Return attack, item and seed of the prompts that hold one of the images ``names``."""
    query = "SELECT attack, item, seed, content FROM prompts WHERE instr(content, '\"sha256\"')"
    return [
        (attack, item, seed)
        for attack, item, seed, content in connection.execute(query)
        if not names.isdisjoint(names_in(content))
    ]
