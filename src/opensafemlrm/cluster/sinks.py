"""What a run reads from the sink that it writes to, and what its workers write there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from opensafemlrm.engine.plan import Plan
from opensafemlrm.store import Store
from opensafemlrm.store.merge import load
from opensafemlrm.store.sink import Sink
from opensafemlrm.store.sink_reader import SinkReader
from opensafemlrm.store.tables import RUNS, STUDY_TABLES, TABLES, Rows, Values

MAX_ROWS: Final = 20_000
"""Rows that are made a part of, however short they have waited."""
MAX_DELAY: Final = 10.0
"""Seconds after which rows are written, however few they are."""
_MAX_KNOWN: Final = 100_000
"""Images that are known to be in the sink without looking."""


def fill_scratch(sink: Sink, store: Store, judge: bytes) -> None:
    """Bring into ``store`` what a run has to know of a sink: which samples are done."""
    if sink.exists:
        load(SinkReader(sink), store, judged_by=judge)


def write_study(sink: Sink, plan: Plan, store: Store, run: float) -> None:
    """Write what the study is made of as the run's first part; ``store`` is a scratch store."""
    plan.register(store, sink.address)
    tables = (*STUDY_TABLES, RUNS)
    rows = {table.name: store.connection.execute(table.select()).fetchall() for table in tables}
    sink.write(rows, run)


class PartWriter:
    """Gathers the rows of one worker and writes them, with their images, as parts of a sink.

    Belongs to one event loop. ``store`` has the images; ``run`` is when the run began.
    """

    def __init__(self, sink: Sink, store: Store, run: float) -> None:
        self._sink, self._store, self._run = sink, store, run
        self._rows: Rows = {}
        self._since: float | None = None
        self._begun = 0
        self._writing = asyncio.Lock()
        self._known_images: set[str] = set()
        self.written = 0
        """How many parts are whole."""

    async def put(self, rows: Rows) -> int:
        """Add rows, and write a part where they are many or have waited for long.

        Returns the number of the part that they are in: they are safe once more than that many
        parts are ``written``. Raises StoreError.
        """
        await asyncio.to_thread(self._put_images, rows.get("images", ()))
        for table, values in rows.items():
            self._rows.setdefault(table, []).extend(values)
        if self._since is None:
            self._since = time.monotonic()
        part = self._begun
        count = sum(map(len, self._rows.values()))
        if count >= MAX_ROWS or time.monotonic() - self._since > MAX_DELAY:
            await self.flush()
        return part

    async def flush(self) -> int:
        """Write what is gathered; return how many parts are whole. Raises StoreError."""
        async with self._writing:
            rows, self._rows, self._since = self._rows, {}, None
            self._begun += 1
            if rows:
                await asyncio.to_thread(self._sink.write, rows, self._run)
            self.written += 1
            return self.written

    def _put_images(self, rows: Sequence[Values]) -> None:
        for values in rows:
            record = dict(zip(TABLES["images"].columns, values, strict=True))
            sha256 = record["sha256"]
            if sha256 not in self._known_images:
                self._sink.put_image(self._store.image(record))
                if len(self._known_images) >= _MAX_KNOWN:
                    self._known_images.clear()
                self._known_images.add(sha256)
