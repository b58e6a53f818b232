"""The store as an object: opening, registering, and finding what is there already."""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from opensafemlrm.errors import StoreError
from opensafemlrm.files import make_folder, write_atomic
from opensafemlrm.redaction import without_keys_in_comments
from opensafemlrm.store import records, schema
from opensafemlrm.store.connecting import DATABASE, connect, require_store
from opensafemlrm.store.tables import RUNS, TABLES, Row, Rows, Values
from opensafemlrm.types import Image, Key, Sampling, content_key

if TYPE_CHECKING:
    import polars as pl
    from filelock import FileLock

EXTENSIONS: Final = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "image/gif": "gif",
}
_MAX_PARAMETERS: Final = 500
_TOGETHER: Final = 2000
"""Rows held as Python's own values on their way into a frame: more take more CPU, and memory."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a study's matrix, by the keys of its components."""

    dataset: Key
    attack: Key
    defense: Key
    model: Key
    sampling: Sampling

    @property
    def key(self) -> Key:
        """The content key of the cell."""
        return content_key(
            self.dataset, self.attack, self.defense, self.model, asdict(self.sampling)
        )


class Store:
    """A folder with a database and images. Use :meth:`open`; close it, or use it with ``with``."""

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: FileLock | None) -> None:
        self.path = path
        self.connection = connection
        self.everything = False
        self._lock = lock

    @classmethod
    def open(cls, path: Path | str, mode: Literal["create", "write", "read"] = "read") -> Self:
        """Open the store at ``path``: to read it, or to write it.

        ``create`` makes one where there is none, ``write`` does not.

        Only one process writes at a time. A store of an older version is brought to the current
        one when it is opened to write, after a copy of its database is put beside it. Raises
        StoreError if there is no store, if another run is writing to it, or if it cannot be read;
        StoreVersionError if it is too new.
        """
        path = Path(path)
        database = path / DATABASE
        if mode == "read":
            require_store(path)
            return cls(path, connect(database, write=False), None)
        lock = lock_to_write(path, existing=mode == "write")
        try:
            return cls(path, connect(database, write=True), lock)
        except StoreError:
            lock.release()
            raise

    def close(self) -> None:
        """Close the database and let others write. May be called twice."""
        self.connection.close()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def reader(self) -> sqlite3.Connection:
        """Return a second connection that only reads, for use in another thread."""
        return connect(self.path / DATABASE, write=False)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Everything in the block is written, or nothing is."""
        try:
            with self.connection:
                self.connection.execute("BEGIN IMMEDIATE")
                yield self.connection
        except schema.UNWRITABLE as error:
            raise StoreError(f"{self.path}: the store cannot be written: {error}") from error

    @property
    def address(self) -> str:
        """Where it is, as people write it."""
        return str(self.path)

    def query(self, sql: str, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
        """Return what a query gives, as the columns of ``schema``. Raises StoreError."""
        import polars as pl  # noqa: PLC0415 # a run needs no frames

        chunks = [pl.DataFrame(schema=schema)]
        with reading():
            rows = self.connection.execute(sql)
            while some := rows.fetchmany(_TOGETHER):
                columns = zip(schema.items(), zip(*some, strict=True), strict=True)
                series = [_series(name, values, dtype) for (name, dtype), values in columns]
                chunks.append(pl.DataFrame(series))
        return pl.concat(chunks, rechunk=True)

    def put(self, rows: Iterable[Row]) -> None:
        """Put rows into their tables: all of them, or none. Raises StoreError."""
        by_table: Rows = {}
        for table, values in rows:
            by_table.setdefault(table, []).append(values)
        with self.joined() as connection:
            for table, many in by_table.items():
                connection.executemany(TABLES[table].insert, many)

    # Registering what a study is made of.

    def put_component(self, kind: str, component: Any) -> Key:
        """Register a dataset, attack, defense, model or judge and return its key."""
        facts = {}
        if kind == "judge":
            facts = {"thresholds": list(component.thresholds), "scale": list(component.scale)}
        return self.put_identity(kind, component.label, component.identity(), facts)

    def put_identity(
        self,
        kind: str,
        label: str,
        identity: Mapping[str, Any],
        facts: Mapping[str, Any] | None = None,
    ) -> Key:
        """Register a component that is known by its identity alone, as imports are.

        A judge's ``facts`` hold its ``thresholds`` (lenient first) and its ``scale``.
        """
        key = component_key(kind, identity)
        row = (key, kind, records.storable(label), _json(identity), _json(facts or {}))
        self.put([("components", row)])
        return key

    def has_scores(self, judge: Key) -> bool:
        """Whether a model that the judge asked ever gave a score."""
        query = "SELECT 1 FROM verdicts WHERE judge = ? AND score IS NOT NULL AND requests > 0"
        with reading():
            return self.connection.execute(f"{query} LIMIT 1", (judge,)).fetchone() is not None

    def reopen_verdicts(self, judge: Key) -> None:
        """Let the texts be judged again that a judge which never gave a score left without one.

        It was stopped: what it said is no verdict, and may be the fault of a server.
        """
        if not self.has_scores(judge):
            with self.joined() as connection:
                connection.execute(
                    "UPDATE verdicts SET reason = 'judge_failed' WHERE judge = ? AND reason IN "
                    "('judge_refused', 'judge_truncated', 'unparsed')",
                    (judge,),
                )

    def put_cell(self, cell: Cell) -> Key:
        """Register a cell and return its key."""
        parts = (cell.dataset, cell.attack, cell.defense, cell.model)
        self.put([("cells", (cell.key, *parts, json.dumps(asdict(cell.sampling))))])
        return cell.key

    def put_pair(self, reasoner: Key, base: Key) -> None:
        """Register that ``reasoner`` was trained from ``base``, and not the other way round."""
        with self.joined() as connection:
            connection.execute(
                "DELETE FROM pairs WHERE (base, reasoner) = (?, ?)", (reasoner, base)
            )
            self.put([("pairs", (reasoner, base))])

    def put_series(
        self, name: str, versions: Sequence[tuple[Key, float | None, str | None]]
    ) -> None:
        """Note the versions of a series in their order: model, step and date of each.

        Versions that have steps, or dates, come among those that earlier runs noted. Where their
        place alone orders them, or the other of the two did, what was there goes.
        """
        name, (_, step, date) = records.storable(name), versions[0]
        ordering = "step" if step is not None else "date" if date is not None else "NULL"
        noted = f"SELECT model, step, date FROM series WHERE name = ? AND {ordering} NOT NULL"
        with self.joined() as connection:
            rows = {row[0]: row for row in (*connection.execute(noted, (name,)), *versions)}
            connection.execute("DELETE FROM series WHERE name = ?", (name,))
            ordered = enumerate(sorted(rows.values(), key=lambda row: (row[1] or 0, row[2] or "")))
            self.put(("series", (name, row[0], place, *row[1:])) for place, row in ordered)

    def put_reading(
        self, dataset: Key, places: Sequence[Path], items: bytes, address: str | None = None
    ) -> None:
        """Note what a data set holds, read whole: the sorted keys of its items.

        ``places`` are where it lies. A file of the same name may be another one elsewhere, so this
        machine and the store (``address``, where its rows go on to another place) count too.
        """
        where = [platform.node(), address or str(self.path.resolve())]
        source = content_key(*where, [str(place.resolve()) for place in places])
        row = (dataset, source, content_key(items), items, time.time())
        self.put([("readings", row)])

    def put_counts(
        self, cell: Key, judge: Key, scenario: str, rows: Iterable[tuple[str, float | None, int]]
    ) -> None:
        """Put an imported histogram: (part, score or None, how many). It replaces an earlier one;
        the same one again changes nothing."""
        put, place = list(rows), (cell, judge, scenario)
        where = "WHERE cell = ? AND judge = ? AND scenario = ?"
        with self.joined() as connection:
            known = connection.execute(f"SELECT part, score, n FROM counts {where}", place)
            if set(known) != set(put):
                connection.execute(f"DELETE FROM counts {where}", place)
                now = time.time()
                self.put(("counts", (*place, *row, now)) for row in put)

    def start_run(self, study: str, environment: Mapping[str, Any]) -> int:
        """Note that a run began and return its number; what looks like a key is struck out."""
        study = records.storable(without_keys_in_comments(study))
        with self.joined() as connection:
            row = (time.time(), None, study, records.environment(environment))
            cursor = connection.execute(RUNS.insert, row)
        return int(cursor.lastrowid or 0)

    def note_of_run(self, run: int, environment: Mapping[str, Any]) -> None:
        """Note what became known of a run's environment while it ran."""
        with self.joined() as connection:
            row = (records.environment(environment), run)
            connection.execute("UPDATE runs SET environment = ? WHERE id = ?", row)

    def end_run(self, run: int) -> None:
        """Note that a run ended."""
        with self.joined() as connection:
            connection.execute("UPDATE runs SET ended = ? WHERE id = ?", (time.time(), run))

    def drop_unanswered(self, model: Key) -> None:
        """Drop what failed of a model of which nothing was ever answered: it is no result.

        What is left is as if it had never been tried, as with a wrong address or wrong options.
        """
        cells = "cell IN (SELECT key FROM cells WHERE model = ?)"
        with self.joined() as connection:
            query = f"SELECT 1 FROM generations WHERE {cells} AND status <> 'failed' LIMIT 1"
            if connection.execute(query, (model,)).fetchone():
                return
            replies = f"SELECT key FROM generations WHERE {cells}"
            connection.execute(f"DELETE FROM calls WHERE generation IN ({replies})", (model,))
            for table in ("generations", "inapplicable"):
                connection.execute(f"DELETE FROM {table} WHERE {cells}", (model,))

    @contextlib.contextmanager
    def joined(self) -> Iterator[sqlite3.Connection]:
        """Join the transaction that is open, or make one for the statements of the block."""
        if self.connection.in_transaction:
            yield self.connection
        else:
            with self.transaction() as connection:
                yield connection

    # Images.

    def put_image(self, image: Image) -> Image:
        """Keep an image's bytes in the store, once by content; return the image read from there."""
        target = self.image_path(image.sha256, image.media_type)
        if not target.exists():
            try:
                make_folder(target.parent)
                write_atomic(target, image.read())
            except OSError as error:
                raise StoreError(f"{target}: the image cannot be written: {error}") from error
        return Image(image.sha256, image.media_type, image.width, image.height, target)

    def image_path(self, sha256: str, media_type: str) -> Path:
        """Return where the image with that hash lies, or would lie."""
        if media_type not in EXTENSIONS:
            raise unfit("images", f"an image of the kind {media_type!r}")
        return self.path / "images" / sha256[:2] / f"{sha256}.{EXTENSIONS[media_type]}"

    def image_data(self, sha256: str, media_type: str) -> bytes:
        """Return the bytes of a stored image. Raises StoreError where they are not there."""
        path = self.image_path(sha256, media_type)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}") from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise StoreError(f"{path}: the picture is not what was written")
        return data

    def image(self, record: Mapping[str, Any]) -> Image:
        """Return the stored image of a record with sha256, media_type, width and height."""
        return Image(**record, source=self.image_path(record["sha256"], record["media_type"]))


def lock_to_write(path: Path, *, existing: bool) -> FileLock:
    """Let nobody else write to the store at ``path`` until the lock is released.

    Makes the folder, unless the store has to be ``existing``. Raises StoreError as Store.open does.
    """
    if existing:
        require_store(path)
    from filelock import FileLock, Timeout  # noqa: PLC0415 # loads asyncio, which no reader needs

    lock = FileLock(path / "lock", mode=0o600)
    try:
        make_folder(path)
        make_folder(path / "images")
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StoreError(
            f"{path}: another run is writing to this store; wait for it, or use another store"
        ) from error
    except NotImplementedError as error:  # filelock's, where the system has no locks for the file
        raise StoreError(
            f"{path}: files cannot be locked on this file system; put the store on another, such "
            "as a local disk"
        ) from error
    except OSError as error:
        raise StoreError(f"{path}: the store cannot be written: {error.strerror}") from error
    return lock


def component_key(kind: str, identity: Mapping[str, Any]) -> Key:
    """Return the key of a component: its kind and everything that changes its results."""
    return content_key(kind, dict(identity))


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True)


def _series(name: str, values: Sequence[Any], dtype: pl.DataType) -> pl.Series:
    import polars as pl  # noqa: PLC0415 # a run needs no frames

    series = pl.Series(name, values, dtype, strict=False)
    if series.null_count() != values.count(None):
        raise unfit(name, "a value of another type than its column's")
    if dtype == pl.Float64 and series.is_infinite().any():
        raise unfit(name, "an infinite number")
    return series


@contextlib.contextmanager
def reading() -> Iterator[None]:
    """Turn an error of the database in the block into a StoreError that says what to do."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise StoreError(
            f"the store cannot be read: {error}; `safemlrm store check` says what is wrong with it"
        ) from error


def unfit(table: str, why: str) -> StoreError:
    """Return the error for a row that no version of this project wrote as it is."""
    return StoreError(
        f"the store holds what cannot be ({table}: {why}); `safemlrm store check` finds all of it"
    )


@reading()
def rows_with_keys(
    connection: sqlite3.Connection, query: str, keys: Sequence[Key], *before: Key
) -> list[Values]:
    """Return the rows of ``query``, in which ``KEYS`` stands for some hundreds of ``keys``."""
    rows: list[Values] = []
    for start in range(0, len(keys), _MAX_PARAMETERS):
        some = keys[start : start + _MAX_PARAMETERS]
        marked = query.replace("KEYS", ", ".join("?" * len(some)))
        rows += connection.execute(marked, (*before, *some))
    return rows
