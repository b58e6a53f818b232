"""A flat copy of what people filter samples by, beside the store, kept up to date with it.

A store is made for writing: to find the samples of one model in it takes a walk over five tables.
The copy is a database of its own, ``view.sqlite``, which can be deleted at any time. It holds no
text; only the index of the words in it, from the first search on.
"""

from __future__ import annotations

import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from opensafemlrm.errors import StoreError
from opensafemlrm.store import Store
from opensafemlrm.store.connecting import DATABASE, address
from opensafemlrm.store.named import named_cells, named_judges
from opensafemlrm.types import PARTS

NAME: Final = "view.sqlite"
_VERSION: Final = 1
_LOOK_EVERY: Final = 1.0
"""Seconds."""
_WORDS_TOGETHER: Final = 2_000
"""Samples whose words are indexed in one transaction."""

_CREATE: Final = """
CREATE TABLE cells (id INTEGER PRIMARY KEY, key BLOB UNIQUE, model, dataset, attack, defense,
    sampling, simulated INTEGER);
CREATE TABLE judges (id INTEGER PRIMARY KEY, key BLOB UNIQUE, label, lenient REAL, strict REAL);
CREATE TABLE samples (id INTEGER PRIMARY KEY, key BLOB, cell INTEGER, item TEXT, item_key BLOB,
    scenario TEXT, expected TEXT, repeat INTEGER, status TEXT, trace TEXT, pending INTEGER,
    disputed INTEGER DEFAULT 0, labelled INTEGER DEFAULT 0);
CREATE UNIQUE INDEX samples_by_key ON samples (key);
CREATE INDEX samples_by_cell ON samples (cell, scenario, status);
CREATE INDEX samples_by_scenario ON samples (scenario);
CREATE INDEX samples_by_item ON samples (item_key);
CREATE INDEX samples_pending ON samples (id) WHERE pending;
CREATE INDEX samples_disputed ON samples (id) WHERE disputed;
CREATE INDEX samples_labelled ON samples (id) WHERE labelled;
CREATE TABLE levels (judge INTEGER, sample INTEGER, reasoning INTEGER, answer INTEGER,
    "full" INTEGER, PRIMARY KEY (judge, sample)) WITHOUT ROWID;
CREATE VIRTUAL TABLE words USING fts5(question, reasoning, reply, content='', columnsize=0);
"""
_SAMPLES: Final = """
INSERT OR REPLACE INTO samples (id, key, cell, item, item_key, scenario, expected, repeat, status,
    trace, pending)
SELECT g.rowid, g.key, c.id, i.id, i.key, i.scenario, i.kind, g.repeat, g.status, g.trace,
    NOT EXISTS (SELECT 1 FROM store.judgements j WHERE j.generation = g.key)
FROM store.generations g JOIN store.items i ON i.key = g.item JOIN cells c ON c.key = g.cell
WHERE g.rowid {which}
"""
_LEVEL: Final = """CASE WHEN {part}.score IS NULL THEN NULL WHEN {part}.score >= strict THEN 2
    WHEN {part}.score >= lenient THEN 1 ELSE 0 END"""
_LEVELS: Final = f"""
INSERT OR REPLACE INTO levels
SELECT judges.id, s.id, {", ".join(_LEVEL.format(part=f"v_{part}") for part in PARTS)}
FROM samples s JOIN store.judgements j ON j.generation = s.key
JOIN judges ON judges.key = j.judge
{" ".join(f'LEFT JOIN store.verdicts v_{part} ON v_{part}.key = j."{part}"' for part in PARTS)}
WHERE s.id {{which}}
"""
_DISPUTES: Final = " OR ".join(f'min("{part}" > 0) < max("{part}" > 0)' for part in PARTS)
_DISPUTED: Final = f"""
UPDATE samples SET disputed = 1 WHERE id IN (
    SELECT sample FROM levels WHERE sample {{which}} GROUP BY sample HAVING {_DISPUTES})
"""


class Seen(NamedTuple):
    """How much of a store the copy has: it changes whenever the store does."""

    generations: int
    judgements: int
    components: int
    labels: int
    version: int


class Index:
    """The copy of one store. Its methods may be called from several threads."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._lock = threading.Lock()
        self._local = threading.local()
        self._readers: list[sqlite3.Connection] = []
        self._seen: Seen | None = None
        self._looked = 0.0
        self._path = store / NAME
        self._stopped = threading.Event()
        self._indexing: threading.Thread | None = None
        with Store.open(store):  # says what is wrong with it
            pass
        try:
            self._writer = self._begin()
        except (sqlite3.Error, OSError):  # a store that only others may write
            self._temporary = tempfile.TemporaryDirectory(prefix="safemlrm-view-")
            self._path = Path(self._temporary.name) / NAME
            self._writer = self._begin()

    def close(self) -> None:
        """Stop indexing words, and remove what was temporary."""
        self._stopped.set()
        if self._indexing is not None:
            self._indexing.join()
        for connection in (*self._readers, self._writer):
            connection.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give a connection for this thread: the copy, with the store beside it as ``store``."""
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect()
            self._readers.append(connection)
        yield connection

    def refresh(self) -> Seen:
        """Bring the copy up to date, once a second at most; return how much of the store it has."""
        with self._lock:
            if self._seen is None or time.monotonic() - self._looked > _LOOK_EVERY:
                seen = _seen(self._writer)
                if seen != self._seen:
                    with self._writer:
                        self._writer.execute("BEGIN IMMEDIATE")
                        self._update(self._writer)
                    self._seen = seen
                self._looked = time.monotonic()
            return self._seen

    def index_words(self) -> float:
        """Start to index the words of all texts where that is not done; return the share done."""
        with self._lock:
            done = _words_done(self._writer)
            last = self._writer.execute("SELECT ifnull(max(id), 0) FROM samples").fetchone()[0]
            if done < last and (self._indexing is None or not self._indexing.is_alive()):
                self._indexing = threading.Thread(target=self._index_words, daemon=True)
                self._indexing.start()
        return min(1.0, done / last) if last else 1.0

    def _index_words(self) -> None:
        while not self._stopped.is_set():
            with self._lock, self._writer:
                self._writer.execute("BEGIN IMMEDIATE")
                rows = self._writer.execute(
                    "SELECT id FROM samples WHERE id > (SELECT words FROM state) "
                    "ORDER BY id LIMIT ?",
                    (_WORDS_TOGETHER,),
                )
                ids = [row[0] for row in rows]
                if not ids:
                    return
                self._writer.execute(
                    "INSERT INTO words (rowid, question, reasoning, reply) "
                    "SELECT g.rowid, i.question, g.reasoning, g.text FROM store.generations g "
                    "JOIN store.items i ON i.key = g.item "
                    "WHERE g.rowid > (SELECT words FROM state) AND g.rowid <= ?",
                    (ids[-1],),
                )
                self._writer.execute("UPDATE state SET words = ?", (ids[-1],))

    def _begin(self) -> sqlite3.Connection:
        """Make the copy, or take the one that is there if it is of this store and version."""
        if self._path.exists():
            connection = self._connect()
            try:
                if _is_of_this_store(connection):
                    return connection
            except sqlite3.Error:
                pass  # not ours, or not whole: it is made again
            connection.close()
            for end in ("", "-wal", "-shm"):
                self._path.with_name(NAME + end).unlink(missing_ok=True)
        self._path.touch(mode=0o600)
        connection = self._connect()
        connection.executescript(
            f"BEGIN;{_CREATE}CREATE TABLE state (version INTEGER, words INTEGER);"
            f"INSERT INTO state VALUES ({_VERSION}, 0);COMMIT;"
        )
        return connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path.absolute().as_uri(),
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=30,
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")  # it can be made again
        connection.execute("ATTACH ? AS store", (address(self.store / DATABASE),))
        connection.set_authorizer(_read_the_store)
        return connection

    def _update(self, connection: sqlite3.Connection) -> None:
        """Take in what is new. In the caller's transaction."""
        self._update_names(connection)
        last = connection.execute("SELECT ifnull(max(id), 0) FROM samples").fetchone()[0]
        pending = [row[0] for row in connection.execute("SELECT id FROM samples WHERE pending")]
        for which in (f"> {last}", *_lists(pending)):
            connection.execute(_SAMPLES.format(which=which))
            connection.execute(_LEVELS.format(which=which))
            connection.execute(_DISPUTED.format(which=which))
        judged, copied = (
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("store.judgements", "levels")
        )
        if judged != copied:  # another judge has come to samples that had one
            connection.execute("DELETE FROM levels")
            connection.execute(_LEVELS.format(which="> 0"))
            connection.execute(_DISPUTED.format(which="> 0"))
        connection.execute("UPDATE samples SET labelled = 0 WHERE labelled")
        connection.execute(
            "UPDATE samples SET labelled = 1 WHERE key IN (SELECT generation FROM store.labels)"
        )

    def _update_names(self, connection: sqlite3.Connection) -> None:
        columns = ("model", "dataset", "attack", "defense", "sampling", "simulated")
        with Store.open(self.store) as store:
            cells = named_cells(store).select("cell_id", *columns).rows()
            judges = named_judges(store).select(
                "judge_id", "judge", "threshold_lenient", "threshold_strict"
            )
        connection.executemany(
            f"INSERT INTO cells (key, {', '.join(columns)}) VALUES (?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (key) DO UPDATE SET "
            + ", ".join(f"{name} = excluded.{name}" for name in columns),
            cells,
        )
        connection.executemany(
            "INSERT INTO judges (key, label, lenient, strict) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (key) DO UPDATE SET label = excluded.label",
            judges.rows(),
        )


def _read_the_store(action: int, _: object, __: object, database: str | None, ___: object) -> int:
    """Let no statement change the store that is attached."""
    changes = (sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE)
    denied = database == "store" and action in changes
    return sqlite3.SQLITE_DENY if denied else sqlite3.SQLITE_OK


def _lists(ids: list[int]) -> Iterator[str]:
    for start in range(0, len(ids), 10_000):
        yield f"IN ({', '.join(map(str, ids[start : start + 10_000]))})"


def _seen(connection: sqlite3.Connection) -> Seen:
    try:
        generations, judgements, components, labels = connection.execute(
            "SELECT (SELECT ifnull(max(rowid), 0) FROM store.generations), "
            "(SELECT count(*) FROM store.judgements), (SELECT count(*) FROM store.components), "
            "(SELECT count(*) FROM store.labels)"
        ).fetchone()
        version = connection.execute("PRAGMA store.data_version").fetchone()[0]
    except sqlite3.Error as error:
        raise StoreError(f"the store cannot be read: {error}") from error
    return Seen(generations, judgements, components, labels, version)


def _words_done(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT words FROM state").fetchone()[0])


def _is_of_this_store(connection: sqlite3.Connection) -> bool:
    """Whether the rows of the copy are those of the store: a vacuum may number them anew."""
    if connection.execute("SELECT version FROM state").fetchone()[0] != _VERSION:
        return False
    last = connection.execute("SELECT id, key FROM samples ORDER BY id DESC LIMIT 1").fetchone()
    if last is None:
        return True
    many = connection.execute("SELECT count(*) FROM samples").fetchone()[0]
    stored = connection.execute(
        "SELECT (SELECT key FROM store.generations WHERE rowid = ?), "
        "(SELECT count(*) FROM store.generations WHERE rowid <= ?)",
        (last[0], last[0]),
    ).fetchone()
    return bool(stored == (last[1], many))
