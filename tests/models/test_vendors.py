"""Every hosted API: what is sent, and that each way a request can end has its typed outcome."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from PIL import Image as PILImage

from opensafemlrm import images, reasoning, registry
from opensafemlrm.errors import ModelError, OptionError
from opensafemlrm.types import Prompt, Response, ResponseStatus, Sampling, TraceStatus, Turn
from tests.models.scripted import HELLO, FakeClock, ScriptedServer
from tests.models.vendors import VENDORS, Gemini, Messages, Responses

pytestmark = pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.name)


class Server(ScriptedServer):
    """Answers on every path, and keeps which it was."""

    def __init__(self) -> None:
        super().__init__()
        self.paths: list[str] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(request.rel_url.raw_path)
        return await super().handle(request)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    scripted = Server()
    app = web.Application(client_max_size=2**26)
    app.router.add_post("/{path:.*}", scripted.handle)
    async with TestServer(app) as running:
        scripted.base_url = str(running.make_url("/v1"))
        yield scripted


@pytest.fixture
async def connect(server, vendor, clock, monkeypatch) -> AsyncIterator[Callable[..., Any]]:
    monkeypatch.setenv(vendor.key_env, "k-test")
    server.clock = clock
    server.always = vendor.plain()
    made: list[Any] = []

    def make(**options: Any) -> Any:
        options = {"base_url": server.base_url, "api_key_env": vendor.key_env, **options}
        model = registry.build(registry.ComponentKind.MODEL, f"{vendor.name}/m", options)
        model._state.clock = clock
        made.append(model)
        return model

    yield make
    for model in made:
        await model.aclose()


async def ask(server: Server, connect: Callable[..., Any], *replies: Any) -> Response:
    server.script = list(replies)
    response = await connect(max_retries=len(replies)).generate(HELLO, Sampling())
    assert isinstance(response, Response)
    return response


async def test_a_plain_reply(vendor, server, connect):
    response = await ask(server, connect, vendor.plain())
    assert (response.status, response.text) == (ResponseStatus.OK, "hello")
    assert (response.usage.input_tokens, response.usage.output_tokens) == (3, 5)
    trace = reasoning.parse(response)
    assert (trace.status, trace.answer) == (TraceStatus.ABSENT, "hello")
    assert server.paths == [vendor.path]
    name, value = vendor.header
    assert server.headers[0][name] == value


async def test_reasoning_of_a_closed_model_is_a_summary_and_marked_so(vendor, server, connect):
    """Published mistake: a vendor's summary taken for the raw reasoning."""
    response = await ask(server, connect, vendor.reasoning())
    trace = reasoning.parse(response)
    assert (trace.status, trace.reasoning) == (TraceStatus.SUMMARY, "first this")
    assert trace.answer == "hello"


async def test_reasoning_that_was_kept_back_is_hidden_and_not_absent(vendor, server, connect):
    response = await ask(server, connect, vendor.redacted())
    trace = reasoning.parse(response)
    assert (trace.status, trace.reasoning, trace.answer) == (TraceStatus.HIDDEN, None, "hello")


async def test_a_providers_filter_blocks_with_its_code(vendor, server, connect):
    response = await ask(server, connect, vendor.stopped_by_filter())
    assert (response.status, response.code) == (ResponseStatus.BLOCKED, vendor.filter_code)


async def test_a_cut_reply_is_truncated(vendor, server, connect):
    response = await ask(server, connect, vendor.cut())
    assert (response.status, response.text) == (ResponseStatus.TRUNCATED, "hel")


async def test_a_rate_limit_waits_as_long_as_it_says(vendor, server, connect, clock: FakeClock):
    limited = (429, vendor.error(429), {"Retry-After": "7"})
    response = await ask(server, connect, limited, vendor.plain())
    assert (response.status, response.retries) == (ResponseStatus.OK, 1)
    assert server.times[1] - server.times[0] >= 7


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda vendor: (500, vendor.error(500), {}), "http_500"),
        (lambda vendor: (529, vendor.error(529), {}), "http_529"),
        (lambda _: b'{"half', "bad_json"),
        (lambda vendor: vendor.empty(), "empty_choices"),
    ],
)
async def test_what_may_pass_is_asked_again_then_fails_typed(vendor, server, connect, make, code):
    server.always = make(vendor)
    response = await connect(max_retries=1).generate(HELLO, Sampling())
    assert (response.status, response.code) == (ResponseStatus.FAILED, code)
    assert (response.transient, response.text, len(server.bodies)) == (True, "", 2)


@pytest.mark.parametrize(
    "body", [[1], {"unexpected": 1}, {"choices": 3, "output": 3, "content": 3}]
)
async def test_another_shape_fails_and_is_never_text(vendor, server, connect, body):
    response = await ask(server, connect, body)
    assert (response.status, response.code) == (ResponseStatus.FAILED, "bad_shape")


async def test_a_wrong_key_ends_the_run_with_what_to_do(vendor, server, connect):
    status, body = vendor.denied()
    with pytest.raises(ModelError, match=f"the key in {vendor.key_env} is missing or wrong"):
        await ask(server, connect, (status, body, {}))
    assert len(server.bodies) == 1


async def test_no_key_is_said_before_anything_is_sent(vendor, server, connect, monkeypatch):
    monkeypatch.delenv(vendor.key_env)
    with pytest.raises(ModelError, match=vendor.key_env):
        await connect(base_url="https://vendor.test/v1").generate(HELLO, Sampling())


async def test_images_texts_turns_and_sampling_arrive(vendor, server, connect):
    picture = images.from_picture(PILImage.new("RGB", (8, 6), "red"))
    turns = (
        Turn("system", ("be brief",)),
        Turn("user", ("look", picture)),
        Turn("assistant", ("yes",)),
        Turn("user", ("more\ud800",)),
    )
    await connect().generate(Prompt(turns), Sampling(0.5, 77, seed=3, top_p=0.9))
    body = server.bodies[0]
    assert _seen(vendor, body) == {
        "system": "be brief",
        "turns": [("user", "look"), ("assistant", "yes"), ("user", "more\ud800")],
        "image": images.data_uri(picture).partition(",")[2],
        "sampling": (0.5, 77, 0.9),
    }


def _seen(vendor: Any, body: dict[str, Any]) -> dict[str, Any]:
    """Read a request back, by the vendor's documented names."""
    if isinstance(vendor, Messages):
        user, *rest = body["messages"]
        return {
            "system": body["system"],
            "turns": [(m["role"], m["content"][0]["text"]) for m in (user, *rest)],
            "image": user["content"][1]["source"]["data"],
            "sampling": (body["temperature"], body["max_tokens"], body["top_p"]),
        }
    if isinstance(vendor, Gemini):
        roles = {"model": "assistant", "user": "user"}
        config = body["generationConfig"]
        assert config["thinkingConfig"] == {"includeThoughts": True}
        assert config["seed"] == 3
        return {
            "system": body["systemInstruction"]["parts"][0]["text"],
            "turns": [(roles[c["role"]], c["parts"][0]["text"]) for c in body["contents"]],
            "image": body["contents"][0]["parts"][1]["inline_data"]["data"],
            "sampling": (config["temperature"], config["maxOutputTokens"], config["topP"]),
        }
    if isinstance(vendor, Responses):
        assert body["reasoning"] == {"summary": "auto"}
        assert body["store"] is False
        system, user, *rest = body["input"]
        return {
            "system": system["content"][0]["text"],
            "turns": [(m["role"], m["content"][0]["text"]) for m in (user, *rest)],
            "image": user["content"][1]["image_url"].partition(",")[2],
            "sampling": (body["temperature"], body["max_output_tokens"], body["top_p"]),
        }
    system, user, *rest = body["messages"]
    return {
        "system": system["content"],
        "turns": [
            ("user", user["content"][0]["text"]),
            *((m["role"], m["content"]) for m in rest),
        ],
        "image": user["content"][1]["image_url"]["url"].partition(",")[2],
        "sampling": (body["temperature"], body["max_tokens"], body["top_p"]),
    }


async def test_an_option_can_be_left_out_and_vain_ones_are_refused(vendor, server, connect):
    fields = {"generationConfig": {"temperature": None}} if vendor.name == "google" else {
        "temperature": None
    }  # fmt: skip
    await connect(extra_body=fields).generate(HELLO, Sampling())
    assert "temperature" not in repr(server.bodies[0])
    if vendor.name in ("anthropic", "google"):
        with pytest.raises(OptionError, match="has no option 'image_detail'"):
            connect(image_detail="low")
