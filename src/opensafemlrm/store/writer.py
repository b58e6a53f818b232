"""Group commit: rows that arrive within a few milliseconds share one transaction.

A caller that awaits :meth:`Writer.saved` goes on only when its rows are on disk, so that what a
killed run has to do again is never more than what was in flight.
"""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any, Final

from opensafemlrm.errors import StoreError

DELAY: Final = 0.002
"""Seconds that a row may wait for company."""
FULL: Final = 512
"""Rows after which a batch is written at once."""


class Writer:
    """Batches rows into transactions. Belongs to one event loop."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._rows: dict[str, list[tuple[Any, ...]]] = {}
        self._count = 0
        self._batch: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def put(self, statement: str, row: tuple[Any, ...]) -> None:
        """Add a row to the batch that is being gathered."""
        rows = self._rows.get(statement)
        if rows is None:
            rows = self._rows[statement] = []
        rows.append(row)
        self._count += 1

    async def saved(self) -> None:
        """Wait until everything put so far is committed. Raises StoreError where it cannot be."""
        if not self._count:
            return
        if self._batch is None:
            loop = asyncio.get_running_loop()
            self._batch = loop.create_future()
            self._timer = loop.call_later(DELAY, self._flush_batch)
        batch = self._batch
        if self._count >= FULL:
            self._flush_batch()
        # shield: one caller that is cancelled must not cancel the batch the others wait for.
        await asyncio.shield(batch)

    def flush(self) -> None:
        """Commit what is gathered, now. Raises StoreError where it cannot be."""
        self._flush_batch()

    def _flush_batch(self) -> None:
        batch, self._batch = self._batch, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            self._commit()
        except StoreError as error:
            if batch is None:
                raise
            batch.set_exception(error)
            # Whoever waited may have been cancelled; the error must not go unseen for that.
            batch.exception()
        else:
            if batch is not None and not batch.done():
                batch.set_result(None)

    def _commit(self) -> None:
        if not self._count:
            return
        rows, self._rows, self._count = self._rows, {}, 0
        try:
            with self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                for statement, many in rows.items():
                    self._connection.executemany(statement, many)
        except sqlite3.Error as error:
            raise StoreError(f"the store cannot be written: {error}") from error
