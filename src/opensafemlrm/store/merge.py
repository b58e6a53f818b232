"""Bringing sinks and stores together in one store, each sample once, whichever comes first.

Of two rows with the same key the one to be kept follows from what they hold, never from which was
there. A reply, how it is split, its verdicts and the requests behind it stay together: where two
stores hold different replies to one prompt, one is taken with all that is about it, by a hash of
what was said, which prefers no kind of reply. Where they hold the same reply, the newer split wins
with its judgements, and judgements of one split are united.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import polars as pl

from opensafemlrm.errors import StoreError
from opensafemlrm.images import from_bytes
from opensafemlrm.store.database import Store, reading, rows_with_keys
from opensafemlrm.store.sink import Sink, is_sink
from opensafemlrm.store.sink_reader import UNREADABLE, SinkReader
from opensafemlrm.store.tables import (
    LOCAL_TABLES,
    RUNS,
    SAMPLE_TABLES,
    STUDY_TABLES,
    TABLES,
    Table,
    Values,
)
from opensafemlrm.types import PARTS, Key, ResponseStatus, content_key

Row: TypeAlias = Mapping[str, Any]
"""A row by the names of its columns."""

_REPLY: Final = ("status", "transient", "text", "reasoning", "is_summary", "is_hidden")
"""What makes two replies the same; times and token counts are of the request."""
_SPLIT: Final = ("trace", "splitter")
_STATUS: Final = tuple(ResponseStatus)
"""From what is kept first."""
UNITS: Final = {
    "counts": ("cell", "judge", "scenario"),
    "stops": ("cell", "base", "judge", "scenario"),
    "calibrations": ("judge", "labels"),
    "labels": ("generation", "part", "labeller", "text"),
    "readings": ("dataset", "source", "digest"),
    "series": ("name",),
}
"""Tables of which rows with the same values of these columns stay together: the newest wins, and
where no time is noted the longest, which is what a series that grows becomes."""
_AFTER_REPLIES: Final = ("traces", "calls", "prompts", "judgements")
"""Tables of which a reply decides which rows are taken: they come after all replies."""
ORDER: Final = (
    *STUDY_TABLES,
    RUNS,
    *(table for table in SAMPLE_TABLES if table.name not in _AFTER_REPLIES),
    *(TABLES[name] for name in _AFTER_REPLIES),
    *LOCAL_TABLES,
)
"""Every table there is, in the order in which a source's rows are brought in."""


class Join:
    """Takes the rows of one source, table by table in the order of :data:`ORDER`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._own_requests: set[Key] = set()
        """Replies of which the store's own requests and prompts are kept, not the source's."""
        self._own_prompts: set[tuple[Key, Key, int]] = set()
        self._own_split: set[Key] = set()
        """Replies of which the store's own split is kept, and with it the store's judgements."""

    def put(self, table: Table, rows: list[Values]) -> None:
        """Bring some rows of a table in, in the transaction that is open."""
        named = _named(table, rows)
        if table.name == "generations":
            self._replies(table, named)
        elif table.name == "traces":
            self._splits(named)
        elif table.name == "runs":
            self._runs(named)
        elif table.name in UNITS:
            self._newest(table, UNITS[table.name], named)
        else:
            self._first(table, [row for row in named if not self._is_left_out(table, row)])

    def _is_left_out(self, table: Table, row: Row) -> bool:
        if table.name == "calls":
            return row["generation"] in self._own_requests
        if table.name == "judgements":
            return row["generation"] in self._own_split
        return table.name == "prompts" and _place(row, "attack") in self._own_prompts

    def _first(self, table: Table, rows: list[Row]) -> None:
        """Put rows of which any order will do, as long as it is the same everywhere."""
        stored = self._stored(table, rows)

        def before(row: Row) -> tuple[Any, ...]:
            if table.name == "verdicts":
                return row["score"] is None, _value_order(row["created"]), _order(row)
            return _order(row)

        taken = {}
        for row in rows:
            key = _key(table, row)
            if key not in stored or before(row) < before(stored[key]):
                stored[key] = taken[key] = row
        self._replace(table, taken.values())

    def _newest(self, table: Table, unit: tuple[str, ...], rows: list[Row]) -> None:
        ours = _grouped(unit, self._stored(table, rows).values())
        for place, theirs in _grouped(unit, rows).items():
            if place in ours and _age(ours[place]) >= _age(theirs):
                continue
            self._delete(table.name, unit, place)
            self._replace(table, theirs)

    def _replies(self, table: Table, rows: list[Row]) -> None:
        stored = self._stored(table, rows)
        self._replace(table, [row for row in rows if _key(table, row) not in stored])
        for row in rows:
            own = stored.get(_key(table, row))
            if own is None:
                continue
            if _reply_order(own) != _reply_order(row):
                self._other_reply(table, own, row)
            else:
                self._same_reply(table, own, row)

    def _other_reply(self, table: Table, own: Row, row: Row) -> None:
        key = row["key"]
        if _reply_order(own) < _reply_order(row):
            self._own_requests.add(key)
            self._own_prompts.add(_place(row, "cell"))
            self._own_split.add(key)
            return
        self._forget_requests(own)
        self._delete("judgements", ("generation",), (key,))
        self._replace(table, [row])

    def _same_reply(self, table: Table, own: Row, row: Row) -> None:
        if _request(own) < _request(row):
            self._own_requests.add(row["key"])
            self._own_prompts.add(_place(row, "cell"))
        elif _request(row) < _request(own):
            self._forget_requests(own)
            self._replace(table, [{**row, **{name: own[name] for name in _SPLIT}}])
        self._split(own, row)

    def _splits(self, rows: list[Row]) -> None:
        """Splits without their reply: the store has it, and a source only says how it is split."""
        stored = self._stored(TABLES["generations"], rows)
        for row in rows:
            if own := stored.get((row["key"],)):
                self._split(own, row)

    def _split(self, own: Row, row: Row) -> None:
        if _split_order(own) > _split_order(row):
            self._own_split.add(row["key"])
        elif _split_order(own) < _split_order(row):
            self._delete("judgements", ("generation",), (row["key"],))
            values = (row["trace"], row["splitter"], row["key"])
            self._connection.execute(TABLES["traces"].insert, values)

    def _forget_requests(self, own: Row) -> None:
        """Drop the requests behind a reply that gives way, and the prompt that a search found."""
        self._delete("calls", ("generation",), (own["key"],))
        self._delete("prompts", ("attack", "item", "seed"), _place(own, "cell"))

    def _runs(self, rows: list[Row]) -> None:
        """Put runs, each once, and number all of them by when they began."""
        runs: dict[tuple[Any, ...], Row] = {}
        for values in (
            *self._connection.execute(RUNS.select()),
            *(tuple(r.values()) for r in rows),
        ):
            row = dict(zip(RUNS.columns, values, strict=True))
            known = runs.setdefault(_key(RUNS, row), row)
            runs[_key(RUNS, row)] = max(
                known, row, key=lambda run: (run["ended"] or 0, _order(run))
            )
        self._connection.execute(f"DELETE FROM {RUNS.name}")
        ordered = (
            tuple(runs[key].values()) for key in sorted(runs, key=lambda key: _order(runs[key]))
        )
        self._connection.executemany(RUNS.insert, ordered)

    def _stored(self, table: Table, rows: Iterable[Row]) -> dict[tuple[Any, ...], Row]:
        """Return what the store has under the keys of ``rows``, by key."""
        first = table.key[0]
        keys = list({row[first] for row in rows})
        query = f"{table.select()} WHERE {first} IN (KEYS)"
        rows_there = rows_with_keys(self._connection, query, keys)
        return {_key(table, row): row for row in _named(table, rows_there)}

    def _replace(self, table: Table, rows: Collection[Row]) -> None:
        statement = table.insert.replace("INSERT OR IGNORE", "INSERT OR REPLACE")
        if not statement.startswith("INSERT OR REPLACE"):
            for row in rows:
                self._delete(table.name, table.key, _key(table, row))
        self._connection.executemany(statement, (tuple(row.values()) for row in rows))

    def _delete(self, table: str, columns: Iterable[str], values: Iterable[Any]) -> None:
        where = " AND ".join(f"{column} IS ?" for column in columns)
        self._connection.execute(f"DELETE FROM {table} WHERE {where}", tuple(values))


def _named(table: Table, rows: Iterable[Values]) -> list[Row]:
    return [dict(zip(table.columns, row, strict=True)) for row in rows]


def _key(table: Table, row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in table.key)


def _place(row: Row, cell: str) -> tuple[Key, Key, int]:
    """Return where the prompt of a search is kept: by its cell, others by their attack."""
    return row[cell], row["item"], row["seed"]


def _reply_order(row: Row) -> tuple[Any, ...]:
    """Return what a reply says, in the order in which one of two replies is kept."""
    status = row["status"]
    rank = _STATUS.index(status) if status in _STATUS else len(_STATUS)
    digest = content_key(*(row[name] for name in _REPLY))
    return bool(row["transient"]), rank, -int.from_bytes(digest)


def _request(row: Row) -> tuple[Any, ...]:
    """Return what is left of a reply: the earliest request that got it is kept."""
    return _value_order(row["created"]), _order({n: v for n, v in row.items() if n not in _SPLIT})


def _split_order(row: Row) -> tuple[Any, ...]:
    """Return how new a split is: that of the parser's later version is kept."""
    parser = row["splitter"] or ""
    number, _, letter = parser.rpartition("@")[2].partition("-")
    return int(number) if number.isdecimal() else 0, letter, parser, row["trace"] or ""


def _order(row: Row) -> tuple[tuple[int, Any], ...]:
    """Return what rows of a table can be ordered by, whatever their values."""
    return tuple(_value_order(value) for value in row.values())


def _value_order(value: Any) -> tuple[int, Any]:
    kinds = ((int | float, 1), (str, 2), (bytes, 3))
    return next(((n, value) for kind, n in kinds if isinstance(value, kind)), (0, 0))


def _age(rows: Iterable[Row]) -> tuple[Any, ...]:
    """Return how new rows are that were written together; of equally new ones, their content."""
    rows = list(rows)
    created = max(_value_order(row.get("created")) for row in rows)
    return created, len(rows), sorted(map(_order, rows))


def _grouped(unit: tuple[str, ...], rows: Iterable[Row]) -> dict[tuple[Any, ...], list[Row]]:
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in unit), []).append(row)
    return groups


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

    Which of them comes first changes nothing, and neither does doing it again. Each source is
    brought in whole, or not at all. Raises StoreError.
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
