"""An index of the words in questions and replies, made beside the store at the first search."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Final

from opensafemlrm.view.databases import begun, go_on_after, last_of

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
