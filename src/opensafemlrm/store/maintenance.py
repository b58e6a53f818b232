"""Putting right what can be put right in a store, and bringing it to the current version.

Nothing is thrown away that cannot be had again: before rows are dropped or a database is rebuilt
or migrated, the file as it was is kept beside the new one.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from opensafemlrm.errors import StoreError
from opensafemlrm.files import replacing
from opensafemlrm.store import schema
from opensafemlrm.store.checking import LINKS, integrity_faults
from opensafemlrm.store.connecting import DATABASE, copy_database, opened, unreadable
from opensafemlrm.store.database import Store, lock_to_write
from opensafemlrm.store.image_files import Images, look_at_images, prompt_keys_with
from opensafemlrm.store.keys import prepare
from opensafemlrm.store.recovery import recover


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that a repair did, and to how many."""

    what: str
    n: int


def repair(path: Path) -> list[Change]:
    """Put right what :func:`~opensafemlrm.store.checking.check` finds; return what was done.

    A damaged database, or one with foreign columns and triggers, is rebuilt from the rows that can
    be read. Rows that lack what they need, or contradict their keys, are dropped, so that the next
    run makes them again; images that nothing needs are moved aside. Only what this project wrote is
    touched, and nothing through a link. Raises StoreError if nothing can be read, if it cannot be
    read or written now, or if a run is writing.
    """
    changes = []
    _refuse_links(path)
    lock = lock_to_write(path, existing=True)
    try:
        with opened(path) as connection:
            faults = integrity_faults(connection)
            is_current = not faults and schema.version_of(connection) == schema.VERSION
            rebuilt = bool(faults) or (is_current and bool(schema.strange(connection)))
        if rebuilt:
            changes = _rebuild(path)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{path}: the store cannot be repaired: {error}") from error
    finally:
        lock.release()
    with Store.open(path, "write") as store:
        images = look_at_images(store.connection, path)
        dropped = _drop(store, images, keep_copy=not rebuilt)
        return [*changes, *dropped, *_move_aside(path, images)]


def vacuum(path: Path) -> tuple[int, int]:
    """Give unused space back to the disk; return the bytes of the database before and after.

    Raises StoreError if the store cannot be written: it needs as much free space again as it takes.
    """
    _refuse_links(path)
    with Store.open(path, "write") as store:
        before = _size(path)
        try:
            store.connection.execute("VACUUM")
            store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            raise unreadable(path / DATABASE, error, "rewritten") from error
    return before, _size(path)


def migrate(path: Path) -> tuple[int, Path | None]:
    """Bring a store to the current version; return the one it had, and where a copy of it lies.

    There is no copy where there was nothing to do. Raises StoreVersionError if it is too new.
    """
    _refuse_links(path)
    with opened(path) as connection:
        version = schema.version_of(connection)
    Store.open(path, "write").close()
    copy = path / f"{DATABASE}.version-{version}"
    return version, copy if 0 < version < schema.VERSION else None


def _rebuild(path: Path) -> list[Change]:
    """Put a new database, with what can be read of the damaged one, in its place."""
    database, aside = path / DATABASE, path / f"{DATABASE}.damaged-{_stamp()}"
    with replacing(database) as draft:
        recovered = recover(database, draft)
        try:
            os.link(database, aside)
        except OSError:  # not every disk has links
            shutil.copy2(database, aside)
        # A log that is left over belongs to the damaged file, and must never meet the new one.
        for suffix in ("-wal", "-shm"):
            log = path / f"{DATABASE}{suffix}"
            if log.exists():
                log.replace(path / f"{aside.name}{suffix}")
    changes = [Change(f"the database as it was is kept as {aside.name}", 1)]
    for table in recovered:
        changes.append(Change(f"rows read from {table.table}", table.rows))
        if table.damaged:
            changes.append(Change(f"places in {table.table} that cannot be read", table.damaged))
    return changes


def _drop(store: Store, images: Images, *, keep_copy: bool) -> list[Change]:
    connection, changes = store.connection, []
    prepare(connection)
    prompts = prompt_keys_with(connection, images.missing) if images.missing else []
    lost = (
        connection.execute(f"SELECT 1 FROM {link.table} WHERE {link.lost} LIMIT 1").fetchone()
        for link in LINKS
        if link.droppable
    )
    if keep_copy and (prompts or any(lost)):
        copy = store.path / f"{DATABASE}.before-repair-{_stamp()}"
        copy_database(connection, copy)
        changes.append(Change(f"the database as it was is kept as {copy.name}", 1))
    with store.transaction():
        connection.executemany(
            "DELETE FROM prompts WHERE attack = ? AND item = ? AND seed = ?", prompts
        )
        if prompts:
            changes.append(Change("dropped: prompts without their images", len(prompts)))
        for link in LINKS:
            if link.droppable:
                query = f"DELETE FROM {link.table} WHERE {link.lost}"
                if count := connection.execute(query).rowcount:
                    changes.append(
                        Change(f"dropped from {link.table}: not so that {link.checked}", count)
                    )
    return changes


def _move_aside(path: Path, images: Images) -> list[Change]:
    """Move files out of the way, into a folder of their own beside the database."""
    aside = path / f"moved-aside-{_stamp()}"
    changes = []
    for what, files in (
        ("image files whose bytes had changed", images.changed),
        ("image files that nothing uses", images.orphans),
        ("files of writes that were cut off", images.partial),
    ):
        for file in files:
            try:
                aside.mkdir(exist_ok=True)
                file.rename(aside / file.name)
            except OSError as error:
                raise StoreError(f"{file}: cannot be moved: {error.strerror}") from error
        if files:
            changes.append(Change(f"moved to {aside.name}: {what}", len(files)))
    return changes


def _refuse_links(path: Path) -> None:
    """Raise StoreError where the store's own files are links: what they lead to is another's."""
    for file in (path / DATABASE, path / "lock", path / "images"):
        if file.is_symlink():
            raise StoreError(
                f"{file}: this is a link, and only what lies in the store's folder is changed; "
                "name the folder where it lies"
            )


def _stamp() -> str:
    return time.strftime("%Y%m%d-%H%M%S")


def _size(path: Path) -> int:
    files = (path / f"{DATABASE}{suffix}" for suffix in ("", "-wal"))
    return sum(file.stat().st_size for file in files if file.exists())
