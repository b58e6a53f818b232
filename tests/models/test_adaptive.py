"""``adaptive: true``: how many requests run at once follows what the server can take."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from random import Random

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from opensafemlrm.models.clock import Clock
from opensafemlrm.models.http.adaptive import Window
from opensafemlrm.types import Response, ResponseStatus
from tests.models.scripted import FakeClock, ask, completion, error

OVERLOADED = Response.failed("http_429", "too many", transient=True)


class Queueing:
    """A server of so many places, where replies take about a second; more requests only wait."""

    def __init__(self, clock: FakeClock, places: int, turns_away: int | None = None) -> None:
        self.clock = clock
        self.free = [clock.time] * places
        self.turns_away = turns_away
        self.random = Random(0)
        self.count = itertools.count()
        self.events: list[tuple[float, int, asyncio.Future[None]]] = []
        self.in_flight = self.peak = self.turned_away = 0

    async def serve(self) -> Response:
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        if self.turns_away is not None and self.in_flight > self.turns_away:
            self.turned_away += 1
            done, response = self.clock.time + 0.01, OVERLOADED
        else:
            now = self.clock.time
            done = max(now, heapq.heappop(self.free)) + self.random.uniform(0.5, 1.5)
            heapq.heappush(self.free, done)
            response = Response(ResponseStatus.OK, "hello", latency=done - now)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self.events, (done, next(self.count), future))
        try:
            await future
        finally:
            self.in_flight -= 1
        return response


async def drive(server: Queueing, window: Window, requests: int, workers: int = 256) -> list[int]:
    """Send so many requests from so many workers; return the window's size after each."""
    left, sizes = iter(range(requests)), []

    async def work() -> None:
        for _ in left:
            async with window as age:
                window.note(age, await server.serve())
            sizes.append(window.size)

    tasks = [asyncio.create_task(work()) for _ in range(workers)]
    while not all(task.done() for task in tasks):
        for _ in range(4):  # the workers go as far as they can without time passing
            await asyncio.sleep(0)
        if server.events:
            server.clock.time, _, future = heapq.heappop(server.events)
            future.set_result(None)
    await asyncio.gather(*tasks)
    return sizes


@pytest.mark.parametrize("places", [1, 6, 24, 100])
async def test_it_grows_while_throughput_grows_and_no_further(places):
    clock = FakeClock()
    window = Window(128, clock)
    sizes = await drive(Queueing(clock, places), window, 6000)
    late = sizes[3000:]
    assert min(late) >= places * 0.9
    assert max(late) <= 3 * places + 8
    took = clock.time - 1000
    assert 6000 / took > 0.85 * places, "it must not be slower than the server"


async def test_a_server_that_turns_requests_away_is_asked_less():
    clock = FakeClock()
    server = Queueing(clock, 40, turns_away=40)
    window = Window(128, clock)
    await drive(server, window, 6000)
    assert server.peak <= 64 + 1, "the doubling ends at the first refusal"
    assert server.turned_away < 6000 * 0.03
    assert 6000 / (clock.time - 1000) > 0.6 * 40


async def test_a_server_that_becomes_slower_is_asked_less_and_then_more_again():
    clock = FakeClock()
    server = Queueing(clock, 48)
    window = Window(64, clock)
    await drive(server, window, 3000)
    assert window.size >= 40
    server.free = [clock.time] * 6
    await drive(server, window, 3000)
    assert window.size <= 24
    server.free = [clock.time] * 48
    sizes = await drive(server, window, 20000)
    assert sizes[-1] >= 40


async def test_one_burst_of_refusals_is_one_cut():
    """Requests that were under way when it was cut say what is known already."""
    window = Window(64, FakeClock())
    window._resize(64)
    ages = [await window.__aenter__() for _ in range(64)]
    for age in ages:
        window.note(age, OVERLOADED)
        await window.__aexit__(None, None, None)
    assert window.size == 32


async def test_too_few_requests_make_it_no_larger():
    clock = FakeClock()
    window = Window(64, clock)
    await drive(Queueing(clock, 64), window, 500, workers=2)
    assert window.size == 4


@given(
    st.integers(1, 40),
    st.lists(st.tuples(st.sampled_from("egobt"), st.floats(0, 10)), max_size=200),
)
def test_it_never_lets_in_more_than_the_maximum_nor_stops(most, steps):
    ends: dict[str, Response] = {
        "g": Response(ResponseStatus.OK, "hi", latency=1.0),
        "o": OVERLOADED,
        "b": Response.failed("http_400", "bad", transient=False),
        "t": Response.failed("timeout", "late", transient=True),
    }

    async def play() -> None:
        clock = FakeClock()
        window = Window(most, clock)
        inside: list[int] = []
        waiting: list[asyncio.Task[int]] = []
        for step, seconds in steps:
            clock.time += seconds
            if step == "e":
                entering = asyncio.create_task(window.__aenter__())
                await asyncio.sleep(0)
                waiting.append(entering)
            elif inside:
                window.note(inside.pop(0), ends[step])
                await window.__aexit__(None, None, None)
            if step == "b" and waiting and not waiting[-1].done():
                waiting.pop().cancel()
            await asyncio.sleep(0)
            inside += [task.result() for task in waiting if task.done()]
            waiting = [task for task in waiting if not task.done()]
            assert 1 <= window.size <= most
            assert len(inside) <= most
            assert not waiting or len(inside) >= window.size, "a place was lost"
        for task in waiting:
            task.cancel()

    asyncio.run(play())


class TestThroughTheClient:
    async def test_a_server_with_few_places_is_not_flooded(self, server, connect):
        model = connect(concurrency=64, adaptive=True, clock=Clock())
        await self._ask_all(server, model, at_most=6)
        assert 4 < self.peak <= 16, "it starts with 4, doubles and is turned away"

    async def _ask_all(self, server, model, at_most: int) -> None:
        self.peak = in_flight = 0

        async def few_places(_: web.Request) -> web.Response:
            nonlocal in_flight
            in_flight += 1
            self.peak = max(self.peak, in_flight)
            full = in_flight > at_most
            try:
                await asyncio.sleep(0.05)
            finally:
                in_flight -= 1
            if full:
                headers = {"Retry-After-Ms": "20"}
                return web.json_response(error(), status=429, headers=headers)
            return web.json_response(completion())

        server.always = few_places
        responses = await asyncio.gather(*(ask(model) for _ in range(64)))
        assert {response.status for response in responses} == {ResponseStatus.OK}
