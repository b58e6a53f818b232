"""Bringing sinks and stores together in one store, each sample once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl

from opensafemlrm.errors import StoreError
from opensafemlrm.images import from_bytes
from opensafemlrm.store import schema
from opensafemlrm.store.database import Store, rows_with_keys
from opensafemlrm.store.sink import Sink, is_sink
from opensafemlrm.store.sink_reader import SinkReader
from opensafemlrm.store.tables import RUNS, SAMPLE_TABLES, STUDY_TABLES, Table

_BUCKET_BYTES: Final = 64 * 1024 * 1024
"""Parquet bytes that are brought into a store at once: memory does not grow with the sink."""
_TOGETHER: Final = 10_000
_OF_A_REPLY: Final = ("calls", "traces", "judgements")
"""Tables whose rows are about the text of one reply."""


def load(sink: SinkReader, store: Store, *, judged_by: bytes | None = None) -> int:
    """Bring a sink's rows into ``store``, in the order of their keys; return how many samples.

    With ``judged_by``, the texts of replies that this judge is done with are left out: what a run
    looks up, and all that is needed to see what is missing. Raises StoreError.
    """
    samples = 0
    receiver = _Receiver(store)
    try:
        for table in (*STUDY_TABLES, RUNS, *SAMPLE_TABLES):
            for rows in _buckets(sink, table, judged_by):
                samples += rows.height if table.name == "generations" else 0
                for some in rows.iter_slices(_TOGETHER):
                    receiver.put(table, some.rows())
    except (pl.exceptions.PolarsError, OSError) as error:
        raise StoreError(f"{sink.address}: the sink cannot be read: {error}") from error
    return samples


def merge(sources: Sequence[Path | str], store: Store) -> int:
    """Bring sinks and stores together in ``store``; return how many samples were read.

    Doing it again changes nothing. Rows come in the order of their keys, so that the same contents
    give the same tables whoever wrote them, and in whichever parts. Raises StoreError.
    """
    samples = 0
    for source in sources:
        if is_sink(source):
            sink = SinkReader(Sink(source))
            _copy_images(sink, store)
            samples += load(sink, store)
        else:
            with Store.open(Path(source)) as other:
                samples += _load_store(other, store)
    return samples


def _buckets(sink: SinkReader, table: Table, judged_by: bytes | None) -> Iterator[pl.DataFrame]:
    """Yield a table's rows in the order of their keys, some of them at a time."""
    number = min(256, 1 + sink.size(table.name) // _BUCKET_BYTES)
    if number == 1 or table.columns[table.key[0]] != "key":
        yield _select(sink, table, None, judged_by)
        return
    for index in range(number):
        low = index * 256 // number
        high = (index + 1) * 256 // number
        within = (bytes([low]), None if high == 256 else bytes([high]))
        yield _select(sink, table, within, judged_by)


def _select(
    sink: SinkReader,
    table: Table,
    within: tuple[bytes, bytes | None] | None,
    judged_by: bytes | None,
) -> pl.DataFrame:
    rows = sink.table(table.name, within)
    if table.name == "generations" and judged_by is not None:
        done = (
            sink.table("judgements", within)
            .filter(pl.col("judge") == judged_by)
            .select(pl.col("generation").alias("key"), done=pl.lit(value=True))
        )
        over = pl.col("done").fill_null(value=False) | (pl.col("status") != "ok")
        rows = rows.join(done, on="key", how="left", maintain_order="left").with_columns(
            text=pl.when(over).then(pl.lit("")).otherwise(pl.col("text")),
            reasoning=pl.when(over).then(None).otherwise(pl.col("reasoning")),
        )
    return rows.select(list(table.columns)).collect()


class _Receiver:
    """Puts the rows of one source into a store.

    Where the store has a sample already, and with another text, the store's own stays: then the
    source's verdicts and calls, which are about its text, are left out.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._other: set[bytes] = set()

    def put(self, table: Table, rows: list[tuple[Any, ...]]) -> None:
        with self.store.transaction() as connection:
            if table.name == "generations":
                self._compare(connection, table, rows)
            elif table.name in _OF_A_REPLY and self._other:
                at = list(table.columns).index(table.key[0])
                rows = [row for row in rows if row[at] not in self._other]
            elif table.name == "runs":
                rows = [row for row in rows if not _has_run(connection, row)]
            connection.executemany(table.insert, rows)

    def _compare(
        self, connection: sqlite3.Connection, table: Table, rows: list[tuple[Any, ...]]
    ) -> None:
        text, reasoning = (list(table.columns).index(name) for name in ("text", "reasoning"))
        new = {row[0]: (row[text], row[reasoning]) for row in rows}
        query = "SELECT key, text, reasoning FROM generations WHERE NOT transient AND key IN (KEYS)"
        for key, *old in rows_with_keys(connection, query, list(new)):
            if tuple(old) != new[key]:
                self._other.add(key)


def _has_run(connection: sqlite3.Connection, row: tuple[Any, ...]) -> bool:
    query = "SELECT 1 FROM runs WHERE started = ? AND study = ?"
    return connection.execute(query, (row[0], row[2])).fetchone() is not None


def _copy_images(sink: SinkReader, store: Store) -> None:
    for sha256, media_type in sink.table("images").select("sha256", "media_type").collect().rows():
        if not store.image_path(sha256, media_type).exists():
            store.put_image(from_bytes(sink.sink.image(sha256, media_type)))


def _load_store(other: Store, store: Store) -> int:
    """Bring another store's rows in; its images with them."""
    samples = 0
    receiver = _Receiver(store)
    for table in (*STUDY_TABLES, RUNS, *SAMPLE_TABLES):
        if table.name == "traces":  # an update; stores hold what it came to
            continue
        order = ", ".join(table.key)
        try:
            cursor = other.connection.execute(f"{table.select()} ORDER BY {order}")
            while some := cursor.fetchmany(_TOGETHER):
                samples += len(some) if table.name == "generations" else 0
                receiver.put(table, some)
                if table.name == "images":
                    for sha256, media_type, width, height in some:
                        record = {"sha256": sha256, "media_type": media_type}
                        store.put_image(other.image({**record, "width": width, "height": height}))
        except schema.UNWRITABLE as error:
            raise StoreError(f"{other.path}: the store cannot be read: {error}") from error
    return samples
