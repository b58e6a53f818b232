"""Databases of the viewer's own, with the store beside them to be read."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from opensafemlrm.store.connecting import DATABASE, address

_CHANGES: Final = (sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE)


def connected(path: Path, store: Path) -> sqlite3.Connection:
    """Return a connection to the database at ``path``; the store is attached as ``store``."""
    connection = sqlite3.connect(
        path.absolute().as_uri(),
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=30,
    )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = OFF")  # it can be made again
    connection.execute("ATTACH ? AS store", (address(store / DATABASE),))
    connection.set_authorizer(_read_the_store)
    return connection


def begun(path: Path, store: Path, create: str, version: int) -> sqlite3.Connection:
    """Make a database, or take the one that is there if it is of this store and version.

    ``create`` makes its tables; among them is ``state``, whose columns ``version``, ``last`` and
    ``last_key`` tell up to which reply of the store it goes.
    """
    if path.exists():
        connection = connected(path, store)
        try:
            if _is_of(connection, version):
                return connection
        except sqlite3.Error:
            pass  # not ours, or not whole: it is made again
        connection.close()
        for end in ("", "-wal", "-shm"):
            path.with_name(path.name + end).unlink(missing_ok=True)
    path.touch(mode=0o600)
    connection = connected(path, store)
    connection.executescript(
        f"BEGIN;{create}CREATE TABLE state (version INTEGER, last INTEGER, last_key BLOB);"
        f"INSERT INTO state VALUES ({version}, 0, NULL);COMMIT;"
    )
    return connection


def go_on_after(connection: sqlite3.Connection, last: int) -> None:
    """Note that replies up to row ``last`` of the store are in the database."""
    connection.execute(
        "UPDATE state SET last = ?1, "
        "last_key = (SELECT key FROM store.generations WHERE rowid = ?1)",
        (last,),
    )


def last_of(connection: sqlite3.Connection) -> int:
    """Return up to which row of the store's replies the database goes."""
    return int(connection.execute("SELECT last FROM state").fetchone()[0])


def _is_of(connection: sqlite3.Connection, version: int) -> bool:
    """Whether the rows are those of the store: a vacuum may number them anew."""
    of, last, key = connection.execute("SELECT version, last, last_key FROM state").fetchone()
    if of != version:
        return False
    stored = connection.execute(
        "SELECT key FROM store.generations WHERE rowid = ?", (last,)
    ).fetchone()
    return bool(last == 0 or (stored is not None and stored[0] == key))


def _read_the_store(action: int, _: object, __: object, database: str | None, ___: object) -> int:
    """Let no statement change the store that is attached."""
    denied = database == "store" and action in _CHANGES
    return sqlite3.SQLITE_DENY if denied else sqlite3.SQLITE_OK
