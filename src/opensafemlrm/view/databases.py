"""Databases of the viewer's own, with the store beside them to be read, and the index of words."""

from __future__ import annotations

import sqlite3
import threading
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


NAME: Final = "view-words.sqlite"
_VERSION: Final = 1
_TOGETHER: Final = 1_000
"""Replies whose words are indexed in one transaction."""
_CREATE: Final = (
    "CREATE VIRTUAL TABLE words USING "
    "fts5(question, reasoning, reply, content='', columnsize=0, detail=column);"
)


class Words:
    """The index of one store's words: it holds no text, and can be deleted at any time."""

    def __init__(self, store: Path, folder: Path) -> None:
        self._store, self._path = store, folder / NAME
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._writer: sqlite3.Connection | None = None
        self._thread: threading.Thread | None = None

    def close(self) -> None:
        """Stop indexing."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
        if self._writer is not None:
            self._writer.close()

    def begin(self) -> float:
        """Go on to index the store's words in a thread, and return the share that is done."""
        with self._lock:
            if self._writer is None:
                self._writer = begun(self._path, self._store, _CREATE, _VERSION)
            done = last_of(self._writer)
            last = self._writer.execute("SELECT max(rowid) FROM store.generations").fetchone()[0]
            if last and done < last and (self._thread is None or not self._thread.is_alive()):
                self._thread = threading.Thread(target=self._index, daemon=True)
                self._thread.start()
        return min(1.0, done / last) if last else 1.0

    def attach_to(self, connection: sqlite3.Connection) -> None:
        """Let a connection see the index as ``words.words``, where there is one."""
        names = {name for _, name, _ in connection.execute("PRAGMA database_list")}
        if self._writer is not None and "words" not in names:
            connection.execute("ATTACH ? AS words", (self._path.absolute().as_uri(),))

    def _index(self) -> None:
        while not self._stopped.is_set() and self._more():
            pass

    def _more(self) -> bool:
        """Index some of the replies whose words are not in it; whether there were any."""
        with self._lock:
            writer = self._writer
            if writer is None:
                return False
            done = last_of(writer)
            rows = writer.execute(
                "SELECT max(rowid) FROM (SELECT rowid FROM store.generations WHERE rowid > ? "
                "ORDER BY rowid LIMIT ?)",
                (done, _TOGETHER),
            )
            last = rows.fetchone()[0]
            if last is None:
                return False
            with writer:
                writer.execute("BEGIN IMMEDIATE")
                writer.execute(
                    "INSERT INTO words (rowid, question, reasoning, reply) "
                    "SELECT g.rowid, i.question, g.reasoning, g.text FROM store.generations g "
                    "JOIN store.items i ON i.key = g.item WHERE g.rowid > ? AND g.rowid <= ?",
                    (done, last),
                )
                go_on_after(writer, last)
        return True
