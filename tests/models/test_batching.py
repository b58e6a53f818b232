"""Requests that come one by one run in batches, and each gets its own result."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opensafemlrm.models.batching import Batcher, Job, TooLargeError


class Runner:
    """Doubles numbers, and keeps the batches; more than ``fits`` at once do not fit."""

    def __init__(self, fits: int = 100) -> None:
        self.fits = fits
        self.batches: list[list[int]] = []

    def __call__(self, requests: list[int]) -> list[int]:
        self.batches.append(requests)
        if len(requests) > self.fits:
            raise TooLargeError("no memory")
        return [2 * request for request in requests]


async def ask_all(batcher: Batcher[int, int], jobs: list[Job[int]]) -> list[int]:
    try:
        return await asyncio.gather(*(batcher.ask(job) for job in jobs))
    finally:
        await batcher.aclose()


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 50), st.booleans()), min_size=1, max_size=30),
    most=st.integers(1, 8),
    budget=st.integers(1, 200),
    fits=st.integers(1, 8),
)
async def test_every_request_gets_its_own_result_whatever_fits(sizes, most, budget, fits):
    jobs = [Job(number, size, group) for number, (size, group) in enumerate(sizes)]
    runner = Runner(fits)
    results = await ask_all(Batcher(runner, most, budget), jobs)
    assert results == [2 * number for number in range(len(jobs))]
    for batch in runner.batches:
        assert len(batch) <= most
        assert len({sizes[number][1] for number in batch}) == 1
        largest = max(sizes[number][0] for number in batch)
        assert len(batch) == 1 or largest * len(batch) <= budget


async def test_they_are_sorted_by_size_so_that_little_is_padded():
    runner = Runner()
    await ask_all(Batcher(runner, 2, 10**6), [Job(n, n) for n in (5, 1, 6, 2)])
    assert runner.batches == [[6, 5], [2, 1]]


async def test_what_did_not_fit_once_is_not_tried_again():
    runner = Runner(fits=2)
    batcher = Batcher(runner, 8, 10**6)
    await asyncio.gather(*(batcher.ask(Job(n, 1)) for n in range(8)))
    tried = len(runner.batches)
    await ask_all(batcher, [Job(n, 1) for n in range(8)])
    assert [len(batch) for batch in runner.batches[:2]] == [8, 4]
    assert {len(batch) for batch in runner.batches[tried:]} == {2}


async def test_one_request_that_never_fits_fails_to_its_own_caller():
    batcher = Batcher(Runner(fits=0), 8, 10**6)
    with pytest.raises(TooLargeError):
        await ask_all(batcher, [Job(1, 1)])


async def test_an_error_goes_to_those_who_asked_and_the_next_batch_runs():
    def run(requests: list[int]) -> list[int]:
        if 13 in requests:
            raise ZeroDivisionError
        return requests

    batcher = Batcher(run, 8, 10**6)
    with pytest.raises(ZeroDivisionError):
        await batcher.ask(Job(13, 1))
    assert await ask_all(batcher, [Job(1, 1)]) == [1]


async def test_requests_that_come_while_a_batch_runs_make_the_next_one():
    started, go = threading.Event(), threading.Event()
    batches: list[list[int]] = []

    def run(requests: list[int]) -> list[int]:
        batches.append(requests)
        started.set()
        go.wait(5)
        return requests

    batcher = Batcher(run, 8, 10**6)
    first = asyncio.create_task(batcher.ask(Job(0, 1)))
    await asyncio.to_thread(started.wait, 5)
    others = [asyncio.create_task(batcher.ask(Job(n, 1))) for n in (1, 2, 3)]
    await asyncio.sleep(0)
    go.set()
    assert await asyncio.gather(first, *others) == [0, 1, 2, 3]
    assert batches == [[0], [1, 2, 3]]
    await batcher.aclose()


async def test_closing_drops_what_waits_and_waits_for_what_runs():
    started, ended = threading.Event(), []

    def run(requests: list[int]) -> list[int]:
        started.set()
        time.sleep(0.05)
        ended.append(True)
        return requests

    batcher = Batcher(run, 1, 10**6)
    asked = [asyncio.create_task(batcher.ask(Job(n, 1))) for n in range(3)]
    await asyncio.to_thread(started.wait, 5)
    await batcher.aclose()
    await asyncio.gather(*asked, return_exceptions=True)
    assert all(task.cancelled() for task in asked)
    assert ended == [True]
    with pytest.raises(RuntimeError, match="closed"):
        await batcher.ask(Job(1, 1))
