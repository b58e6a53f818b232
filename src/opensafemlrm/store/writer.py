"""Group commit: rows that arrive within a few thousandths of a second share one transaction.

A commit costs as much as dozens of rows, and a row costs less the more of them there are: keys are
random, so that a small batch writes a page of every index for nearly every row. Rows wait for
company as long as it keeps coming. Whoever awaits :meth:`Writer.saved` goes on only when its rows
are on disk, so that what a killed run has to do again is never more than what was in flight.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Final

from opensafemlrm.errors import StoreError
from opensafemlrm.store import schema
from opensafemlrm.store.tables import TABLES, Row, Rows

DELAY: Final = 0.003
"""Seconds after which rows are committed if no more have come."""
MAX_DELAY: Final = 0.05
"""Seconds after which they are committed though more keep coming."""
FULL: Final = 4096
"""Rows that are committed at once, however short they have waited."""


class Writer:
    """Gathers rows and commits them together. Belongs to one event loop."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._rows: Rows = {}
        self._count = 0
        self._seen = 0
        """Rows that there were when the timer last looked."""
        self._since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._error: StoreError | None = None
        self._when_committed: list[Callable[[], None]] = []
        self._waiting: list[asyncio.Future[None]] = []

    def put(self, row: Row) -> None:
        """Add a row; it is committed soon. Raises StoreError where an earlier one could not be."""
        if self._error is not None:
            raise self._error
        # By table: going from one statement to the next costs SQLite more than a row does.
        table, values = row
        rows = self._rows.get(table)
        if rows is None:
            rows = self._rows[table] = []
        rows.append(values)
        self._count += 1
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._since = loop.time()
            self._look_later(loop)
        elif self._count >= FULL:
            self.flush()

    async def saved(self) -> None:
        """Wait until all that was put so far is committed. Raises StoreError where it cannot be."""
        if self._error is not None:
            raise self._error
        if not self._count:
            return
        # One for each who waits: to be cancelled must not take the batch from the others.
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future

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
        waiting, self._waiting = self._waiting, []
        if not rows:
            return
        try:
            with self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                for table, many in rows.items():
                    self._connection.executemany(TABLES[table].insert, many)
        except schema.UNWRITABLE as error:
            self._error = StoreError(f"the store cannot be written: {error}")
            for future in waiting:
                if not future.done():
                    future.set_exception(self._error)
            raise self._error from error
        for call in self._when_committed:
            call()
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def _look_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._seen = self._count
        self._timer = loop.call_later(DELAY, self._look)

    def _look(self) -> None:
        """Commit, unless rows keep coming and may wait longer."""
        loop = asyncio.get_running_loop()
        if self._count > self._seen and loop.time() - self._since + DELAY <= MAX_DELAY:
            self._look_later(loop)
            return
        try:
            self.flush()
        except StoreError:
            # Nobody is there to take it: the next put raises it, or the last flush.
            return
