"""Opening the database of a store: to read or to write it, and only in a version that is known."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from opensafemlrm.errors import StoreError
from opensafemlrm.files import replacing
from opensafemlrm.store import schema

DATABASE: Final = "store.sqlite"
_LOG_PAGES: Final = 4000
"""Pages (16 MB) that the log grows to before they are written to their places: random keys touch
the same pages of an index again and again, and the more often before, the fewer are written."""


_NO_SHARED_MEMORY: Final = (
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
)
"""What a file system on which processes cannot share memory or locks may end with: NFS, GPFS."""


def connect(database: Path, *, write: bool) -> sqlite3.Connection:
    """Open a store's database. Raises StoreError, and StoreVersionError where it is too new.

    Where the file system cannot carry the log that WAL needs, changes are written in place.
    """
    try:
        return _connect(database, write=write, wal=True)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _NO_SHARED_MEMORY:
            with contextlib.suppress(sqlite3.Error):
                return _connect(database, write=write, wal=False)
        raise StoreError(
            f"{database}: the store cannot be opened: {error}; "
            f"see: safemlrm store check {database.parent}"
        ) from error


def _connect(database: Path, *, write: bool, wal: bool) -> sqlite3.Connection:
    uri = f"{database.absolute().as_uri()}?{_access(database, write=write)}"
    connection = sqlite3.connect(
        uri, uri=True, isolation_level=None, check_same_thread=False, timeout=30
    )
    try:
        if not wal:  # whoever holds the file alone needs no shared memory to read a log
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        if write:
            if wal:
                connection.execute("PRAGMA journal_mode = WAL")
                # With WAL, a process that is killed loses nothing; only a power cut can take the
                # last commits back, and never breaks the file.
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
            else:
                connection.execute("PRAGMA journal_mode = DELETE")
                connection.execute("PRAGMA locking_mode = NORMAL")
            _bring_up_to_date(connection, database)
        else:
            _read_version(connection, database)
            connection.execute("PRAGMA query_only = ON")
    except (sqlite3.Error, StoreError):
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the database of a store of any version, whole or not, to look at it.

    Raises StoreError if there is none, or if what the block reads cannot be read.
    """
    require_store(path)
    database = path / DATABASE
    uri = f"{database.absolute().as_uri()}?{_access(database, write=False)}"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=30)) as connection:
            yield connection
    except sqlite3.Error as error:
        raise StoreError(f"{database}: the store cannot be read: {error}") from error


def require_store(path: Path) -> None:
    """Raise StoreError if there is no store at ``path``."""
    if not (path / DATABASE).is_file():
        raise StoreError(f"{path}: there is no store here (no {DATABASE})")


def _access(database: Path, *, write: bool) -> str:
    """Return how SQLite is to open the file, as the query of its URI."""
    if write:
        return "mode=rwc"
    if os.access(database.parent, os.W_OK):
        # A reader opens the file for writing too: WAL needs its shared memory; query_only holds
        # it to reading.
        return "mode=rw"
    log = database.with_name(f"{database.name}-wal")
    if log.exists() and log.stat().st_size:
        # "immutable" would not look into the log, and so leave out what was written last.
        return "mode=ro"
    return "immutable=1&mode=ro"


def _bring_up_to_date(connection: sqlite3.Connection, database: Path) -> None:
    """Migrate a store of an older version, after a copy of it is safely beside it."""
    version = schema.version_of(connection)
    if 0 < version < schema.VERSION:
        copy_database(connection, database.with_name(f"{database.name}.version-{version}"))
    schema.migrate(connection)


def copy_database(connection: sqlite3.Connection, target: Path) -> None:
    """Copy an open database into the file ``target``, which is there whole or not at all."""
    with replacing(target) as draft, contextlib.closing(sqlite3.connect(draft)) as copy:
        connection.backup(copy)


def _read_version(connection: sqlite3.Connection, database: Path) -> None:
    """Let an older version be read as the current one. Raises StoreError where that cannot be."""
    version = schema.version_of(connection)
    schema.refuse_newer(version)
    if version < schema.OLDEST_READ:
        raise StoreError(
            f"{database}: the store has an older schema; run: safemlrm store migrate "
            f"{database.parent}"
        )
    if version < schema.VERSION:
        schema.read_as_current(connection)
