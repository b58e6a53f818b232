"""Group commit: rows wait for company, and whoever waits for them is told how it ended."""

from __future__ import annotations

import asyncio

import pytest

from opensafemlrm.errors import StoreError
from opensafemlrm.store import Store
from opensafemlrm.store.writer import Writer


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path, "create") as opened:
        yield opened


def rows(store: Store) -> int:
    return int(store.connection.execute("SELECT count(*) FROM pairs").fetchone()[0])


async def test_rows_are_committed_though_more_keep_coming(store):
    """Rows that wait until no more come are never written while a run is busy."""
    writer, committed = Writer(store.connection), asyncio.Event()
    writer.when_committed(committed.set)
    number = 0
    async with asyncio.timeout(30):
        while not committed.is_set():
            writer.put(("pairs", (b"one", b"%d" % number)))
            number += 1
            await asyncio.sleep(0)
    assert rows(store) > 1
    writer.flush()


async def test_who_waits_goes_on_when_its_rows_are_on_disk(store):
    writer = Writer(store.connection)
    writer.put(("pairs", (b"a", b"b")))
    await writer.saved()
    assert rows(store) == 1
    await writer.saved()  # nothing is left to wait for


async def test_one_that_waits_no_longer_takes_the_rows_from_nobody(store):
    """A worker that is cancelled takes the commit from the others that wait for it."""
    writer = Writer(store.connection)
    writer.put(("pairs", (b"a", b"b")))
    one, other = (asyncio.ensure_future(writer.saved()) for _ in range(2))
    await asyncio.sleep(0)
    one.cancel()
    async with asyncio.timeout(30):
        await other
    assert one.cancelled()
    assert rows(store) == 1


async def test_everybody_who_waits_is_told_that_rows_cannot_be_written(store):
    """A worker waits for ever for a commit that failed."""
    writer = Writer(store.connection)
    writer.put(("pairs", (b"one of two",)))
    async with asyncio.timeout(30):
        ends = await asyncio.gather(*(writer.saved() for _ in range(2)), return_exceptions=True)
    assert [type(end) for end in ends] == [StoreError, StoreError]
