"""The simulated models over HTTP: the same replies, and the errors that clients must survive."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from PIL import Image as PILImage

from opensafemlrm import images
from opensafemlrm.datasets.canary import Canary
from opensafemlrm.models.demo.server import SIMULATED, ServerOptions, simulated, start
from opensafemlrm.models.demo.sim import JUDGE, NAMES, Simulated
from opensafemlrm.types import Image, Item, Prompt, Sampling, Turn

ITEMS = [row for row in Canary().rows() if isinstance(row, Item)]
GO_ON = {"continue_final_message": True, "add_generation_prompt": False}
BEGUN = Prompt((*Prompt.user("Hi.").turns, Turn("assistant", ("<think>\n",))))
PICTURE = images.from_picture(PILImage.new("RGB", (8, 8)))


class Server:
    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session, self.url = session, url

    async def get(self, path: str) -> Any:
        async with self.session.get(self.url + path) as response:
            return await response.json()

    async def post(self, body: Any, **more: Any) -> tuple[int, Any]:
        arguments = {"data": body} if isinstance(body, bytes | io.BytesIO) else {"json": body}
        url = self.url + "/v1/chat/completions"
        async with self.session.post(url, **arguments, **more) as response:
            return response.status, await response.json()


@asynccontextmanager
async def serving(options: ServerOptions | None = None) -> AsyncIterator[Server]:
    runner, port = await start(simulated(options))
    try:
        async with aiohttp.ClientSession() as session:
            yield Server(session, f"http://127.0.0.1:{port}")
    finally:
        await runner.cleanup()


def request_body(model: str, prompt: Prompt, **more: Any) -> dict[str, Any]:
    def part(value: str | Image) -> dict[str, Any]:
        if isinstance(value, str):
            return {"type": "text", "text": value}
        return {"type": "image_url", "image_url": {"url": images.data_uri(value)}}

    messages = [{"role": t.role, "content": [part(p) for p in t.parts]} for t in prompt.turns]
    return {"model": SIMULATED + model, "messages": messages, "seed": 0, **more}


async def test_the_reply_is_the_one_given_in_the_same_process() -> None:
    async with serving() as server:
        for name in (*NAMES, JUDGE):
            for seed, item in enumerate(ITEMS[::60]):
                for prompt in (
                    Prompt.user(item.question, system=item.system),
                    Prompt.user(PICTURE, item.fields["rephrased"], system=item.system),
                ):
                    local = await Simulated(name).generate(prompt, Sampling(seed=seed))
                    status, body = await server.post(request_body(name, prompt, seed=seed))
                    assert status == 200
                    (choice,) = body["choices"]
                    assert choice["message"] == {"role": "assistant", "content": local.text}
                    assert choice["finish_reason"] == "stop"
                    assert body["model"] == SIMULATED + name
                    assert body["usage"]["prompt_tokens"] == local.usage.input_tokens
                    assert body["usage"]["completion_tokens"] == local.usage.output_tokens


async def test_text_content_is_the_same_as_one_text_part_and_the_prefix_is_optional() -> None:
    async with serving() as server:
        parts = request_body(NAMES[0], Prompt.user("Hello."))
        plain = {**parts, "model": SIMULATED + NAMES[0]}
        plain["messages"] = [{"role": "user", "content": "Hello."}]
        first, second = await server.post(parts), await server.post(plain)
        assert first[1]["choices"] == second[1]["choices"]


async def test_models_are_listed() -> None:
    async with serving() as server:
        listed = await server.get("/v1/models")
    assert [model["id"] for model in listed["data"]] == [
        SIMULATED + name for name in (*NAMES, JUDGE)
    ]
    assert {model["owned_by"] for model in listed["data"]} == {"simulated"}


async def test_a_begun_reply_goes_on_and_stops_as_in_the_same_process() -> None:
    async with serving() as server:
        for stop in (None, ("\n\n",)):
            local = await Simulated(NAMES[0]).generate(BEGUN, Sampling(stop=stop))
            more = {"stop": stop and list(stop)}
            _, body = await server.post(request_body(NAMES[0], BEGUN, **GO_ON, **more))
            assert body["choices"][0]["message"]["content"] == local.text


async def test_an_assistants_last_message_that_is_not_begun_is_answered_anew() -> None:
    """As vLLM does without continue_final_message: a client that forgets it gets a new turn."""
    async with serving() as server:
        _, new = await server.post(request_body(NAMES[0], BEGUN))
        _, gone_on = await server.post(request_body(NAMES[0], BEGUN, **GO_ON))
    assert new["choices"] != gone_on["choices"]
    assert new["choices"][0]["message"]["content"].startswith("<think>")


BAD_REQUESTS: list[tuple[Any, int, str]] = [
    (b"{not json", 400, "invalid_json"),
    (b"[]", 400, "invalid_request"),
    ({"messages": [{"role": "user", "content": "Hi."}]}, 400, "invalid_request"),
    ({"model": "gpt-9", "messages": []}, 404, "model_not_found"),
    ({"model": SIMULATED + NAMES[0], "messages": []}, 400, "invalid_request"),
    ({"model": SIMULATED + NAMES[0], "messages": [{"role": "user"}]}, 400, "invalid_request"),
    (
        {"model": SIMULATED + NAMES[0], "messages": [{"role": "nobody", "content": ""}]},
        400,
        "invalid_request",
    ),
    (request_body(NAMES[0], Prompt.user("Hi."), stream=True), 400, "unsupported"),
    (request_body(NAMES[0], Prompt.user("Hi."), max_tokens=-1), 400, "invalid_request"),
    (request_body(NAMES[0], Prompt.user("Hi."), seed="x"), 400, "invalid_request"),
    (request_body(NAMES[0], Prompt.user("Hi."), stop=[1]), 400, "invalid_request"),
    (request_body(NAMES[0], BEGUN, continue_final_message=True), 400, "invalid_request"),
    (request_body(NAMES[0], Prompt.user("Hi."), **GO_ON), 400, "invalid_request"),
    (request_body(JUDGE, BEGUN, **GO_ON), 400, "unsupported"),
]


@pytest.mark.parametrize(("body", "status", "code"), BAD_REQUESTS)
async def test_a_bad_request_is_an_error_in_the_shape_of_openai(
    body: Any, status: int, code: str
) -> None:
    async with serving() as server:
        got, answer = await server.post(body)
    assert (got, answer["error"]["code"]) == (status, code)
    assert answer["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/picture.png",
        "data:image/png;base64,!!!",
        "data:image/png;base64,aGVsbG8=",
        "data:image/png;base64,",
        "file:///etc/hostname",
    ],
)
async def test_an_image_that_is_none_is_refused_and_nothing_is_fetched(url: str) -> None:
    """An image dropped in silence would turn an image attack into the bare text."""
    body = request_body(NAMES[0], Prompt.user("Hi."))
    body["messages"][0]["content"].append({"type": "image_url", "image_url": {"url": url}})
    async with serving() as server:
        status, answer = await server.post(body)
    assert (status, answer["error"]["code"]) == (400, "invalid_image")


async def test_a_large_body_is_taken() -> None:
    """aiohttp's own limit is 1 MB: less than one photograph as a data URI."""
    async with serving() as server:
        body = json.dumps(request_body(NAMES[0], Prompt.user("word " * 1_000_000)))
        status, _ = await server.post(io.BytesIO(body.encode()))
    assert status == 200


async def test_an_unknown_path_is_a_json_error() -> None:
    async with serving() as server:
        assert (await server.get("/v2/other"))["error"]["code"] == "invalid_request"


async def test_error_rates_are_met_and_a_repeated_request_can_succeed() -> None:
    options = ServerOptions(error_rate=0.3, rate_limited_rate=0.2)
    body = request_body(NAMES[0], Prompt.user("Hi."))
    async with serving(options) as server:
        ended = [(await server.post(body))[0] for _ in range(200)]
        stats = await server.get("/stats")
    assert ended.count(500) == pytest.approx(60, abs=25)
    assert ended.count(429) == pytest.approx(40, abs=25)
    assert ended.count(200) == stats["requests"][NAMES[0]]
    assert stats["errors"] == {
        "simulated_error": ended.count(500),
        "rate_limit_exceeded": ended.count(429),
    }
    assert stats["received"] == 200


async def test_a_block_is_a_content_filter_error_and_a_cut_has_finish_reason_length() -> None:
    body = request_body(NAMES[0], Prompt.user("Hi."))
    async with serving(ServerOptions(blocked_rate=1.0)) as server:
        status, answer = await server.post(body)
        assert (status, answer["error"]["code"]) == (400, "content_filter")
    async with serving(ServerOptions(truncated_rate=1.0)) as server:
        status, answer = await server.post(body)
        assert (status, answer["choices"][0]["finish_reason"]) == (200, "length")


async def test_max_in_flight_turns_the_rest_away_and_the_peak_is_counted() -> None:
    body = request_body(NAMES[0], Prompt.user("Hi."))
    async with serving(ServerOptions(latency=0.2, max_in_flight=3)) as server:
        ended = await asyncio.gather(*(server.post(body) for _ in range(8)))
        stats = await server.get("/stats")
    assert sorted(status for status, _ in ended) == [200] * 3 + [429] * 5
    assert stats["in_flight"] == 0
    assert stats["in_flight_peak"] >= 4


@pytest.mark.parametrize("name", ["r1-onevision-7b", "mm-eureka-qwen-7b"])
async def test_a_reasoning_parser_splits_the_reasoning_off(name: str) -> None:
    body = request_body(name, Prompt.user("Hi."))
    async with serving() as inline, serving(ServerOptions(reasoning_parser=True)) as splitting:
        whole = (await inline.post(body))[1]["choices"][0]["message"]["content"]
        message = (await splitting.post(body))[1]["choices"][0]["message"]
    joined = f"<think>{message['reasoning_content']}</think>{message['content']}"
    assert joined == whole


async def test_a_reasoning_parser_gives_no_content_where_the_end_tag_never_came() -> None:
    """As vLLM does; a client that reads null as an empty answer counts it as safe."""
    body = request_body("r1-onevision-7b", Prompt.user("Hi."), max_tokens=20)
    async with serving(ServerOptions(reasoning_parser=True)) as server:
        message = (await server.post(body))[1]["choices"][0]["message"]
    assert message["content"] is None
    assert message["reasoning_content"]


async def test_a_reasoning_parser_leaves_other_formats_alone() -> None:
    async with serving(ServerOptions(reasoning_parser=True)) as server:
        for name in ("mulberry-llava-8b", "qwen2-vl-7b"):
            _, answer = await server.post(request_body(name, Prompt.user("Hi.")))
            assert "reasoning_content" not in answer["choices"][0]["message"]


@pytest.mark.skipif(sys.platform == "win32", reason="no signal handlers on Windows' loop")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_serve_says_where_it_is_and_ends_cleanly_when_told_to(number: signal.Signals) -> None:
    code = (
        "from opensafemlrm.models.demo.server import serve, simulated\n"
        "serve(simulated(), port=0, on_ready=lambda url: print(url, flush=True))\n"
        "print('ended')\n"
    )
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=pipe, stderr=pipe
    )
    assert process.stdout is not None
    url = (await process.stdout.readline()).decode().strip()
    async with aiohttp.ClientSession() as session, session.get(f"{url}/models") as response:
        assert response.status == 200
    process.send_signal(number)
    out, err = await process.communicate()
    assert (process.returncode, out.decode(), err.decode()) == (0, "ended\n", "")


FOREIGN = [
    {"Origin": "https://elsewhere.test"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "null"},
    {"Origin": "http://["},
    {"Host": "elsewhere.test"},
    {"Host": "localhost.elsewhere.test"},
    {"Host": "127.0.0.1.elsewhere.test:8000"},
    {"Host": "10.0.0.7"},
    {"Host": "["},
]


@pytest.mark.parametrize("headers", FOREIGN)
async def test_a_page_of_another_site_gets_no_answer(headers: dict[str, str]) -> None:
    """Any page in a browser could ask, by its own name or by one that leads to 127.0.0.1."""
    body = request_body(NAMES[0], Prompt.user("tea?"))
    async with serving() as server:
        status, said = await server.post(body, headers=headers)
        assert (status, said["error"]["code"]) == (403, "forbidden")
        async with server.session.get(f"{server.url}/stats", headers=headers) as response:
            assert response.status == 403


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded; charset=x"])
async def test_a_form_that_any_page_may_send_gets_no_answer(kind: str) -> None:
    body = json.dumps(request_body(NAMES[0], Prompt.user("tea?"))).encode()
    async with serving() as server:
        status, _ = await server.post(body, headers={"Content-Type": kind})
    assert status == 415


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "[::1]:8000", "me.localhost"])
async def test_programs_and_pages_of_this_machine_get_theirs(host: str) -> None:
    body = request_body(NAMES[0], Prompt.user("tea?"))
    async with serving() as server:
        for headers in ({"Host": host}, {"Host": host, "Origin": f"http://{host}"}):
            assert (await server.post(body, headers=headers))[0] == 200
