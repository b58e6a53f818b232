"""A fifth of all requests goes wrong, and every sample still ends as what it is."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from opensafemlrm import engine, frame
from opensafemlrm.errors import ModelError, StoppedError
from opensafemlrm.judges.policy_rubric import PolicyRubric
from opensafemlrm.store import Store
from opensafemlrm.types import Item, Prompt, Response
from tests.chaos.faults import (
    ASKED_AGAIN,
    FINAL,
    JUDGE,
    ODD_ANSWERS,
    TEN_MB_OF_TEXT,
    Fault,
    FaultServer,
    model,
)
from tests.support import Scripted, Wrapped, items, study

SEED = 2504_08813


@asynccontextmanager
async def serving(share: float, faults: dict[str, Fault], port: int = 0) -> AsyncIterator[Any]:
    server = FaultServer(SEED, share, faults)
    app = web.Application(client_max_size=2**26)
    app.router.add_post("/v1/chat/completions", server.handle)
    async with TestServer(app, port=port or None) as running:
        server.base_url = str(running.make_url("/v1"))
        yield server
        server.released.set()


async def run(server: FaultServer, path: Path, n: int, **options: Any) -> None:
    judge = PolicyRubric(model(server, JUDGE, **options))
    plan = engine.Plan.of(study(model(server, "target", **options), items(n), judge=judge))
    with Store.open(path, "create") as store:
        await engine.evaluate(plan, store)


def samples(path: Path) -> Any:
    with Store.open(path) as store:
        return frame.read(store)


def judge_failures(path: Path) -> int:
    with Store.open(path) as store:
        query = "SELECT count(*) FROM verdicts WHERE reason = 'judge_failed'"
        return int(store.connection.execute(query).fetchone()[0])


async def survives(
    path: Path, n: int, faults: dict[str, Fault], injected: Counter[str], **options: Any
) -> None:
    async with serving(0.2, faults) as server:
        await run(server, path, n, **options)
    needed = len(server.requests)
    injected[f"faults in {server.total:,} requests"] += server.met.total()
    table = samples(path)
    one_each = table.unique("sample")

    assert set(server.met) == set(faults), "too few requests to meet every fault"
    assert len(table) == 3 * n, "a sample was lost, or is there twice"
    assert one_each["item"].n_unique() == n
    # All that can be recovered is; what cannot is typed, and nothing else.
    redirected = server.ended("redirect", by_judge=False)
    outcomes = dict(
        one_each.group_by("status", "error_code").len().select("status", "len").iter_rows()
    )
    assert outcomes == {"ok": n - redirected} | ({"failed": redirected} if redirected else {})
    assert set(one_each["error_code"].drop_nulls()) == ({"redirect"} if redirected else set())
    assert judge_failures(path) == server.ended("redirect", by_judge=True)
    assert set(table["reason"].drop_nulls()) <= {"failed", "judge_failed"}
    # Answered once, asked no more often than it had to be.
    assert all(len(ends) == 1 for ends in server.ends.values())
    assert needed < server.total <= 1.4 * needed

    async with serving(0.0, {}) as mended:
        await run(mended, path, n)
    assert judge_failures(path) == 0
    assert mended.total == server.ended("redirect", by_judge=True)


async def test_a_fifth_of_all_requests_goes_wrong(tmp_path: Path, injected: Counter[str]) -> None:
    """Resuming repeats or loses items; an error becomes a reply (how published tools go wrong)."""
    await survives(tmp_path, 110, {**ASKED_AGAIN, **ODD_ANSWERS, **FINAL}, injected)


@pytest.mark.slow
async def test_a_fifth_of_8000_requests_goes_wrong(tmp_path: Path, injected: Counter[str]) -> None:
    await survives(tmp_path, 2000, {**ASKED_AGAIN, **ODD_ANSWERS, **FINAL}, injected, timeout=10.0)


@pytest.mark.slow
async def test_replies_of_10_megabytes_are_kept_and_judged_whole(
    tmp_path: Path, injected: Counter[str]
) -> None:
    injected["replies of 10 MB"] += 3
    async with serving(1.0, TEN_MB_OF_TEXT) as server:
        await run(server, tmp_path, 3, timeout=120.0)
    with Store.open(tmp_path) as store:
        lengths = store.connection.execute("SELECT length(text) FROM generations").fetchall()
    assert [length > 10_000_000 for (length,) in lengths] == [True] * 3
    assert set(samples(tmp_path)["label"]) <= {"safe", "unsafe"}


@pytest.mark.parametrize("name", ["500", "429", "closed", "hung", "half JSON", "a page"])
async def test_a_server_that_dies_ends_the_run_soon_and_loses_nothing(
    tmp_path: Path, name: str, injected: Counter[str]
) -> None:
    """A dead server must not cost hours of retries, nor what it said while it lived."""
    options = {"timeout": 0.5, "max_retries": 2, "give_up_after": 6, "concurrency": 8}
    async with serving(0.0, {}) as server:
        await run(server, tmp_path, 12, timeout=30.0)
        alive = server.total
        server.broken = ASKED_AGAIN[name]
        injected["servers that die"] += 1
        with pytest.raises(StoppedError) as caught:
            await run(server, tmp_path, 300, **options)
        # Six requests with their tries, and what the workers of model and judge had in hand.
        assert server.total - alive <= (6 + 2 * 8) * 3
        server.released.set()
    for fact in (server.base_url, "nothing succeeded", "finished work is kept"):
        assert fact in str(caught.value)
    kept = samples(tmp_path).unique("sample")
    assert kept.filter(status="ok").height == 12
    assert set(kept["status"]) <= {"ok", "failed"}

    async with serving(0.0, {}) as mended:
        await run(mended, tmp_path, 40)
    assert samples(tmp_path).unique("sample").filter(status="ok").height == 40
    assert mended.total == 28 * 4


async def test_a_server_that_goes_away_in_the_middle_of_a_run(
    tmp_path: Path, injected: Counter[str]
) -> None:
    injected["servers that die"] += 1
    async with serving(0.0, {}) as server:

        async def leave(server: FaultServer, request: web.Request, text: str) -> Any:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()

        after = 60
        answer = server.handle

        async def handle(request: web.Request) -> Any:
            if server.total >= after:
                server.broken = leave
            return await answer(request)

        app = web.Application()
        app.router.add_post("/v1/chat/completions", handle)
        async with TestServer(app) as running:
            server.base_url = str(running.make_url("/v1"))
            with pytest.raises(StoppedError, match="has stopped answering"):
                await run(server, tmp_path, 200, max_retries=1, give_up_after=5, concurrency=8)
    answered = server.ended("answer", by_judge=False)
    assert samples(tmp_path).unique("sample").filter(status="ok").height == answered > 0


async def test_the_store_is_not_closed_under_a_thread_that_still_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that ends early while samples are being prepared crashed the whole process."""
    at_work = threading.Event()
    closed_under_it = []
    opened = Store.reader

    @dataclass(frozen=True)
    class Slow(Wrapped):
        """An attack that takes its time, in the thread that prepares samples."""

        def apply(self, item: Item, seed: int) -> Prompt:
            at_work.set()
            time.sleep(0.005)
            at_work.clear()
            return Wrapped.apply(self, item, seed)

    class Watched:
        """A connection that notes whether it is closed while the thread is at work."""

        def __init__(self, store: Store) -> None:
            self._connection = opened(store)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._connection, name)

        def close(self) -> None:
            closed_under_it.append(at_work.is_set())
            self._connection.close()

    def broken(prompt: Prompt, seed: int | None) -> Response:
        raise ModelError("no further request can succeed")

    def watched(store: Store) -> Watched:
        return Watched(store)

    monkeypatch.setattr(Store, "reader", watched)
    plan = engine.Plan.of(study(Scripted(broken), items(300), attacks=[Slow()]))
    with Store.open(tmp_path, "create") as store, pytest.raises(StoppedError):
        await engine.evaluate(plan, store)
    assert closed_under_it == [False]
