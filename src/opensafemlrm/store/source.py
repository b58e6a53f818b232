"""Results, wherever they lie: a store or a sink, asked in the SQL that SQLite and polars share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import polars as pl

from opensafemlrm.store.database import Store
from opensafemlrm.store.sink import Sink, is_sink
from opensafemlrm.store.sink_reader import SinkReader


class Source(Protocol):
    """What tables and reports are read from. Both a store and a sink answer the same queries."""

    @property
    def address(self) -> str:
        """Where it is, as people write it."""
        ...

    def query(self, sql: str, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
        """Return what a query over :mod:`.tables` gives, as the columns of ``schema``.

        Keep to what SQLite and polars both know: SELECT, JOIN, WHERE, LIKE, DISTINCT, and
        ``X'…'`` for keys. Only the columns that the query names are read. Raises StoreError.
        """
        ...


@contextmanager
def open_source(address: Path | str) -> Iterator[Source]:
    """Open a store or a sink to read it. Raises StoreError where there is neither."""
    if is_sink(address):
        yield SinkReader(Sink(address))
    else:
        with Store.open(address) as store:
            yield store
