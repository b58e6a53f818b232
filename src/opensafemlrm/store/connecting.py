"""Opening the database of a store: to read or to write it, and only in a version that is known."""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from opensafemlrm.errors import StoreError
from opensafemlrm.files import replacing
from opensafemlrm.store import schema

DATABASE: Final = "store.sqlite"
_WAIT: Final = 10
"""Seconds to wait for another program that holds the file."""
_LOG_PAGES: Final = 4000
"""Pages (16 MB) that the log grows to before they are written to their places: random keys touch
the same pages of an index again and again, and the more often before, the fewer are written."""


_NO_SHARED_MEMORY: Final = (
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_FULL,
)
"""What it may end with where processes cannot share memory or locks: NFS, GPFS, a full disk."""
_PASSING: Final = {
    sqlite3.SQLITE_BUSY: "another program holds it; wait for it to end",
    sqlite3.SQLITE_LOCKED: "another program holds it; wait for it to end",
    sqlite3.SQLITE_FULL: "the disk is full; make room",
    sqlite3.SQLITE_READONLY: "it cannot be written here, and it was not closed where it was",
    sqlite3.SQLITE_CANTOPEN: "a file of it cannot be opened; see whose it is, and who may read it",
    sqlite3.SQLITE_PERM: "you may not read it",
    sqlite3.SQLITE_NOMEM: "there is not enough memory",
    sqlite3.SQLITE_IOERR: "the disk does not read or write; see whether it is full, or broken",
}
"""Errors that say nothing of the store itself, and what to do about each."""


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error says that the file itself is not as it should be."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def unreadable(database: Path, error: sqlite3.Error, what: str = "read") -> StoreError:
    """Return the error to raise where a database cannot be used: its fault, or not."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _PASSING:
        why = f"{_PASSING[code]} ({error}). The store itself may be whole"
    else:
        why = f"{error}; see: safemlrm store check {database.parent}"
    return StoreError(f"{database}: the store cannot be {what}: {why}")


def connect(database: Path, *, write: bool) -> sqlite3.Connection:
    """Open a store's database. Raises StoreError, and StoreVersionError where it is too new.

    Where the file system cannot carry the log that WAL needs, changes are written in place.
    """
    with contextlib.suppress(OSError):  # of what cannot be looked at, SQLite says why
        _refuse_emptied(database)
    try:
        return _connect(database, write=write, wal=True)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _NO_SHARED_MEMORY:
            with contextlib.suppress(sqlite3.Error):
                return _connect(database, write=write, wal=False)
        raise unreadable(database, error, "opened") from error


def _connect(database: Path, *, write: bool, wal: bool) -> sqlite3.Connection:
    if write and not database.exists():
        # SQLite would let others read it; its log takes the permissions of the database.
        os.close(os.open(database, os.O_CREAT | os.O_WRONLY, 0o600))
    connection = _plain(database, _access(database, write=write, wal=wal))
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
    try:
        connection = _plain(database, _access(database, write=False, wal=True))
        try:
            schema.version_of(connection)
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _NO_SHARED_MEMORY:
                connection.close()
                connection = _plain(database, _access(database, write=False, wal=False))
                connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        with contextlib.closing(connection):
            yield connection
    except sqlite3.Error as error:
        raise unreadable(database, error) from error


def address(database: Path) -> str:
    """Return the URI by which another database may attach a store's, to read it."""
    return f"{database.absolute().as_uri()}?{_access(database, write=False, wal=True)}"


def _plain(database: Path, access: str) -> sqlite3.Connection:
    uri = f"{database.absolute().as_uri()}?{access}"
    return sqlite3.connect(
        uri, uri=True, isolation_level=None, check_same_thread=False, timeout=_WAIT
    )


def require_store(path: Path) -> None:
    """Raise StoreError if there is no store at ``path``."""
    database = path / DATABASE
    try:
        if not database.is_file():
            raise StoreError(f"{path}: there is no store here (no {DATABASE})")
        _refuse_emptied(database)
        if not database.stat().st_size:
            raise StoreError(
                f"{database}: the file is empty: nothing was written here yet; run a study into "
                "this folder, or delete it"
            )
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error


def _refuse_emptied(database: Path) -> None:
    """Raise StoreError for an empty file that was not so before, by what stands beside it.

    SQLite takes it for a new database, and deletes its log, which may be all that is left.
    """
    folder = database.parent
    if not database.is_file() or database.stat().st_size:
        return
    beside = [path for path in folder.glob(f"{DATABASE}?*") if path.stat().st_size]
    beside += itertools.islice((folder / "images").glob("*/*"), 1)
    if left := sorted(path.relative_to(folder).as_posix() for path in beside):
        raise StoreError(
            f"{database}: something emptied this file: beside it is {', '.join(left)}. Nothing was "
            "changed. Put a copy of it in its place, yours or one that is named here; without one, "
            f"move what is named {DATABASE}… out of this folder and run the study again"
        )


def _access(database: Path, *, write: bool, wal: bool) -> str:
    """Return how SQLite is to open the file, as the query of its URI."""
    if write:
        return "mode=rwc"
    log = database.with_name(f"{database.name}-wal")
    has_log = log.exists() and log.stat().st_size > 0
    if os.access(database.parent, os.W_OK) and (wal or has_log):
        # A reader opens the file for writing too: WAL needs its shared memory; query_only holds
        # it to reading.
        return "mode=rw"
    # "immutable" would not look into the log, and so leave out what was written last.
    return "mode=ro" if has_log else "immutable=1&mode=ro"


def _bring_up_to_date(connection: sqlite3.Connection, database: Path) -> None:
    """Migrate a store of an older version, after a copy of it is safely beside it."""
    version = schema.version_of(connection)
    if version <= schema.VERSION and not schema.is_ours(connection):
        raise StoreError(f"{database}: this is no store, but a database of another program's")
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
    schema.refuse_newer(version, connection)
    if version < schema.OLDEST_READ:
        raise StoreError(
            f"{database}: the store has an older schema; run: safemlrm store migrate "
            f"{database.parent}"
        )
    if version < schema.VERSION:
        schema.read_as_current(connection)
