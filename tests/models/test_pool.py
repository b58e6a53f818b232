"""Several servers of one model: ``base_url: [a, b, c]``."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from opensafemlrm import registry
from opensafemlrm.errors import EndpointDownError, ModelError, OptionError
from opensafemlrm.models.budget import Budget, Limits
from opensafemlrm.models.hosted.openai_compatible import OpenAICompatible
from opensafemlrm.registry import ComponentKind
from opensafemlrm.types import ResponseStatus, Sampling
from tests.models.scripted import FakeClock, ScriptedServer, ask, completion, error


class Servers:
    """Three servers of one model, each of which a test may end."""

    def __init__(self) -> None:
        self.scripted = [ScriptedServer() for _ in range(3)]
        self.running: list[TestServer] = []
        self.models: list[OpenAICompatible] = []

    async def start(self) -> None:
        for scripted in self.scripted:
            app = web.Application()
            app.router.add_post("/v1/chat/completions", scripted.handle)
            self.running.append(TestServer(app))
            await self.running[-1].start_server()
            scripted.base_url = str(self.running[-1].make_url("/v1"))

    def model(self, clock: FakeClock, **options: Any) -> OpenAICompatible:
        urls = tuple(one.base_url for one in self.scripted)
        self.models.append(OpenAICompatible("m", base_url=urls, clock=clock, **options))
        return self.models[-1]

    @property
    def counts(self) -> list[int]:
        return [len(one.bodies) for one in self.scripted]


@pytest.fixture
async def servers() -> AsyncIterator[Servers]:
    made = Servers()
    await made.start()
    yield made
    for model in made.models:
        await model.aclose()
    for server in made.running:
        await server.close()


async def ask_many(model: OpenAICompatible, count: int) -> Counter[ResponseStatus]:
    replies = await asyncio.gather(*(ask(model) for _ in range(count)))
    return Counter(reply.status for reply in replies)


async def slow(_: web.Request) -> web.Response:
    await asyncio.sleep(0.05)
    return web.json_response(completion())


async def test_requests_are_shared_by_what_is_under_way(servers: Servers, clock: FakeClock) -> None:
    for scripted in servers.scripted:
        scripted.always = slow
    model = servers.model(clock)
    await ask(model)  # what a server takes is learned of one request alone
    assert await ask_many(model, 30) == {ResponseStatus.OK: 30}
    assert min(servers.counts) >= 8


async def test_nothing_is_lost_when_a_server_ends(servers: Servers, clock: FakeClock) -> None:
    model = servers.model(clock, max_retries=0)
    assert await ask_many(model, 12) == {ResponseStatus.OK: 12}
    await servers.running[0].close()
    assert await ask_many(model, 12) == {ResponseStatus.OK: 12}
    assert clock.slept == []


async def test_a_server_that_is_down_rests_and_is_asked_again(
    servers: Servers, clock: FakeClock
) -> None:
    first = servers.scripted[0]
    first.always = (500, error(), {})
    model = servers.model(clock, max_retries=3)
    for _ in range(20):
        assert (await ask(model)).status is ResponseStatus.OK
    assert len(first.bodies) < 10
    first.always, before = None, len(first.bodies)
    clock.time += 120
    for _ in range(20):
        await ask(model)
    assert len(first.bodies) > before


async def test_a_server_that_asks_for_patience_gets_it_while_others_answer(
    servers: Servers, clock: FakeClock
) -> None:
    busy = servers.scripted[0]
    busy.always = (429, error(), {"Retry-After": "30"})
    model = servers.model(clock)
    assert await ask_many(model, 10) == {ResponseStatus.OK: 10}
    assert len(busy.bodies) == 1
    assert clock.slept == []


async def test_a_request_that_moves_on_from_a_server_is_counted_as_a_try(
    servers: Servers, clock: FakeClock
) -> None:
    """A 503 may be billed as any other, but of several servers it was counted nowhere."""
    servers.scripted[0].always = (503, error(), {"Retry-After": "30"})
    usage = {"prompt_tokens": 3, "completion_tokens": 10}
    for scripted in servers.scripted[1:]:
        scripted.always = (200, completion(usage=usage), {})
    budget = Budget(Limits(cost=10_000))
    model = budget.over(servers.model(clock, price=(0, 1_000_000)))
    for _ in range(6):
        assert (await ask(model)).status is ResponseStatus.OK
    assert len(servers.scripted[0].bodies) == 1
    assert budget.cost == pytest.approx(6 * 10 + Sampling().max_tokens)


async def test_a_server_that_was_out_is_told_with_what_went_elsewhere(
    servers: Servers, clock: FakeClock
) -> None:
    """A dead server of three was mentioned nowhere: users found it in their bill of hours."""
    model = servers.model(clock)
    await ask_many(model, 12)
    assert list(model.outages()) == []
    dead = servers.scripted[0].base_url
    await servers.running[0].close()
    await ask_many(model, 12)
    (told,) = model.outages()
    assert told.startswith(f"openai/m: {dead}/chat/completions has not answered since ")
    assert ": 12 requests went to other servers (" in told


async def test_a_server_that_came_back_is_told_with_both_times(
    servers: Servers, clock: FakeClock
) -> None:
    first = servers.scripted[0]
    first.always = (500, error(), {})
    model = servers.model(clock, max_retries=3)
    for _ in range(10):
        await ask(model)
    first.always = None
    clock.time += 120
    await ask_many(model, 9)
    (told,) = model.outages()
    assert " did not answer from " in told
    assert "it answers with errors alone, the last 500" in told


async def test_what_is_told_of_a_server_holds_no_secret_of_its_address(clock: FakeClock) -> None:
    urls = ("http://127.0.0.1:9/v1?api-key=s3cret-of-mine", "http://127.0.0.1:10/v1")
    model = OpenAICompatible("m", base_url=urls, clock=clock)
    assert list(model.servers()) == [
        f"http://127.0.0.1:{port}/v1/chat/completions" for port in (9, 10)
    ]


async def test_where_none_is_left_the_error_names_all(servers: Servers, clock: FakeClock) -> None:
    model = servers.model(clock)
    for server in servers.running:
        await server.close()
    with pytest.raises(EndpointDownError) as raised:
        await ask(model)
    for scripted in servers.scripted:
        assert scripted.base_url in str(raised.value)


async def test_the_addresses_are_no_part_of_what_results_are_keyed_by(
    servers: Servers, clock: FakeClock
) -> None:
    assert servers.model(clock).identity() == OpenAICompatible("m").identity()


async def test_a_vendors_key_goes_to_the_vendor_alone(
    servers: Servers, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-000000000000000000000000")
    model = servers.model(clock)
    await ask_many(model, 6)
    sent = [headers for one in servers.scripted for headers in one.headers]
    assert not any("Authorization" in headers for headers in sent)
    with pytest.raises(ValueError, match=r"example\.org is not api\.openai\.com"):
        OpenAICompatible("m", base_url=("https://api.openai.com/v1", "https://example.org/v1"))


@pytest.mark.parametrize("urls", [[], ["http://localhost:1/v1", "http://localhost:1/v1"]])
def test_a_list_is_of_addresses_that_differ(urls: list[str]) -> None:
    with pytest.raises(OptionError, match="addresses that differ"):
        registry.build(ComponentKind.MODEL, "openai/m", {"base_url": urls})


async def test_batches_are_kept_by_one_server(servers: Servers, clock: FakeClock) -> None:
    with pytest.raises(ModelError, match="a batch is kept by one server"):
        await ask(servers.model(clock, batch=True))
