"""How requests that go wrong end: typed, counted, and never as text of the model."""

from __future__ import annotations

import asyncio
import socket

import pytest
from aiohttp import web

from opensafemlrm.errors import EndpointDownError, ModelError
from opensafemlrm.models.hosted.openai_compatible import OpenAICompatible
from opensafemlrm.models.hosted.vllm import VLLM
from opensafemlrm.types import ResponseStatus
from tests.models.scripted import ask, completion, error

FAKE_KEY = "sk-planted-0123456789abcdef"


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ((400, error("no"), {}), "http_400"),
        ((422, {"detail": [{"loc": ["body"], "msg": "bad field"}]}, {}), "http_422"),
        ((302, b"", {"Location": "http://elsewhere.test/v1"}), "redirect"),
        ([1, 2], "bad_shape"),
        ({"id": "x"}, "bad_shape"),
        ({"choices": [7]}, "bad_shape"),
        ({"choices": [{"message": {"content": 7}}]}, "bad_shape"),
        ({"choices": [{"message": None}]}, "no_message"),
    ],
)
async def test_what_asking_again_cannot_mend_fails_at_once(server, connect, reply, code):
    """Published mistake: an error string or a missing key becomes the answer."""
    model = connect()
    await ask(model)
    server.script = [reply]
    response = await ask(model)
    assert (response.status, response.code) == (ResponseStatus.FAILED, code)
    assert (response.transient, response.text, response.retries) == (False, "", 0)
    assert len(server.bodies) == 3  # the last one to see whether the server answers others
    # Nothing is final from a server that has answered nobody.
    server.script = [reply]
    assert (await ask(connect())).transient
    assert len(server.bodies) == 4


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ((408, error(), {}), "http_408"),
        ((409, error(), {}), "http_409"),
        ((429, error(), {}), "http_429"),
        ((500, b"Internal Server Error", {}), "http_500"),
        ((503, error("loading"), {}), "http_503"),
        (error("upstream busy", code=502), "http_502"),
        (error("odd"), "provider_error"),
        ({"choices": [{"error": {"message": "died", "code": 500}}]}, "http_500"),
        (b'{"choices":[{"message":{"content":"half', "bad_json"),
        (b"[" * 100_000, "bad_json"),
        (b"", "empty_body"),
        (b"<html>sign in</html>", "not_json"),
        (b"data: {}\n\n", "not_json"),
        ({"choices": []}, "empty_choices"),
        ({"choices": [{"message": {"content": "half"}, "finish_reason": "abort"}]}, "aborted"),
    ],
)
async def test_what_may_pass_is_asked_again_then_fails_typed(server, connect, reply, code):
    server.always = reply
    response = await ask(connect(max_retries=2))
    assert (response.status, response.code) == (ResponseStatus.FAILED, code)
    assert (response.transient, response.text, response.retries) == (True, "", 2)
    assert len(server.bodies) == 3
    server.script = [reply]
    server.always = None
    mended = await ask(connect())
    assert (mended.status, mended.text, mended.retries) == (ResponseStatus.OK, "hello", 1)


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ((400, error("filtered", code="content_filter"), {}), "content_filter"),
        ((400, error("no", code="content_policy_violation"), {}), "content_policy_violation"),
        (
            (
                400,
                error("no", code="x", innererror={"code": "ResponsibleAIPolicyViolation"}),
                {},
            ),
            "ResponsibleAIPolicyViolation",
        ),
        ((400, error("no", code="data_inspection_failed"), {}), "data_inspection_failed"),
        (
            (400, error("Content Exists Risk", type="invalid_request_error"), {}),
            "content_exists_risk",
        ),
        (
            (403, {"code": "denied", "error": "Content violates usage guidelines. Team: t"}, {}),
            "usage_guidelines",
        ),
        (
            (403, error("flagged", code=403, metadata={"flagged_input": "planted words"}), {}),
            "moderation",
        ),
        (error("filtered", code="content_filter"), "content_filter"),
    ],
)
async def test_a_providers_filter_is_a_block_with_its_code(server, connect, reply, code):
    """Published mistake: a content-policy rejection stored as a reply, scored as a refusal."""
    server.script = [reply]
    response = await ask(connect())
    assert (response.status, response.code) == (ResponseStatus.BLOCKED, code)
    assert response.text == ""
    assert "planted words" not in repr(response)
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ((401, error("Incorrect API key"), {}), "OPENAI_API_KEY is missing or wrong"),
        ((402, error("Insufficient Balance"), {}), "no credit"),
        ((403, error("not allowed"), {}), "may not use this model"),
        ((404, error("The model `m` does not exist", code="model_not_found"), {}), "/v1/models"),
        ((404, b"Not Found", {}), "base_url is wrong"),
        ((405, b"", {}), "base_url is wrong"),
        ((429, error("quota", code="insufficient_quota"), {}), "quota is used up"),
    ],
)
async def test_what_no_request_can_mend_stops_at_once_and_says_what_to_do(
    server, connect, reply, said
):
    server.always = reply
    with pytest.raises(ModelError, match="cannot be used at") as caught:
        await ask(connect(api_key_env="OPENAI_API_KEY"))
    assert said in str(caught.value)
    assert not isinstance(caught.value, EndpointDownError)
    # A firewall may dislike the first prompt alone: one harmless request is turned down as well.
    assert len(server.bodies) == (2 if reply[0] == 403 else 1)


@pytest.mark.parametrize(("status", "first"), [(403, False), (404, False), (403, True)])
async def test_a_refusal_of_one_request_is_about_that_request_alone(server, connect, status, first):
    """A firewall that dislikes one prompt must not end a run of thousands, nor let none begin."""
    model = connect()
    if not first:
        assert (await ask(model)).status is ResponseStatus.OK
    server.script = [(status, b"<html>blocked by policy</html>", {})]
    response = await ask(model)
    assert (response.status, response.code) == (ResponseStatus.FAILED, f"http_{status}")
    assert response.transient is first
    assert (await ask(model)).status is ResponseStatus.OK


async def test_a_server_that_turns_down_every_request_stops_the_run(server, connect):
    server.always = (400, error("this model takes no images"), {})
    model = connect(give_up_after=3)
    assert (await ask(model)).code == (await ask(model)).code == "http_400"
    with pytest.raises(ModelError, match="this model takes no images"):
        await ask(model)


async def test_the_wrong_server_stops_the_run(server, connect):
    server.always = (307, b"", {"Location": "/login"})
    model = connect(give_up_after=3)
    assert (await ask(model)).code == (await ask(model)).code == "redirect"
    with pytest.raises(ModelError, match="redirect"):
        await ask(model)


async def test_a_redirect_is_not_followed_and_the_key_stays(server, connect, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", FAKE_KEY)
    server.script = [(307, b"", {"Location": f"{server.base_url}/chat/completions?moved=1"})]
    response = await ask(connect())
    assert response.code == "redirect"
    assert "127.0.0.1" in (response.detail or "")
    assert len(server.bodies) == 1


class TestConnection:
    async def test_a_timeout_is_retried_and_typed(self, server, connect):
        async def never(_: web.Request) -> web.Response:
            await asyncio.sleep(30)
            raise AssertionError

        server.script = [never]
        response = await ask(connect(timeout=0.05))
        assert (response.status, response.retries) == (ResponseStatus.OK, 1)
        server.script = [never]
        response = await ask(connect(timeout=0.05, max_retries=0))
        assert (response.code, response.transient) == ("timeout", True)
        assert response.latency >= 0.05

    async def test_a_dropped_connection_is_retried(self, server, connect):
        async def drop(request: web.Request) -> web.Response:
            assert request.transport is not None
            request.transport.close()
            return web.Response()

        server.script = [drop, drop]
        response = await ask(connect())
        assert (response.status, response.retries) == (ResponseStatus.OK, 2)
        server.always = drop
        assert (await ask(connect(max_retries=0))).code == "disconnected"

    async def test_a_body_cut_short_is_retried(self, server, connect):
        async def short(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Length": "1000"})
            await response.prepare(request)
            await response.write(b'{"choices":[{"message":{"content":"half')
            assert request.transport is not None
            request.transport.close()
            return response

        server.script = [short]
        response = await ask(connect())
        assert (response.text, response.retries) == ("hello", 1)

    @pytest.mark.parametrize("headers", [{}, {"Content-Encoding": "gzip"}])
    async def test_an_endless_body_is_given_up(self, server, connect, headers):
        async def endless(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            if headers:
                response.enable_compression(web.ContentCoding.gzip)
            await response.prepare(request)
            for _ in range(40):
                await response.write(b" " * 2**20)
            return response

        model = connect()
        await ask(model)
        server.script = [endless]
        response = await ask(model)
        assert (response.code, response.transient, response.text) == ("too_large", False, "")

    async def test_a_cancelled_request_frees_its_place(self, server, connect):
        started = asyncio.Event()

        async def slow(_: web.Request) -> web.Response:
            started.set()
            await asyncio.sleep(30)
            raise AssertionError

        server.script = [slow]
        model = connect(concurrency=1)
        task = asyncio.create_task(ask(model))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await ask(model)).status is ResponseStatus.OK

    async def test_no_more_than_concurrency_at_once(self, server, connect):
        running = peak = 0

        async def count(_: web.Request) -> web.Response:
            nonlocal running, peak
            running += 1
            peak = max(peak, running)
            await asyncio.sleep(0.002)
            running -= 1
            return web.json_response(completion())

        server.always = count
        model = connect(concurrency=3)
        await asyncio.gather(*(ask(model) for _ in range(12)))
        assert peak == 3

    async def test_closing_twice_and_going_on_after_it_both_work(self, server, connect):
        model = connect()
        await model.aclose()
        assert (await ask(model)).status is ResponseStatus.OK
        await model.aclose()
        await model.aclose()
        assert (await ask(model)).status is ResponseStatus.OK

    def test_a_model_serves_one_event_loop_after_another(self):
        """Notebooks and tests call asyncio.run again and again on the same model."""

        async def once(model: OpenAICompatible) -> str | None:
            async def hello(_: web.Request) -> web.Response:
                return web.json_response({"choices": [{"message": {"content": "hi"}}]})

            app = web.Application()
            app.router.add_post("/v1/chat/completions", hello)
            runner = web.AppRunner(app)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", port)
            await site.start()
            text = (await ask(model)).text
            await model.aclose()
            await runner.cleanup()
            return text

        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        model = OpenAICompatible("m", base_url=f"http://127.0.0.1:{port}/v1")
        assert [asyncio.run(once(model)) for _ in range(2)] == ["hi", "hi"]


class TestKeys:
    @pytest.fixture(autouse=True)
    def planted(self, monkeypatch):
        monkeypatch.setenv("OPENAI_API_KEY", FAKE_KEY)

    async def test_the_key_goes_into_the_request_and_nowhere_else(self, server, connect, caplog):
        echo = error(f"bad key {FAKE_KEY} " * 20, code=FAKE_KEY, type=FAKE_KEY)
        seen: list[object] = []
        for status in (200, 400, 401, 404, 429, 500):
            server.script = [(status, echo, {})]
            model = connect(max_retries=0, api_key_env="OPENAI_API_KEY")
            try:
                seen.append(await ask(model))
            except ModelError as caught:
                seen.append(caught)
            seen += [model, model.identity(), model.label]
        server.always = (500, echo, {})
        with pytest.raises(EndpointDownError) as down:
            await ask(connect(max_retries=0, give_up_after=1, api_key_env="OPENAI_API_KEY"))
        seen += [down.value]
        assert {headers["Authorization"] for headers in server.headers} == {f"Bearer {FAKE_KEY}"}
        for value in seen:
            assert FAKE_KEY not in f"{value!r} {value}"
            assert FAKE_KEY[:20] not in f"{value!r} {value}"
        assert FAKE_KEY not in caplog.text

    async def test_a_missing_key_stops_before_any_request(self, monkeypatch):
        """Published mistake: every reply is the same error text, and every score a refusal."""
        monkeypatch.delenv("OPENAI_API_KEY")
        model = OpenAICompatible("m")
        with pytest.raises(ModelError, match=r"set the environment variable OPENAI_API_KEY"):
            await ask(model)

    async def test_a_key_that_cannot_be_one_is_refused_without_showing_it(self, monkeypatch):
        monkeypatch.setenv("OPENAI_API_KEY", "planted\nX-Header: 1")
        with pytest.raises(ModelError) as caught:
            await ask(OpenAICompatible("m"))
        assert "planted" not in str(caught.value)

    async def test_a_local_server_needs_no_key(self, server, connect, monkeypatch):
        monkeypatch.delenv("OPENAI_API_KEY")
        assert (await ask(connect())).status is ResponseStatus.OK
        assert "Authorization" not in server.headers[0]

    async def test_a_vllm_server_never_gets_the_openai_key(self, server, monkeypatch):
        model = VLLM("m", base_url=server.base_url)
        assert (await ask(model)).status is ResponseStatus.OK
        monkeypatch.setenv("VLLM_API_KEY", "token")
        other = VLLM("m", base_url=server.base_url)
        await ask(other)
        assert [h.get("Authorization") for h in server.headers] == [None, "Bearer token"]
        await model.aclose()
        await other.aclose()

    async def test_the_address_can_come_from_the_environment(self, server, connect, monkeypatch):
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url + "/")
        assert (await ask(connect(base_url=None))).status is ResponseStatus.OK
        monkeypatch.setenv("OPENAI_BASE_URL", "nonsense")
        with pytest.raises(ValueError, match="OPENAI_BASE_URL is wrong"):
            connect(base_url=None)

    async def test_a_short_value_in_the_query_does_not_hide_what_a_code_means(
        self, server, connect
    ):
        """`?v=4` made http_404 another code, and a run at a wrong address went on and on."""
        server.script = [(404, error("no such model"), {})]
        with pytest.raises(ModelError, match="does not have this model"):
            await ask(connect(base_url=f"{server.base_url}?v=4"))

    async def test_a_query_in_the_address_is_kept_and_not_shown(self, server, connect):
        server.script = [(404, error("no route for word-in-query"), {})]
        with pytest.raises(ModelError) as caught:
            await ask(connect(base_url=f"{server.base_url}?token=word-in-query"))
        assert "word-in-query" not in str(caught.value)
        assert len(server.bodies) == 1
