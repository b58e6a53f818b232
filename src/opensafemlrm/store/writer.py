"""Group commit: rows that arrive within a few thousandths of a second share one transaction.

A commit costs as much as dozens of rows, so rows wait a moment for company. Whoever awaits
:meth:`Writer.saved` goes on only when its rows are on disk, so that what a killed run has to do
again is never more than what was in flight.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any, Final

from opensafemlrm.errors import StoreError
from opensafemlrm.store import schema

DELAY: Final = 0.003
"""Most seconds that a row waits to be committed."""
FULL: Final = 4096
"""Rows that are committed at once, however short they have waited."""


class Writer:
    """Gathers rows and commits them together. Belongs to one event loop."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._rows: dict[str, list[tuple[Any, ...]]] = {}
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None
        self._error: StoreError | None = None
        self._when_committed: list[Callable[[], None]] = []
        self._batch: asyncio.Future[None] | None = None

    def put(self, statement: str, row: tuple[Any, ...]) -> None:
        """Add a row; it is committed soon. Raises StoreError where an earlier one could not be."""
        if self._error is not None:
            raise self._error
        # By statement: going from one to the next costs SQLite more than a row does.
        rows = self._rows.get(statement)
        if rows is None:
            rows = self._rows[statement] = []
        rows.append(row)
        self._count += 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(DELAY, self._flush_later)
        elif self._count >= FULL:
            self.flush()

    async def saved(self) -> None:
        """Wait until all that was put so far is committed. Raises StoreError where it cannot be."""
        if self._error is not None:
            raise self._error
        if not self._count:
            return
        if self._batch is None:
            self._batch = asyncio.get_running_loop().create_future()
        # One waiter that is cancelled must not take the batch from the others.
        await asyncio.shield(self._batch)

    def when_committed(self, call: Callable[[], None]) -> None:
        """Call ``call`` after each commit."""
        self._when_committed.append(call)

    def flush(self) -> None:
        """Commit what is gathered, now. Raises StoreError where it, or earlier rows, cannot be."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._error is not None:
            raise self._error
        rows, self._rows, self._count = self._rows, {}, 0
        batch, self._batch = self._batch, None
        if not rows:
            return
        try:
            with self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                for statement, many in rows.items():
                    self._connection.executemany(statement, many)
        except schema.UNWRITABLE as error:
            self._error = StoreError(f"the store cannot be written: {error}")
            if batch is not None and not batch.done():
                batch.set_exception(self._error)
                batch.exception()  # whoever waited may have been cancelled meanwhile
            raise self._error from error
        for call in self._when_committed:
            call()
        if batch is not None and not batch.done():
            batch.set_result(None)

    def _flush_later(self) -> None:
        try:
            self.flush()
        except StoreError:
            # Nobody is there to take it: the next put raises it, or the last flush.
            return
