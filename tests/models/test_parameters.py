"""Parameters that a server turns down: adapted once, before the items are bought, and recorded."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web

from opensafemlrm.analysis.alarms import changes_sent
from opensafemlrm.models.http.parameters import SYSTEM_ROLE, refused_parameters
from opensafemlrm.types import Prompt, Response, ResponseStatus, Sampling
from tests.models.scripted import HELLO, ScriptedServer, completion, error

GPT5_TOKENS = error(
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
    "'max_completion_tokens' instead.",
    type="invalid_request_error",
    param="max_tokens",
    code="unsupported_parameter",
)
GPT5_TEMPERATURE = error(
    "Unsupported value: 'temperature' does not support 0.0 with this model. Only the default (1) "
    "value is supported.",
    type="invalid_request_error",
    param="temperature",
    code="unsupported_value",
)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (GPT5_TOKENS, "max_tokens"),
        (GPT5_TEMPERATURE, "temperature"),
        (error("Unrecognized request argument supplied: seed"), "seed"),
        (error("Bad request", param="seed"), "seed"),
        (error("max_tokens has been replaced by max_completion_tokens"), "max_tokens"),
        (error("unknown field: parameter 'top_p' is not a valid field"), "top_p"),
        (error("property 'skip_special_tokens' is unsupported"), "skip_special_tokens"),
        (error("invalid temperature: only 1 is allowed for this model"), "temperature"),
        (error("seed: Extra inputs are not permitted"), "seed"),
        (error("`temperature` is deprecated for this model."), "temperature"),
        (error("litellm.UnsupportedParamsError: gpt-5 models don't support temperature=0.0. Only "
               "temperature=1 is supported. To drop unsupported params set "
               "`litellm.drop_params = True`"), "temperature"),
        (error("Unknown name \"seed\" at 'generation_config': Cannot find field."), "seed"),
        ({"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"],
                      "msg": "Extra inputs are not permitted", "input": 0}]}, "seed"),
        ({"error": {"code": 400, "message": "Invalid JSON payload", "details": [
            {"fieldViolations": [{"field": "generation_config.top_p"}]}]}}, "top_p"),
        ([{"error": {"message": "Model does not support topP"}}], "top_p"),
        ({"message": "extraneous key [seed] is not permitted"}, "seed"),
        (error("Unsupported parameter: 'reasoning.summary' is not supported with this model.",
               param="reasoning.summary"), "reasoning_summary"),
        (error("reasoning models do not support `temperature`"), "temperature"),
        (error("Unable to submit request because thinking is not supported by this model."),
         "thinking"),
        (error("model `bytedance/seed-1.6` does not support `temperature`"), "temperature"),
        (error("model doubao-seed-1.6 does not support temperature"), "temperature"),
        (error("This response_format type is unavailable now"), "response_format"),
        (error("Invalid parameter: 'response_format' of type 'json_schema' is not supported with "
               "this model."), "response_format"),
        (error("This model does not support response format `json_schema`."), "response_format"),
        (error("This model does not support structured outputs"), "response_format"),
        (error("'response_format.type' must be 'json_schema' or 'text'"), "response_format"),
        (error("json_schema is not supported"), "response_format"),
    ],
)  # fmt: skip
def test_a_parameter_is_named_in_every_vendors_words(body, named):
    assert refused_parameters(body, 400, json.dumps(body))[0] == named


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("No endpoints found that support the provided 'seed' parameter", ("seed",)),
        ("No endpoints found that can handle temperature. Learn more about routing", "temperature"),
        ("No endpoints found that support image input", ()),
        ("The model `seed` does not exist", ()),
    ],
)
def test_a_router_names_a_parameter_with_404(words, named):
    """OpenRouter's 404 was another than a refusal of a parameter, and the model was stopped."""
    names = (named,) if isinstance(named, str) else named
    assert refused_parameters(error(words, code=404), 404, words) == names


@pytest.mark.parametrize(
    "words",
    [
        "System role not supported",
        "invalid message role: system",
        "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
        "Developer instruction is not enabled for models/gemma-3-27b-it",
        "Conversation roles must alternate user/assistant/user/assistant/...",
        "Only user and assistant roles are supported!",
        "Jinja Exception: System role not supported",
        "Unexpected role 'system' after role 'user'",
        "'system' is not one of ['user', 'assistant'] - 'messages.0.role'",
        "roles other than user and assistant are not allowed: got system",
    ],
)
@pytest.mark.parametrize("status", [400, 422, 500])
def test_the_system_role_is_named_in_every_templates_words(words, status):
    assert refused_parameters(error(words), status, words) == (SYSTEM_ROLE,)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (error("max_tokens is too large: 100000. This model supports at most 16384 completion "
               "tokens", param="max_tokens"), 400),
        (error("`max_tokens` must be greater than `thinking.budget_tokens`"), 400),
        (error("temperature: range: 0..1", param="temperature"), 400),
        (error("'temperature' must be less than or equal to 2", param="temperature"), 400),
        (error("This model's maximum context length is 8192 tokens; your max_tokens is 9000"), 400),
        (error("the model does not support images"), 400),
        (error("Incorrect API key provided", param="temperature"), 401),
        (error("Rate limit reached: temperature is not supported"), 429),
        (error("seed"), 400),
        (error("After the optional system message, roles must alternate user/assistant"), 400),
        (error("The system detected an unsupported image type"), 400),
        (error("`temperature` must be strictly positive"), 400),
        (error("Invalid value for temperature", param="temperature"), 400),
    ],
)  # fmt: skip
def test_a_value_out_of_range_or_another_trouble_names_no_parameter(body, status):
    """Left out, it would be another measurement than the study's; its owner can mend it."""
    assert refused_parameters(body, status, body["error"]["message"]) == ()


class ReasoningModelServer:
    """Takes no ``max_tokens``, no temperature but 1 and no system role, and says one at a time."""

    def __init__(self, server: ScriptedServer) -> None:
        self.rejections = 0
        server.always = self.reply

    async def reply(self, request: web.Request) -> web.Response:
        body = await request.json()
        await asyncio.sleep(0.01)
        wrong = (
            GPT5_TOKENS if "max_tokens" in body
            else GPT5_TEMPERATURE if body.get("temperature", 1) != 1
            else error("System role not supported") if body["messages"][0]["role"] == "system"
            else None
        )  # fmt: skip
        if wrong is not None:
            self.rejections += 1
            return web.json_response(wrong, status=400)
        return web.json_response(completion(model="gpt-5-mini-2025-08-07"))


def settings(response: Response) -> Any:
    return json.loads(response.sent or "null")


class TestAdapting:
    async def test_the_first_request_settles_it_for_all_that_come_at_once(self, server, connect):
        """Each of 35 items was wasted on each of two refusals, and stayed as failed for good."""
        scripted, model = ReasoningModelServer(server), connect()
        prompt = Prompt.user("hello", system="be kind")
        replies = await asyncio.gather(*(model.generate(prompt, Sampling()) for _ in range(12)))
        assert {reply.status for reply in replies} == {ResponseStatus.OK}
        assert scripted.rejections == 3
        last = server.bodies[-1]
        assert last.keys() == {"model", "messages", "max_completion_tokens", "seed"}
        assert last["messages"] == [{"role": "user", "content": "be kind\n\nhello"}]

    async def test_what_was_sent_and_who_answered_is_recorded(self, server, connect):
        ReasoningModelServer(server)
        reply = await connect().generate(Prompt.user("a", system="b"), Sampling(max_tokens=99))
        assert settings(reply) == {"max_completion_tokens": 99, "seed": 0, "system": "user"}
        assert reply.model == "gpt-5-mini-2025-08-07"

    async def test_a_key_among_the_settings_is_struck_out(self, server, connect, monkeypatch):
        monkeypatch.setenv("OPENAI_API_KEY", "correct-horse-77")
        reply = await connect(extra_body={"user": "correct-horse-77"}).generate(HELLO, Sampling())
        assert server.bodies[0]["user"] == "correct-horse-77"
        assert "correct-horse" not in (reply.sent or "")
        assert settings(reply)["temperature"] == 0

    async def test_neither_key_nor_label_change(self, server, connect):
        ReasoningModelServer(server)
        model = connect()
        before = model.identity(), model.label
        await model.generate(HELLO, Sampling())
        assert (model.identity(), model.label) == before

    async def test_what_the_study_sets_itself_is_never_left_out(self, server, connect):
        server.always = (400, GPT5_TEMPERATURE, {})
        model = connect(extra_body={"temperature": 0.5})
        reply = await model.generate(HELLO, Sampling())
        assert reply.status is ResponseStatus.FAILED
        assert "temperature" in (reply.detail or "")
        assert len(server.bodies) == 1

    async def test_a_server_that_takes_neither_name_is_asked_twice(self, server, connect):
        async def no_limit(request: web.Request) -> web.Response:
            body = await request.json()
            name = "max_tokens" if "max_tokens" in body else "max_completion_tokens"
            return web.json_response(error(f"Unknown parameter: {name}", param=name), status=400)

        server.always = no_limit
        reply = await connect().generate(HELLO, Sampling())
        assert (reply.status, len(server.bodies)) == (ResponseStatus.FAILED, 2)

    async def test_a_first_request_that_fails_lets_the_others_go(self, server, connect):
        server.script = [(400, error("the picture cannot be read"), {})]
        model = connect()
        replies = await asyncio.gather(*(model.generate(HELLO, Sampling()) for _ in range(4)))
        assert [reply.status for reply in replies].count(ResponseStatus.OK) == 3


class TestSchema:
    """A judge's ``structured: true`` on a server that takes no schema ended the run."""

    @staticmethod
    def taking(server: ScriptedServer, kinds: tuple[str | None, ...]) -> None:
        async def reply(request: web.Request) -> web.Response:
            kind = (await request.json()).get("response_format", {}).get("type")
            words = f"This response_format type is unavailable now: {kind}"
            return web.json_response(
                completion() if kind in kinds else error(words),
                status=200 if kind in kinds else 400,
            )

        server.always = reply

    @pytest.mark.parametrize("taken", [None, "json_object", "json_schema"])
    async def test_it_is_weakened_then_left_out_and_that_is_recorded(self, server, connect, taken):
        self.taking(server, (taken,))
        model = connect().with_json_schema({"type": "json_schema", "json_schema": {}})
        sent = [settings(await model.generate(HELLO, Sampling())) for _ in range(2)][-1]
        await model.aclose()
        kinds = [body.get("response_format", {}).get("type") for body in server.bodies]
        tried = ["json_schema", "json_object", None]
        assert kinds == [*tried[: tried.index(taken) + 1], taken]
        was = {"json_object": {"type": "json_object"}, None: None}
        assert sent.get("response_format", 0) == was.get(taken, 0)
        changes = [c for c in changes_sent({}, json.dumps(sent)) if c.startswith("without")]
        assert changes == ([] if taken == "json_schema" else ["without its JSON schema"])

    async def test_what_a_study_sets_itself_is_not(self, server, connect):
        self.taking(server, (None,))
        model = connect(extra_body={"response_format": {"type": "json_object"}})
        assert (await model.generate(HELLO, Sampling())).status is ResponseStatus.FAILED


class TestSystemOption:
    async def test_a_system_text_goes_into_the_users_turn(self, server, connect):
        model = connect(system="user")
        await model.generate(Prompt.user("a question", system="a rule"), Sampling())
        assert server.bodies[0]["messages"] == [{"role": "user", "content": "a rule\n\na question"}]
        assert model.label == "openai/m[system=user]"
        assert model.identity()["system"] == "user"
