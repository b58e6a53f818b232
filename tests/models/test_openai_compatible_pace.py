"""When a server is asked again, when everybody waits, and when a run gives up."""

from __future__ import annotations

import asyncio
import json
import socket
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from aiohttp import web

from opensafemlrm.errors import EndpointDownError
from opensafemlrm.models.hosted.openai_compatible import OpenAICompatible
from opensafemlrm.types import Prompt, Response, ResponseStatus, Sampling
from tests.models.scripted import ask, completion, error


class TestWaiting:
    @pytest.mark.parametrize(
        ("headers", "expected"),
        [
            ({"Retry-After": "7"}, 7),
            ({"Retry-After-Ms": "2500"}, 2.5),
            ({"Retry-After": format_datetime(datetime.fromtimestamp(1030, UTC), usegmt=True)}, 30),
            ({"Retry-After": "86400"}, 120),
            ({"Retry-After": "inf"}, 120),
        ],
    )
    async def test_retry_after_is_honoured_within_reason(
        self, server, connect, clock, headers, expected
    ):
        server.script = [(429, error(), headers)]
        assert (await ask(connect())).status is ResponseStatus.OK
        waited = server.times[1] - server.times[0]
        assert expected <= waited <= expected * 1.25

    @pytest.mark.parametrize("value", ["soon", "nan", "-5", "0", "", "Mon, 99 Foo 0 0:0:0 GMT"])
    async def test_a_senseless_retry_after_leaves_the_usual_wait(
        self, server, connect, clock, value
    ):
        server.script = [(503, error(), {"Retry-After": value})]
        assert (await ask(connect())).status is ResponseStatus.OK
        assert clock.slept == [0.75]

    async def test_when_the_server_says_wait_everybody_waits(self, server, connect, clock):
        model = connect(concurrency=1)
        server.script = [(429, error(), {"Retry-After": "20"})]
        start = clock.time
        responses = await asyncio.gather(*(ask(model) for _ in range(6)))
        assert {response.status for response in responses} == {ResponseStatus.OK}
        later = asyncio.create_task(ask(model))
        await later
        assert server.times[0] == start
        # One request was under way; of the others none came before the time was over.
        assert all(time >= start + 20 for time in server.times[2:])
        assert len(server.bodies) == 8

    async def test_the_wait_doubles_and_is_jittered(self, server, connect, clock):
        server.always = (500, error(), {})
        for chance, waits in ((0.0, [0.5, 1, 2, 4]), (1.0, [1, 2, 4, 8])):
            clock.slept.clear()
            clock.chance = chance
            await ask(connect(max_retries=4))
            assert clock.slept == waits

    async def test_a_slow_rate_limit_costs_no_request(self, server, connect, clock):
        """While others are served, waiting for a turn is no failure: five in a row may starve."""
        rounds = iter(range(1000))

        async def one_in_four(_: web.Request) -> web.Response:
            if next(rounds) % 4 == 3:
                return web.json_response(completion())
            return web.json_response(error(), status=429)

        server.always = one_in_four
        model = connect(max_retries=5, concurrency=8)
        responses = await asyncio.gather(*(ask(model) for _ in range(24)))
        assert {response.status for response in responses} == {ResponseStatus.OK}


class TestTurnedAway:
    """Published mistake: one request that always gets 429 stopped all others, 25 times."""

    @pytest.mark.parametrize("poisoned", [1, 3])
    @pytest.mark.parametrize("headers", [{}, {"Retry-After": "2"}])
    async def test_a_request_that_alone_is_turned_away_has_its_own_budget_and_holds_nobody(
        self, server, connect, clock, poisoned, headers
    ):
        async def limited(request: web.Request) -> web.Response:
            text = json.loads(await request.read())["messages"][-1]["content"]
            if text.startswith("poison"):
                return web.json_response(error(), status=429, headers=headers)
            return web.json_response(completion())

        async def say(text: str) -> Response:
            return await model.generate(Prompt.user(text), Sampling())

        server.always = limited
        model = connect(max_retries=3, concurrency=8)
        left = [f"fine {n}" for n in range(300)]
        for n in range(poisoned):
            left.insert(40 * (n + 1), f"poison {n}")
        ends: list[Response] = []

        async def work() -> None:
            while left:
                ends.append(await say(left.pop(0)))

        await asyncio.gather(*(work() for _ in range(8)))
        failed = [end for end in ends if end.status is ResponseStatus.FAILED]
        assert [(end.code, end.transient, end.retries) for end in failed] == [
            ("http_429", True, 3)
        ] * poisoned
        assert len(clock.slept) == 3 * poisoned  # and nobody else

    async def test_what_can_never_be_served_ends_at_once_and_shuts_no_gate(
        self, server, connect, clock
    ):
        """Published mistake: 27 tries, and each of them made all others wait."""
        said = "Request too large for m on tokens per min (TPM): Limit 30000, Requested 40521."
        server.script = [(429, error(said, code="rate_limit_exceeded"), {"Retry-After": "60"})]
        model = connect()
        response = await ask(model)
        assert (response.code, response.transient) == ("request_too_large", True)
        assert (await ask(model)).status is ResponseStatus.OK
        assert (clock.slept, len(server.bodies)) == ([], 2)

    async def test_where_several_are_turned_away_everybody_waits(self, server, connect, clock):
        server.script = [(429, error(), {"Retry-After": "20"})] * 4
        model = connect(concurrency=4)
        start = clock.time
        await asyncio.gather(*(ask(model) for _ in range(4)))
        assert all(time >= start + 20 for time in server.times[4:])
        await ask(model)
        assert len(server.bodies) == 9


class TestDown:
    async def test_a_dead_server_ends_the_run_instead_of_hours_of_retries(
        self, server, connect, clock
    ):
        server.always = (500, error("out of memory"), {})
        model = connect(give_up_after=4, max_retries=1)
        for _ in range(3):
            assert (await ask(model)).code == "http_500"
        with pytest.raises(EndpointDownError) as caught:
            await ask(model)
        for fact in (server.base_url, "in a row after their retries: 4", "http_500: out of memory"):
            assert fact in str(caught.value)
        asked = len(server.bodies)
        with pytest.raises(EndpointDownError):
            await ask(model)
        assert len(server.bodies) == asked + 1  # one look whether it is back, no retries
        server.always = None
        assert (await ask(model)).status is ResponseStatus.OK
        server.script = [(500, error(), {})]
        assert (await ask(model)).retries == 1

    async def test_any_success_begins_the_count_anew(self, server, connect):
        model = connect(give_up_after=3, max_retries=0)
        for _ in range(4):
            server.script = [(500, error(), {})] * 2
            assert (await ask(model)).status is ResponseStatus.FAILED
            assert (await ask(model)).status is ResponseStatus.FAILED
            assert (await ask(model)).status is ResponseStatus.OK

    async def test_waiting_requests_stop_with_the_others(self, server, connect):
        server.always = (500, error(), {})
        model = connect(give_up_after=2, max_retries=3, concurrency=6)
        ends = await asyncio.gather(*(ask(model) for _ in range(6)), return_exceptions=True)
        assert sum(isinstance(end, EndpointDownError) for end in ends) >= 4
        assert len(server.bodies) <= 6 * 4 + 1  # and one short harmless request

    @pytest.mark.parametrize(("max_retries", "least", "most"), [(5, 15, 32), (1000, 600, 700)])
    async def test_a_server_that_was_never_there_is_told_soon(
        self, clock, max_retries, least, most
    ):
        """A wrong port must not take a retry cycle for each of thousands of requests."""
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            port = closed.getsockname()[1]
        url = f"http://127.0.0.1:{port}/v1"
        model = OpenAICompatible("m", base_url=url, max_retries=max_retries, clock=clock)
        start = clock.time
        with pytest.raises(EndpointDownError, match=f"127.0.0.1:{port}.*does not answer.*connect"):
            await ask(model)
        assert least < clock.time - start < most
        await model.aclose()
