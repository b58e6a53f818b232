"""A copy of what people filter samples by, beside the store, kept up to date with it.

A store is made for writing: to find the samples of one model in it takes a walk over five tables.
The copy is a database of its own, ``view.sqlite``, which can be deleted at any time. It holds no
text. Samples that no filter tells apart share a row of ``facets``, which counts them: a store of a
million samples has some ten thousand such rows, and what is counted is counted over them alone.
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
from opensafemlrm.store.named import named_cells, named_judges
from opensafemlrm.types import PARTS, Part
from opensafemlrm.view.databases import Words, begun, connected, go_on_after, last_of

NAME: Final = "view.sqlite"
_VERSION: Final = 3
_LOOK_EVERY: Final = 1.0
"""Seconds between two looks at the store, at least."""
_PAUSE: Final = 10
"""How many times as long as the last look took the next one waits."""
_TOGETHER: Final = 20_000
"""Samples that are taken in at once."""

FACETS: Final = (
    *("judge", "cell", "scenario", "expected", "status", "trace"),
    *("unjudged", "disputed", "labelled", "refused", "understood"),
    *PARTS,
    *(f"{part}_score" for part in PARTS),
)
"""What tells samples apart, for one judge: 0 where the store has none. The parts' levels are 0
safe, 1 unsafe, 2 unsafe at the strict threshold, -1 without a score; so are flags: 0, 1 or -1."""
_DIMENSIONS: Final = ", ".join(f'"{name}"' for name in FACETS)
_SCORE_STEPS: Final = 20
"""Scores are told apart in as many steps of their scale."""

_CREATE: Final = f"""
CREATE TABLE cells (id INTEGER PRIMARY KEY, key BLOB UNIQUE, model, dataset, attack, defense,
    sampling, simulated INTEGER);
CREATE TABLE judges (id INTEGER PRIMARY KEY, key BLOB UNIQUE, label, lenient REAL, strict REAL,
    low REAL, high REAL,
    scored INTEGER DEFAULT 0);
CREATE TABLE samples (id INTEGER PRIMARY KEY, key BLOB, cell INTEGER, item TEXT, item_key BLOB,
    repeat INTEGER, judged INTEGER, open INTEGER DEFAULT 0);
CREATE UNIQUE INDEX samples_by_key ON samples (key);
CREATE INDEX samples_by_item ON samples (item_key, cell, repeat);
CREATE INDEX samples_by_item_name ON samples (item);
CREATE INDEX samples_open ON samples (id) WHERE open;
CREATE TABLE facets (id INTEGER PRIMARY KEY, n INTEGER DEFAULT 0, {_DIMENSIONS},
    UNIQUE ({_DIMENSIONS}));
CREATE TABLE placed (judge INTEGER, sample INTEGER, facet INTEGER, PRIMARY KEY (sample, judge))
    WITHOUT ROWID;
CREATE INDEX placed_by_facet ON placed (facet, sample);
"""
_SAMPLES: Final = """
INSERT OR REPLACE INTO samples (id, key, cell, item, item_key, repeat, judged)
SELECT g.rowid, g.key, c.id, i.id, i.key, g.repeat,
    (SELECT count(*) FROM store.judgements m WHERE m.generation = g.key)
FROM temp.changed JOIN store.generations g ON g.rowid = changed.id
JOIN store.items i ON i.key = g.item JOIN cells c ON c.key = g.cell
"""
_WHOLE: Final = {
    **dict.fromkeys(PARTS, "g.status <> 'truncated'"),
    # Reasoning that ended before the cut is whole: it is closed, or an answer follows it.
    Part.REASONING: "(g.status <> 'truncated' OR g.trace = 'closed' OR m.answer IS NOT NULL)",
}
"""Which parts have a score: what was cut has none, whatever a judge said of it."""
_SCORE: Final = {
    part: f"CASE WHEN {whole} THEN v_{part}.score END" for part, whole in _WHOLE.items()
}


def _step(score: str) -> str:
    """Return a score as the nearest of the steps of its scale."""
    part = f"(high - low) / {_SCORE_STEPS}"
    return f"ifnull(round(({score} - low) / nullif({part}, 0)) * {part} + low, '')"


def _level(score: str) -> str:
    return (
        f"CASE WHEN {score} IS NULL THEN -1 WHEN {score} >= strict THEN 2 "
        f"WHEN {score} >= lenient THEN 1 ELSE 0 END"
    )


_FRESH: Final = f"""
INSERT INTO temp.fresh
SELECT s.id, ifnull(j.id, 0), s.cell, i.scenario, i.kind, g.status, ifnull(g.trace, ''),
    s.judged = 0, 0,
    EXISTS (SELECT 1 FROM store.labels l WHERE l.generation = s.key),
    CASE WHEN {_WHOLE[Part.ANSWER]} THEN ifnull(v_answer.refusal, -1) ELSE -1 END,
    CASE WHEN {_WHOLE[Part.ANSWER]} THEN ifnull(v_answer.understood, -1) ELSE -1 END,
    {", ".join(_level(_SCORE[part]) for part in PARTS)},
    {", ".join(_step(_SCORE[part]) for part in PARTS)}
FROM temp.changed JOIN samples s ON s.id = changed.id JOIN store.generations g ON g.rowid = s.id
JOIN store.items i ON i.key = g.item LEFT JOIN judges j
LEFT JOIN store.judgements m ON m.generation = s.key AND m.judge = j.key
{" ".join(f'LEFT JOIN store.verdicts v_{part} ON v_{part}.key = m."{part}"' for part in PARTS)}
"""
_SPLIT: Final = " OR ".join(
    f'count(DISTINCT CASE WHEN "{part}" >= 0 THEN "{part}" > 0 END) > 1' for part in PARTS
)
_DISPUTED: Final = f"""
UPDATE temp.fresh SET disputed = 1 WHERE sample IN (
    SELECT sample FROM temp.fresh GROUP BY sample HAVING {_SPLIT})
"""
_OPEN: Final = f"""
UPDATE samples SET open = 1
WHERE id IN (SELECT sample FROM temp.fresh WHERE unjudged AND status <> 'blocked') OR id IN (
    SELECT s.id FROM temp.changed JOIN samples s ON s.id = changed.id
    JOIN store.judgements m ON m.generation = s.key
    JOIN store.verdicts v ON v.key IN ({", ".join(f'm."{part}"' for part in PARTS)})
    WHERE v.score IS NULL AND v.reason LIKE 'judge_%')
"""
_MORE_JUDGED: Final = """
SELECT s.id FROM (SELECT generation, count(*) AS n FROM store.judgements GROUP BY generation) j
JOIN samples s ON s.key = j.generation WHERE s.judged <> j.n
"""
"""Samples that another judge has come to."""
_LABELLED: Final = (
    "SELECT s.id FROM store.labels l JOIN samples s ON s.key = l.generation",
    "SELECT p.sample FROM facets f JOIN placed p ON p.facet = f.id WHERE f.labelled",
)
"""Samples that have a label, and those that the copy has as such."""
_SCORED: Final = " OR ".join(f'"{part}" >= 0' for part in PARTS)
_SAME: Final = " AND ".join(f'f."{name}" = temp.fresh."{name}"' for name in FACETS)
_PLACE: Final = (
    # The row of a sample in place of the one that it had.
    "UPDATE facets SET n = facets.n - gone.n FROM (SELECT facet, count(*) AS n FROM placed "
    "WHERE sample IN (SELECT id FROM temp.changed) GROUP BY facet) gone WHERE gone.facet = id",
    "DELETE FROM placed WHERE sample IN (SELECT id FROM temp.changed)",
    f"INSERT OR IGNORE INTO facets ({_DIMENSIONS}) SELECT DISTINCT {_DIMENSIONS} FROM temp.fresh",
    "INSERT INTO placed SELECT temp.fresh.judge, sample, f.id FROM temp.fresh "
    f"JOIN facets f ON {_SAME}",
    "UPDATE facets SET n = facets.n + new.n FROM (SELECT facet, count(*) AS n FROM placed "
    "WHERE sample IN (SELECT id FROM temp.changed) GROUP BY facet) new WHERE new.facet = id",
)


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
        self._look_at = 0.0
        self._version = -1
        folder = store
        with Store.open(store):  # says what is wrong with it
            pass
        try:
            self._writer = begun(folder / NAME, store, _CREATE, _VERSION)
        except (sqlite3.Error, OSError):  # a store that only others may write
            self._temporary = tempfile.TemporaryDirectory(prefix="safemlrm-view-")
            folder = Path(self._temporary.name)
            self._writer = begun(folder / NAME, store, _CREATE, _VERSION)
        self._writer.execute("CREATE TEMP TABLE changed (id INTEGER PRIMARY KEY)")
        self._writer.execute(f"CREATE TEMP TABLE fresh (sample INTEGER, {_DIMENSIONS})")
        self._path = folder / NAME
        self.words = Words(store, folder)

    def close(self) -> None:
        """Stop indexing words, and remove what was temporary."""
        self.words.close()
        for connection in (*self._readers, self._writer):
            connection.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give a connection for this thread: the copy, with the store beside it as ``store``.

        The index of words is there as ``words.words``, from the first search on.
        """
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = connected(self._path, self.store)
            self._readers.append(connection)
        self.words.attach_to(connection)
        yield connection

    def refresh(self) -> Seen:
        """Bring the copy up to date, and return how much of the store it has.

        It looks once a second at most, less often where a look takes long: what came meanwhile is
        there at a later look.
        """
        with self._lock:
            started = time.monotonic()
            if self._seen is None or started > self._look_at:
                version = self._writer.execute("PRAGMA store.data_version").fetchone()[0]
                if self._seen is None or version != self._version:
                    self._seen = self._look()
                    self._version = version
                took = time.monotonic() - started
                self._look_at = started + took + max(_LOOK_EVERY, _PAUSE * took)
            return self._seen

    def _look(self) -> Seen:
        seen = _seen(self._writer)
        with self._writing():
            self._update_names()
        open_ones = self._ids("SELECT id FROM samples WHERE open")
        self._take_in_new()
        self._take_in(open_ones)
        labelled, known = (set(self._ids(query)) for query in _LABELLED)
        self._take_in(sorted(labelled ^ known))
        if self._ids("SELECT ifnull(sum(judged), 0) FROM samples") != [seen.judgements]:
            self._take_in(self._ids(_MORE_JUDGED))
        with self._writing():
            self._writer.execute("DELETE FROM facets WHERE n = 0")
            self._writer.execute(
                "UPDATE judges SET scored = "
                f"(SELECT ifnull(sum(n), 0) FROM facets WHERE judge = judges.id AND ({_SCORED}))"
            )
        return seen

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._writer:
            self._writer.execute("BEGIN IMMEDIATE")
            yield

    def _ids(self, query: str, *values: int) -> list[int]:
        return [row[0] for row in self._writer.execute(query, values)]

    def _take_in_new(self) -> None:
        """Take in the replies that came since, in the order in which they came."""
        while ids := self._ids(
            "SELECT rowid FROM store.generations WHERE rowid > ? ORDER BY rowid LIMIT ?",
            last_of(self._writer),
            _TOGETHER,
        ):
            self._take_in(ids, new=True)

    def _take_in(self, ids: list[int], *, new: bool = False) -> None:
        """Take in samples as the store has them now, in place of what the copy had of them."""
        for start in range(0, len(ids), _TOGETHER):
            some = ids[start : start + _TOGETHER]
            with self._writing():
                execute = self._writer.execute
                execute("DELETE FROM temp.changed")
                execute("DELETE FROM temp.fresh")
                self._writer.executemany("INSERT INTO temp.changed VALUES (?)", zip(some))
                execute(_SAMPLES)
                execute(_FRESH)
                execute(_DISPUTED)
                execute(_OPEN)
                for statement in _PLACE:
                    execute(statement)
                if new:
                    go_on_after(self._writer, some[-1])

    def _update_names(self) -> None:
        """Take the names of cells and judges. With another judge, all samples are taken in anew."""
        columns = ("model", "dataset", "attack", "defense", "sampling", "simulated")
        with Store.open(self.store) as store:
            cells = named_cells(store).select("cell_id", *columns).rows()
            judges = named_judges(store).select(
                "judge_id", "judge", "threshold_lenient", "threshold_strict"
            )
        self._writer.executemany(
            f"INSERT INTO cells (key, {', '.join(columns)}) VALUES (?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (key) DO UPDATE SET "
            + ", ".join(f"{name} = excluded.{name}" for name in columns),
            cells,
        )
        before = self._ids("SELECT count(*) FROM judges")
        self._writer.executemany(
            "INSERT INTO judges (key, label, lenient, strict) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (key) DO UPDATE SET label = excluded.label",
            judges.rows(),
        )
        if self._ids("SELECT count(*) FROM judges") != before:
            for end, name in enumerate(("low", "high")):
                self._writer.execute(
                    f"UPDATE judges SET {name} = (SELECT json_extract(c.facts, '$.scale[{end}]') "
                    "FROM store.components c WHERE c.key = judges.key)"
                )
            for table in ("samples", "facets", "placed"):
                self._writer.execute(f"DELETE FROM {table}")
            go_on_after(self._writer, 0)


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
