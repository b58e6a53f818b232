"""Reading a sink: each key once, whoever wrote it how often, as lazy frames of polars.

A worker that dies after it has written a part, and before it could say so, has its samples made
again: then two parts of one run hold the same key, perhaps with different texts. Rows of one part
belong together, so the parts of a run are ordered, and of every key the first part's row is taken:
a reply and its verdicts then come from the same part. Between runs the store's own rules hold: a
failure gives way to what a later try gave, and a later run's judgement is the newer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import polars as pl

from opensafemlrm.errors import StoreError
from opensafemlrm.store.sink import Sink, order_columns
from opensafemlrm.store.tables import TABLES, Table

UNREADABLE: Final = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)
"""What polars raises for damaged files of which no checksum told before."""
_ORDER: Final = order_columns(TABLES["generations"])
"""Parts in order; clocks of machines may differ, but every table then takes the same one first."""


class SinkReader:
    """The tables of a sink as lazy frames, with the rows of :data:`Table.key` once."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.everything = False
        self._parts = sink.tables()
        if not self._parts:
            raise StoreError(f"{sink.address}: there is no sink here (no whole part)")
        self._checked: set[str] = set()

    @property
    def address(self) -> str:
        """Where it is, as people write it."""
        return self.sink.address

    def query(self, sql: str, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
        """Return what a query gives, as the columns of ``schema``. Raises StoreError."""
        named = {name: self.table(name) for name in TABLES if re.search(rf"\b{name}\b", sql)}
        try:
            rows = pl.SQLContext(named).execute(sql)
            return rows.select(pl.col(name).cast(dtype) for name, dtype in schema.items()).collect()
        except UNREADABLE as error:
            raise StoreError(f"{self.address}: the sink cannot be read: {error}") from error

    def image_data(self, sha256: str, media_type: str) -> bytes:
        """Return the bytes of a stored image. Raises StoreError where they are not there."""
        return self.sink.image(sha256, media_type)

    def size(self, table: str) -> int:
        """Return the bytes of a table's parts."""
        return self.sink.size(table, self._parts.get(table, []))

    def table(self, name: str, within: tuple[bytes, bytes | None] | None = None) -> pl.LazyFrame:
        """Return a table, each key once; of those whose first key column is ``within``, if given.

        ``within`` is the least first byte and the one after the last (``None`` for no end).
        """
        table = TABLES[name]
        rows = self._all(table)
        if within is not None:
            low, high = within
            first = pl.col(table.key[0])
            rows = rows.filter(first >= low)
            rows = rows if high is None else rows.filter(first < high)
        if name == "calls":
            # The requests behind a reply are those of the reply that is taken.
            taken = self.table("generations", within).select(
                pl.col("key").alias("generation"), *_ORDER
            )
            rows = rows.join(taken, on=("generation", *_ORDER), how="semi")
        ordered = rows.sort(_preference(table))
        taken_rows = ordered.unique(subset=list(table.key), keep="first", maintain_order=True)
        if name == "generations" and "traces" in self._parts:
            taken_rows = self._parsed_last(taken_rows, within)
        return taken_rows.sort(table.key)

    def _parsed_last(
        self, replies: pl.LazyFrame, within: tuple[bytes, bytes | None] | None
    ) -> pl.LazyFrame:
        """Return replies with how they were parsed last, as a database has them."""
        newer = self.table("traces", within).select("key", newer="trace", newer_parser="splitter")
        return (
            replies.join(newer, on="key", how="left", maintain_order="left")
            .with_columns(
                trace=pl.coalesce("newer", "trace"),
                splitter=pl.coalesce("newer_parser", "splitter"),
            )
            .drop("newer", "newer_parser")
        )

    def _all(self, table: Table) -> pl.LazyFrame:
        parts = self._parts.get(table.name)
        kinds = (pl.Float64(), pl.Float64(), pl.String())
        order = dict(zip(order_columns(table), kinds, strict=True))
        columns = {**table.schema(), **order}
        if not parts:
            return pl.LazyFrame(schema=columns)
        # Parts of an earlier version lack the columns that came later.
        if table.name not in self._checked:
            self.sink.require_whole([table.name])
            self._checked.add(table.name)
        sources = self.sink.sources(table.name, parts)
        return pl.scan_parquet(sources, schema=columns, missing_columns="insert")


def _preference(table: Table) -> list[pl.Expr]:
    """Return what to sort by, so that the row to be taken comes first.

    That is the first one, as a database would keep it; where a later one takes its place there, the
    first of the latest run.
    """
    run, *order = (pl.col(column) for column in order_columns(table))
    if table.updates or table.on_conflict == "replace":
        return [-run, *order]
    if table.on_conflict == "ignore":
        return [run, *order]
    gives_way = pl.sql_expr(table.on_conflict).fill_null(value=False)
    return [gives_way, pl.when(gives_way).then(-run).otherwise(run), *order]
