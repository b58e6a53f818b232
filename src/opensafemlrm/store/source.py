"""Results, wherever they lie: a store or a sink, asked in the SQL that SQLite and polars share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import polars as pl

from opensafemlrm.store.checking import refuse_contradictions
from opensafemlrm.store.database import Store, reading
from opensafemlrm.store.sink import Sink, is_sink
from opensafemlrm.store.sink_reader import SinkReader


class Source(Protocol):
    """What tables and reports are read from. Both a store and a sink answer the same queries."""

    everything: bool
    """Whether samples count whose items have left their data sets (:mod:`.holdings`)."""

    @property
    def address(self) -> str:
        """Where it is, as people write it."""
        ...

    def image_data(self, sha256: str, media_type: str) -> bytes:
        """Return the bytes of a stored image. Raises StoreError where they are not there."""
        ...

    def query(self, sql: str, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
        """Return what a query over :mod:`.tables` gives, as the columns of ``schema``.

        Keep to what SQLite and polars both know: SELECT, JOIN, WHERE, LIKE, DISTINCT, and
        ``X'…'`` for keys. Only the columns that the query names are read. Raises StoreError.
        """
        ...


@contextmanager
def open_source(address: Path | str, *, everything: bool = False) -> Iterator[Source]:
    """Open a store or a sink to read it, as it is at this moment, though a run may be writing.

    Raises StoreError where there is neither, or where what tables stand on contradicts its keys.
    """
    if is_sink(address):
        reader = SinkReader(Sink(address))
        reader.everything = everything
        yield reader
        return
    with Store.open(address) as store:
        store.everything = everything
        with reading():
            store.connection.execute("BEGIN")
        refuse_contradictions(store.connection)
        yield store
