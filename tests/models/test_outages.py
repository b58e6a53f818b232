"""A server that goes down after it answered, and requests that it alone cannot take.

The one looks like the other: 404 of a model that was unloaded, 400 of a gateway, 500 of a picture.
A short harmless request of the same form tells them apart.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web
from PIL import Image as PILImage

from opensafemlrm import images
from opensafemlrm.errors import EndpointDownError, ModelError
from opensafemlrm.types import Prompt, Response, ResponseStatus, Sampling, Turn
from tests.models.scripted import ask, completion, error

HARMLESS = "Which colour is the sky"


def asks(body: dict[str, Any]) -> str:
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else content[-1]["text"]


def refusing(taken: Callable[[str], bool], status: int = 400) -> Callable[[web.Request], Any]:
    """Turn down every request whose last text is not ``taken``."""

    async def handle(request: web.Request) -> web.Response:
        well = taken(asks(json.loads(await request.read())))
        return web.json_response(
            completion() if well else error("not this one"), status=200 if well else status
        )

    return handle


async def say(model: Any, text: str) -> Response:
    return await model.generate(Prompt.user(text), Sampling())


OUTAGES = [
    (404, b"<html>404 Not Found</html>", {}),
    (403, b"<html>Access denied</html>", {}),
    (400, error("bad gateway configuration"), {}),
    (413, b"", {}),
    (302, b"", {"Location": "/login"}),
    (200, {"id": "x"}, {}),
    (200, {"error": {"message": "an odd thing"}}, {}),
    (200, {"error": "an odd thing"}, {}),
    (200, {"code": 7, "message": "an odd thing"}, {}),
    (200, {"choices": [{"error": {"message": "an odd thing"}}]}, {}),
    (200, b"<html>sign in</html>", {}),
    (401, error("no such key"), {}),
    (402, error("no credit"), {}),
    (500, error("out of memory"), {}),
]


@pytest.mark.parametrize("outage", OUTAGES, ids=lambda outage: str(outage[0]))
@pytest.mark.parametrize("concurrency", [1, 8])
async def test_an_outage_after_successes_stops_the_model_and_no_failure_is_final(
    server, connect, outage, concurrency
):
    """Published mistake: 290 of 300 samples were failures for good, and the exit code was 0."""
    model = connect(concurrency=concurrency, give_up_after=5, max_retries=1)
    for _ in range(3):
        assert (await ask(model)).status is ResponseStatus.OK
    server.always = outage
    ends: list[Response | BaseException] = []
    for _ in range(40 // concurrency):
        ends += await asyncio.gather(
            *(ask(model) for _ in range(concurrency)), return_exceptions=True
        )
        if isinstance(ends[-1], BaseException):
            break
    stopped = [end for end in ends if isinstance(end, ModelError)]
    failed = [end for end in ends if isinstance(end, Response)]
    assert len(stopped) + len(failed) == len(ends)
    assert stopped
    assert len(failed) < 5
    assert all(end.transient for end in failed)
    server.always = None
    assert (await ask(model)).status is ResponseStatus.OK


async def test_a_request_that_the_server_alone_turns_down_is_final_once_others_are_answered(
    server, connect
):
    model = connect(concurrency=1, give_up_after=3)
    server.always = refusing(lambda text: "bad" not in text)
    first = await say(model, "bad 0")
    assert first.transient  # nobody was answered yet: it may be the server
    assert (await say(model, "good")).status is ResponseStatus.OK
    for number in range(9):  # more than give_up_after in a row
        assert not (await say(model, f"bad {number}")).transient
    assert (await say(model, "good")).status is ResponseStatus.OK
    probes = [body for body in server.bodies if HARMLESS in asks(body)]
    assert len(probes) == 9


async def test_other_answers_spare_the_probes(server, connect):
    model = connect(concurrency=16)
    await say(model, "good")

    async def slow(request: web.Request) -> web.Response:
        await asyncio.sleep(0.001 * (len(server.bodies) % 7))
        return await refusing(lambda text: "bad" not in text)(request)

    server.always = slow
    ends = await asyncio.gather(
        *(say(model, f"{'bad' if n % 10 == 0 else 'good'} {n}") for n in range(200))
    )
    assert sum(end.status is ResponseStatus.FAILED for end in ends) == 20
    assert not any(end.transient for end in ends)
    assert sum(HARMLESS in asks(body) for body in server.bodies) <= 20


async def test_pictures_that_a_server_cannot_digest_do_not_keep_it_from_the_others(server, connect):
    """Published mistake: 500 for the first 25 of 60 items ended three runs at the same place."""
    model = connect(concurrency=4, give_up_after=5, max_retries=2)
    server.always = refusing(lambda text: "bad" not in text, status=500)
    left = [f"bad {n}" for n in range(25)] + [f"good {n}" for n in range(35)]
    ends: list[Response] = []

    async def work() -> None:
        while left:
            ends.append(await say(model, left.pop(0)))

    await asyncio.gather(*(work() for _ in range(4)))
    failed = [end for end in ends if end.status is ResponseStatus.FAILED]
    assert (len(failed), len(ends)) == (25, 60)
    assert all(end.code == "http_500" and end.transient for end in failed)
    # Once it is plain that the server is well, each is tried once.
    assert len(server.bodies) < 60 + 25


async def test_the_probe_has_the_form_of_what_failed(server, connect):
    """A server that takes no pictures answers a text: that it does says nothing."""
    picture = images.from_picture(PILImage.new("RGB", (8, 8), "red"))
    prompt = Prompt((Turn("system", ("be brief",)), Turn("user", (picture, picture, "look"))))

    async def no_pictures(_: web.Request) -> web.Response:
        content = server.bodies[-1]["messages"][-1]["content"]
        if isinstance(content, str):
            return web.json_response(completion())
        return web.json_response(error("something odd"), status=400)

    model = connect(give_up_after=4)
    server.always = no_pictures
    await ask(model)
    for _ in range(3):
        assert (await model.generate(prompt, Sampling(max_tokens=77, seed=5))).transient
    probe = next(body for body in server.bodies if HARMLESS in asks(body))
    shape = [(m["role"], [part["type"] for part in m["content"]]) for m in probe["messages"][1:]]
    assert probe["messages"][0]["role"] == "system"
    assert shape == [("user", ["image_url", "image_url", "text"])]
    assert (probe["max_tokens"], probe["seed"], probe["model"]) == (77, 5, "m")
    with pytest.raises(EndpointDownError, match="something odd"):
        await model.generate(prompt, Sampling())


async def test_credit_that_ends_for_one_model_alone_is_told_from_one_odd_request(server, connect):
    model = connect()
    await ask(model)
    server.script = [(400, error("your credit balance is too low for this one"), {})]
    response = await ask(model)
    assert (response.code, response.transient) == ("insufficient_quota", True)
    assert (await ask(model)).status is ResponseStatus.OK
