"""Putting right what can be put right in a store, and bringing it to the current version.

Nothing is thrown away that cannot be had again: before rows are dropped or a database is rebuilt
or migrated, the file as it was is kept beside the new one.

Of a damaged database, what can still be read is read row by row where it must be. SQLite gives up
on a query at the first damaged page. Each table is therefore read in ranges of its key; a range
that cannot be read is halved, until what cannot be read is one row, or for tables without row
numbers one 65,536th of the keys.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from opensafemlrm.errors import StoreError
from opensafemlrm.files import replacing
from opensafemlrm.store import schema
from opensafemlrm.store.checking import LINKS, integrity_faults
from opensafemlrm.store.connecting import DATABASE, copy_database, is_damage, opened, unreadable
from opensafemlrm.store.database import Store, lock_to_write
from opensafemlrm.store.image_files import Images, look_at_images, prompt_keys_with
from opensafemlrm.store.keys import prepare
from opensafemlrm.store.records import generation_key
from opensafemlrm.store.tables import TABLES, Table
from opensafemlrm.types import Label, ResponseStatus, content_key


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


_HASH_RANGES: Final = 1 << 16
"""Parts that keys without row numbers are told apart by: their first two bytes."""
_ROWS_AT_ONCE: Final = 4096
_HASH_RANGES_AT_ONCE: Final = 1024
_MIN_BYTES: Final = 20
"""Bytes of a file that a row takes at the least, to bound the row numbers of a damaged table."""
_Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Recovered:
    """How much of a table could be read."""

    table: str
    rows: int
    damaged: int
    """Ranges of keys that could not be read, and rows that were read and make no sense."""


def recover(damaged: Path, target: Path) -> list[Recovered]:
    """Copy every row that can be read from ``damaged`` into the new database ``target``.

    Raises StoreError if not even the list of tables can be read, and StoreVersionError if a newer
    version of this project wrote it.
    """
    with (
        contextlib.closing(sqlite3.connect(damaged)) as source,
        contextlib.closing(sqlite3.connect(target, isolation_level=None)) as copy,
    ):
        try:
            schema.refuse_newer(schema.version_of(source), source)
            there = {name for (name,) in source.execute("SELECT name FROM sqlite_master")}
        except (sqlite3.Error, UnicodeDecodeError) as error:
            if isinstance(error, sqlite3.Error) and not is_damage(error):
                raise unreadable(damaged, error) from error
            raise StoreError(
                f"{damaged}: nothing in this file can be read ({error}); move it away and run the "
                "study again: images are kept, replies have to be made anew"
            ) from error
        schema.migrate(copy)
        copy.execute("BEGIN")
        recovered = [
            _copy(table, source, copy, damaged)
            for table in TABLES.values()
            if table.name in there and not table.updates
        ]
        copy.execute("COMMIT")
    return recovered


def _copy(
    table: Table, source: sqlite3.Connection, copy: sqlite3.Connection, file: Path
) -> Recovered:
    """Copy the columns that the project knows; one that is gone is empty, where it may be."""
    there = schema.columns_in(source, table.name)
    columns = [name for name in (table.number, *table.columns) if name in there]
    gone = {name: table.fillers[name] for name in table.columns if name not in there}
    names = ", ".join(f'"{column}"' for column in [*columns, *gone])
    values = ", ".join([*("?" * len(columns)), *gone.values()])
    put = f"INSERT OR IGNORE INTO {table.name} ({names}) VALUES ({values})"
    reader = _Reader(source, table.name, ", ".join(f'"{column}"' for column in columns))
    rows = damaged = 0
    for row in reader.rows(file.stat().st_size):
        if row is None or not _makes_sense(table.name, dict(zip(columns, row, strict=True))):
            damaged += 1
        else:
            rows += copy.execute(put, row).rowcount
    return Recovered(table.name, rows, damaged)


class _Reader:
    """Reads one table in ranges of its key."""

    def __init__(self, connection: sqlite3.Connection, table: str, names: str) -> None:
        self._connection, self._table, self._names = connection, table, names
        info = list(connection.execute(f"PRAGMA table_info({table})"))
        key = next((row for row in info if row[5] == 1), info[0])
        self._key, self._text = key[1], key[2] == "TEXT"
        query = "SELECT sql FROM sqlite_master WHERE name = ?"
        self._numbered = "WITHOUT ROWID" not in connection.execute(query, (table,)).fetchone()[0]

    def rows(self, size: int) -> Iterator[_Row | None]:
        """Yield each row, and ``None`` for each range that cannot be read."""
        end, step = _HASH_RANGES, _HASH_RANGES_AT_ONCE
        if self._numbered:
            end, step = self._last(size) + 1, _ROWS_AT_ONCE
        for start in range(0, end, step):
            yield from self._range(start, min(start + step, end))

    def _last(self, size: int) -> int:
        try:
            query = f"SELECT max(rowid) FROM {self._table}"
            return int(self._connection.execute(query).fetchone()[0] or 0)
        except (sqlite3.Error, UnicodeDecodeError):
            return size // _MIN_BYTES

    def _range(self, start: int, end: int) -> Iterator[_Row | None]:
        try:
            # Whole before the first is given on: what fails half-way is read again in halves.
            rows = self._read(start, end)
        except (sqlite3.Error, UnicodeDecodeError):
            if end - start == 1:
                yield None
                return
            middle = (start + end) // 2
            yield from self._range(start, middle)
            yield from self._range(middle, end)
        else:
            yield from rows

    def _read(self, start: int, end: int) -> list[_Row]:
        key = "rowid" if self._numbered else f'"{self._key}"'
        where, values = f"{key} >= ?", [self._bound(start)]
        if self._numbered or end < _HASH_RANGES:
            where, values = f"{where} AND {key} < ?", [*values, self._bound(end)]
        hint = "NOT INDEXED" if self._numbered else ""
        return self._connection.execute(
            f"SELECT {self._names} FROM {self._table} {hint} WHERE {where}", values
        ).fetchall()

    def _bound(self, number: int) -> int | str | bytes:
        if self._numbered:
            return number
        prefix = number.to_bytes(2)
        return prefix.hex() if self._text else prefix


def _makes_sense(table: str, row: dict[str, Any]) -> bool:
    """Tell whether a row can be what was written: keys are made of content."""
    if table == "generations":
        cell, item, repeat = (row.get(name) for name in ("cell", "item", "repeat"))
        if not (isinstance(cell, bytes) and isinstance(item, bytes) and isinstance(repeat, int)):
            return False
        is_its_own = row.get("key") == generation_key(cell, item, repeat)
        return is_its_own and row.get("status") in set(ResponseStatus) and "text" in row
    if table == "readings":
        items = row.get("items")
        return isinstance(items, bytes) and row.get("digest") == content_key(items)
    if table == "verdicts":
        return row.get("label") in set(Label)
    return True
