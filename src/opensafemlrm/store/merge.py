"""Bringing sinks and stores together in one store, each sample once."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import polars as pl

from opensafemlrm.errors import StoreError
from opensafemlrm.images import from_bytes
from opensafemlrm.store.database import Store, reading
from opensafemlrm.store.join import ORDER, UNITS, Join
from opensafemlrm.store.sink import Sink, is_sink
from opensafemlrm.store.sink_reader import UNREADABLE, SinkReader
from opensafemlrm.store.tables import TABLES, Table, Values
from opensafemlrm.types import PARTS

_BUCKET_BYTES: Final = 64 * 1024 * 1024
"""Parquet bytes that are brought into a store at once: memory does not grow with the sink."""
_TOGETHER: Final = 10_000


def load(sink: SinkReader, store: Store, *, judged_by: bytes | None = None) -> int:
    """Bring a sink's rows into ``store``, all of them or none; return how many samples.

    With ``judged_by``, the texts of replies that this judge is done with are left out: what a run
    looks up, and all that is needed to see what is missing. Raises StoreError.
    """
    samples = 0
    try:
        with store.transaction() as connection:
            join = Join(connection)
            for table in ORDER:
                for rows in _buckets(sink, table, judged_by):
                    samples += rows.height if table.name == "generations" else 0
                    for some in rows.iter_slices(_at_once(table) or max(1, rows.height)):
                        join.put(table, some.rows())
    except UNREADABLE as error:
        raise StoreError(f"{sink.address}: the sink cannot be read: {error}") from error
    return samples


def merge(sources: Sequence[Path | str], store: Store) -> int:
    """Bring sinks and stores together in ``store``; return how many samples were read.

    Which of them comes first changes nothing, and neither does doing it again
    (:mod:`opensafemlrm.store.join`). Each source is brought in whole, or not at all. Raises
    StoreError.
    """
    samples = 0
    for source in sources:
        if is_sink(source):
            sink = SinkReader(Sink(source))
            _copy_images(sink, store)
            samples += load(sink, store)
        elif Path(source).resolve() == store.path.resolve():
            raise StoreError(f"{source}: this is the store to merge into; leave it out")
        else:
            with Store.open(Path(source)) as other:
                samples += _load_store(other, store)
    return samples


def _at_once(table: Table) -> int | None:
    """Return how many rows are brought in at once; all where some of them stay together."""
    return None if table.name in UNITS else _TOGETHER


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
    if table.name == "traces":  # the others are in the rows of their replies
        replies = sink.table("generations", within).select("key")
        rows = rows.join(replies, on="key", how="anti")
    if table.name == "generations" and judged_by is not None:
        unscored = sink.table("verdicts").filter(pl.col("score").is_null()).select("key")
        done = sink.table("judgements", within).filter(pl.col("judge") == judged_by)
        for part in PARTS:  # a text without a score may be judged again
            done = done.join(unscored, left_on=part.value, right_on="key", how="anti")
        done = done.select(pl.col("generation").alias("key"), done=pl.lit(value=True))
        over = pl.col("done").fill_null(value=False) | ~pl.col("status").is_in(["ok", "truncated"])
        rows = rows.join(done, on="key", how="left", maintain_order="left").with_columns(
            text=pl.when(over).then(pl.lit("")).otherwise(pl.col("text")),
            reasoning=pl.when(over).then(None).otherwise(pl.col("reasoning")),
        )
    return rows.select(list(table.columns)).collect()


def _copy_images(sink: SinkReader, store: Store) -> None:
    of_images = {"sha256": pl.String(), "media_type": pl.String()}
    for sha256, media_type in sink.query("SELECT sha256, media_type FROM images", of_images).rows():
        if not store.image_path(sha256, media_type).exists():
            store.put_image(from_bytes(sink.sink.image(sha256, media_type)))


def _load_store(other: Store, store: Store) -> int:
    """Bring another store's rows in; its images with them."""
    samples = 0
    with reading():
        other.connection.execute("BEGIN")  # all tables as they are now, if a run writes meanwhile
    for sha256, media_type, width, height in _rows(other, TABLES["images"]):
        record = {"sha256": sha256, "media_type": media_type, "width": width, "height": height}
        store.put_image(other.image(record))
    with store.transaction() as connection:
        join = Join(connection)
        for table in ORDER:
            if table.updates:  # stores hold what it came to
                continue
            rows = _rows(other, table)
            while some := list(itertools.islice(rows, _at_once(table))):
                samples += len(some) if table.name == "generations" else 0
                join.put(table, some)
    return samples


def _rows(other: Store, table: Table) -> Iterator[Values]:
    try:
        yield from other.connection.execute(f"{table.select()} ORDER BY {', '.join(table.key)}")
    except sqlite3.Error as error:
        raise StoreError(f"{other.path}: the store cannot be read: {error}") from error
