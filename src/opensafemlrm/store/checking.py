"""Whether a store is whole: the database, what its rows need of each other, and its images."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from opensafemlrm.errors import StoreError
from opensafemlrm.files import PARTIAL
from opensafemlrm.store import schema
from opensafemlrm.store.connecting import opened
from opensafemlrm.store.database import EXTENSIONS

MAX_MESSAGES: Final = 10
"""Faults that SQLite is asked to list; the first says enough."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check looked at."""

    checked: str
    wrong: int
    """How many are not as they should be."""
    problem: bool
    """Whether that is a fault; files that nothing needs are only untidy."""
    example: str | None = None
    remedy: str | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """Rows that need rows of other tables; ``lost`` is the condition on those that lack them."""

    checked: str
    table: str
    lost: str
    droppable: bool = True

    @property
    def remedy(self) -> str:
        """What to do about such rows."""
        if self.droppable:
            return "repair drops them; the next run makes them again"
        return "run the study again: it writes them anew"


def _without(table: str, *columns: str) -> str:
    """Return the condition that one of ``columns`` names a row that ``table`` does not have."""
    return " OR ".join(
        f"({column} IS NOT NULL AND {column} NOT IN (SELECT key FROM {table}))"
        for column in columns
    )


LINKS: Final = (
    # In the order in which a repair drops: what needs a dropped row comes after it.
    Link("replies have their item", "generations", _without("items", "item")),
    Link("prompts have their item", "prompts", _without("items", "item")),
    Link("items not sent are there", "inapplicable", _without("items", "item")),
    Link("judgements have their reply", "judgements", _without("generations", "generation")),
    Link(
        "judgements have their verdicts",
        "judgements",
        _without("verdicts", "reasoning", "answer", '"full"'),
    ),
    Link("requests have their reply", "calls", _without("generations", "generation")),
    Link("labels have their reply", "labels", _without("generations", "generation")),
    Link("replies have their cell", "generations", _without("cells", "cell"), droppable=False),
    Link(
        "cells have their components",
        "cells",
        _without("components", "dataset", "attack", "defense", "model"),
        droppable=False,
    ),
    Link(
        "judgements have their judge",
        "judgements",
        _without("components", "judge"),
        droppable=False,
    ),
)


@dataclass(slots=True)
class Images:
    """The folder of images, held against what the database needs of it."""

    missing: set[str] = field(default_factory=set)
    """File names that prompts need and that are not there with the right bytes."""
    changed: list[Path] = field(default_factory=list)
    """Files whose bytes are not those that their name says."""
    orphans: list[Path] = field(default_factory=list)
    """Whole files that no row names: a run was killed between the image and its prompt."""
    partial: list[Path] = field(default_factory=list)
    """Files of writes that were cut off."""


def check(path: Path) -> list[Finding]:
    """Return what was looked at in the store at ``path``, and how much of each is wrong.

    Writes nothing, and may look while a run is writing. Raises StoreError if there is no store or
    it cannot be opened at all, StoreVersionError if it is too new.
    """
    with opened(path) as connection:
        faults = integrity_faults(connection)
        rebuild = "repair copies what can be read into a new file"
        findings = [_finding("the database file is whole", faults, rebuild)]
        version = 0 if faults else schema.version_of(connection)
        schema.refuse_newer(version)
        if faults:
            return findings
        old = [] if version == schema.VERSION else [f"version {version}"]
        checked = f"the schema is of version {schema.VERSION}"
        findings.append(_finding(checked, old, f"safemlrm store migrate {path}"))
        if version == schema.VERSION:
            findings += [_link(connection, link) for link in LINKS]
            findings += _images(look_at_images(connection, path))
    return findings


def integrity_faults(connection: sqlite3.Connection) -> list[str]:
    """Return what SQLite finds wrong with its own file; nothing where it is whole."""
    try:
        rows = connection.execute(f"PRAGMA integrity_check({MAX_MESSAGES})").fetchall()
    except sqlite3.Error as error:
        return [str(error)]
    return [str(message) for (message,) in rows if message != "ok"]


def look_at_images(connection: sqlite3.Connection, path: Path) -> Images:
    """Compare the folder of images with the rows that name them; every file is read once."""
    needed = {name for content in _prompts(connection, "prompts") for name in names_in(content)}
    known = {name for content in _prompts(connection, "calls") for name in names_in(content)}
    rows = connection.execute("SELECT sha256, media_type FROM images")
    known |= needed | {_name(sha256, media_type) for sha256, media_type in rows}
    images, whole = Images(partial=list(path.glob(f"{PARTIAL}*"))), set()
    for file in sorted((path / "images").rglob("*")):
        if not file.is_file():
            continue
        if file.name.startswith(PARTIAL):
            images.partial.append(file)
        elif _digest(file) != file.stem:
            images.changed.append(file)
        else:
            whole.add(file.name)
            if file.name not in known:
                images.orphans.append(file)
    images.missing = needed - whole
    return images


def names_in(content: str) -> Iterator[str]:
    """Yield the file names of the images of a stored prompt."""
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
    return f"{sha256}.{EXTENSIONS[media_type]}"


def _digest(file: Path) -> str:
    try:
        with file.open("rb") as opened_file:
            return hashlib.file_digest(opened_file, "sha256").hexdigest()
    except OSError as error:
        raise StoreError(f"{file}: the image cannot be read: {error.strerror}") from error


def _finding(checked: str, wrong: Sequence[str], remedy: str, *, problem: bool = True) -> Finding:
    if not wrong:
        return Finding(checked, 0, problem=False)
    return Finding(checked, len(wrong), problem, wrong[0], remedy)


def _link(connection: sqlite3.Connection, link: Link) -> Finding:
    first = "generation" if link.table in {"judgements", "calls", "labels"} else "key"
    first = {"prompts": "item", "inapplicable": "item"}.get(link.table, first)
    wrong, example = connection.execute(
        f"SELECT count(*), hex(min({first})) FROM {link.table} WHERE {link.lost}"
    ).fetchone()
    if not wrong:
        return Finding(link.checked, 0, problem=False)
    return Finding(link.checked, wrong, True, f"{first} {example}", link.remedy)


def _images(images: Images) -> list[Finding]:
    removed = "repair removes them"
    killed = f"no fault: a run was killed there; {removed}"
    dropped = "repair drops the prompts; a run that needs one makes it again"
    changed, orphans, partial = (
        [file.name for file in files] for files in (images.changed, images.orphans, images.partial)
    )
    return [
        _finding("prompts have their images", sorted(images.missing), dropped),
        _finding("image files are unchanged", changed, removed),
        _finding("image files are used", orphans, killed, problem=False),
        _finding("no write was cut off", partial, killed, problem=False),
    ]


def prompt_keys_with(connection: sqlite3.Connection, names: set[str]) -> list[tuple[Any, ...]]:
    """Return attack, item and seed of the prompts that hold one of the images ``names``."""
    query = "SELECT attack, item, seed, content FROM prompts WHERE instr(content, '\"sha256\"')"
    return [
        (attack, item, seed)
        for attack, item, seed, content in connection.execute(query)
        if not names.isdisjoint(names_in(content))
    ]
