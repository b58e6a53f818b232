"""What the suites of faults and kills share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from opensafemlrm import frame
from opensafemlrm.store import Store

MEASURED = [c for c in frame.SCHEMA if "latency" in c or c == "retries"]


def rows(store: Path) -> pl.DataFrame:
    """The tidy table of a store without what was measured, which differs from run to run."""
    with Store.open(store) as opened:
        table = frame.read(opened).drop(MEASURED)
    # Which of the rows that share a verdict carries its cost depends on which came first.
    costs = [c for c in table.columns if c.startswith("judge_")]
    return table.drop(costs).sort("sample", "part")


@contextmanager
def filling_up(store: Store, pages: int = 4) -> Iterator[None]:
    """Let the store's disk be full once it has grown by so many pages."""
    now = store.connection.execute("PRAGMA page_count").fetchone()[0]
    store.connection.execute(f"PRAGMA max_page_count = {now + pages}")
    yield
    store.connection.execute("PRAGMA max_page_count = 1073741823")
